import { type Candidate, type Conditions, type Costs, costsOf, type Work } from './prediction.js';
import { type Mode, modeOf, type Rung } from './rung.js';
import { quantile, quantileOf } from './statistics.js';

// What the controller knows of its device and its source, and how it comes to know it.
//
// Work (see prediction.ts) is compared only between runs that take turns by the rung's cadence. A rung is left because a run was slow
// and taken because runs were fast: of what comes before and after such a change, the change of the load would be taken for a
// difference of the modes. And only the explained mode is corrected, by the forward pass, which is the same on every rung of a size.

/** What one explained frame has cost, in milliseconds. */
export interface Measurement extends Omit<Conditions, 'load'> {
  /** when it was handed over, on a monotonic clock */
  readonly at: number;
  /** index in the ladder */
  readonly rung: number;
  readonly mode: Mode;
  /** with the backward pass */
  readonly explained: boolean;
  readonly inference: number;
  /** capture → hand-over */
  readonly age: number;
  /** that was promised */
  readonly budgetMs: number;
}

/** A rung was tried and given up soon. */
export interface Failure {
  /** when, the last time */
  readonly at: number;
  /** so often in succession */
  readonly times: number;
  /** milliseconds for which it is not tried again */
  readonly hold: number;
  /** most of its frames were clearly older than 95 % were predicted to be, those apart that made it fail */
  readonly wasSlow: boolean;
  /** p95 of the age that it should have had by what was met in the second after it failed; not known at once */
  readonly level: number | undefined;
}

/** How irregular a second was. */
export interface Second {
  /** when it began */
  readonly from: number;
  /** milliseconds that one of its frames took longer than was usual for its mode, at most; waits for the device apart */
  readonly excess: number;
  /** how slow frames usually were, see {@link slowness}; undefined while the second lasts */
  readonly usual: number | undefined;
}

/** What the controller knows. A plain value; every function below returns a new one. */
export interface ControllerState {
  readonly ladder: readonly Rung[];
  /** index of the rung in use */
  readonly rung: number;
  /** when the rung was last changed */
  readonly since: number;
  /** the last change was to a better rung */
  readonly rose: boolean;
  /** age that was predicted for it when it was taken */
  readonly promised: number;
  /** why this rung, as a sentence without its full stop */
  readonly reason: string;
  /** work per rung, of its forward pass and of its forward and backward pass together, measured or derived */
  readonly costs: readonly Costs[];
  /** of the last seconds, oldest first */
  readonly recent: readonly (Measurement & Conditions)[];
  /** when, on this rung, a second ended in which more than one in twenty frames were late; one entry a second */
  readonly broken: readonly number[];
  /** the last ones that had frames, oldest first */
  readonly seconds: readonly Second[];
  /** what a mode costs, where it was measured: in multiply-adds of the forward pass */
  readonly work: Work;
  /** rungs that were tried and given up soon */
  readonly failed: Readonly<Record<number, Failure>>;
  /** milliseconds between the last frames of the source, those that it dropped counted, oldest first */
  readonly gaps: readonly number[];
  /** their median, 0 before there are two frames */
  readonly interval: number;
  /** when the last frame that arrived was captured */
  readonly captured: number | undefined;
  /** frames since the last LRP */
  readonly sinceLrp: number;
  /** since when one frame after the other was dropped as stale; undefined where the last one was let through */
  readonly dropping: number | undefined;
}

/** How long a measurement counts for the choice of a better rung, in milliseconds. */
export const memory = 1000;
/** How long measurements are kept: so long a lull has to last where loads come and go. */
export const longMemory = 2500;
/** Two broken seconds within this time are too many for the rung in use. */
export const lateMemory = 10_000;
const mostMeasurements = 160;
/** So many seconds it takes until one of them may be broken: 95 % are promised. */
const mostSeconds = 20;
/** Under one and the same load, what is usual varies by this ratio from second to second: others come and go in between. */
const alike = 0.5;

/** Starts on the best rung. The ladder has at least one. */
export function createController(ladder: readonly Rung[]): ControllerState {
  return {
    ladder,
    rung: 0,
    since: Number.NEGATIVE_INFINITY,
    rose: false,
    promised: Number.POSITIVE_INFINITY,
    reason: 'the best rung, nothing has spoken against it yet',
    recent: [],
    broken: [],
    seconds: [],
    work: {},
    costs: costsOf(ladder, {}),
    failed: {},
    gaps: [],
    interval: 0,
    captured: undefined,
    sinceLrp: Number.POSITIVE_INFINITY,
    dropping: undefined,
  };
}

/** Takes in that a frame has come, after `dropped` that the source did not give: how fast they come decides how long one waits. */
export function arrived(state: ControllerState, captured: number, dropped: number): ControllerState {
  const gap = state.captured === undefined ? undefined : (captured - state.captured) / (dropped + 1);
  if (gap === undefined || gap <= 0) return { ...state, captured };
  const gaps = [...state.gaps.slice(-15), gap];
  return { ...state, captured, gaps, interval: quantile(gaps, 0.5) };
}

/** Takes in what a graph's two modes take, in milliseconds and measured in turns. */
export function calibrated(state: ControllerState, graph: string, forward: number, explained: number): ControllerState {
  const rung = state.ladder.find((one) => one.graph === graph);
  if (rung === undefined || !(forward > 0 && explained > 0)) return state;
  const work = {
    ...state.work,
    [modeOf(graph, false)]: rung.forward,
    [modeOf(graph, true)]: (rung.forward * explained) / forward,
  };
  return { ...state, work, costs: costsOf(state.ladder, work) };
}

/** Takes in what a frame has cost. */
export function measured(state: ControllerState, measurement: Measurement): ControllerState {
  const { at, mode, rung, explained, inference } = measurement;
  const cost = state.costs[rung]!;
  const load = inference / (explained ? cost.explained : cost.forward);
  const kept = after(state.recent, at - longMemory).slice(1 - mostMeasurements);
  const before = kept.at(-1);
  const now = [...kept, { ...measurement, load }];
  const next = {
    ...state,
    recent: now,
    broken: brokenSeconds(state, now, at),
    seconds: secondsWith(state, now.at(-1)!),
  };
  if (before === undefined || before.mode === mode || before.rung !== rung) return next;
  const dearer = explained ? load / before.load : before.load / load;
  const work = { ...state.work, [modeOf(state.ladder[rung]!.graph, true)]: cost.explained * dearer ** 0.1 };
  return { ...next, work, costs: costsOf(state.ladder, work) };
}

function brokenSeconds({ broken, since }: ControllerState, recent: ControllerState['recent'], at: number) {
  const second = after(recent, Math.max(since, at - 1000));
  let late = 0;
  for (const { age, budgetMs } of second) if (age > budgetMs) late++;
  if (late <= 0.05 * second.length || at - (broken.at(-1) ?? Number.NEGATIVE_INFINITY) < 1000) return broken;
  return [...broken.filter((time) => at - time < lateMemory), at];
}

function secondsWith(state: ControllerState, newest: ControllerState['recent'][number]): ControllerState['seconds'] {
  const { at } = newest;
  const cost = costOf(state, newest);
  const excess = Math.max(0, ageAlone(newest, cost) - usualAge(lately(state, at), cost)) || 0;
  const last = state.seconds.at(-1);
  if (last === undefined) return [{ from: at, excess, usual: undefined }];
  const isSame = at - last.from < memory;
  if (isSame && excess <= last.excess) return state.seconds;
  const before = state.seconds.slice(1 - mostSeconds, -1);
  if (isSame) return [...before, { ...last, excess }];
  const previous = before.at(-1);
  const known = previous === undefined ? before : [...before.slice(0, -1), lookedBackOn(state, previous, last.from)];
  return [...known, { ...last, usual: slowness(state, last.from + memory) }, { from: at, excess, usual: undefined }];
}

/**
 * A second, once the next one, which began at `next`, is over as well: what is usual in that was no irregularity, but the load that had come.
 */
function lookedBackOn(state: ControllerState, second: Second, next: number): Second {
  const following = between(state, next, next + memory);
  if (following.length < 2) return second;
  const excesses = between(state, second.from, second.from + memory).map((one) => {
    const cost = costOf(state, one);
    return ageAlone(one, cost) - usualAge(following, cost);
  });
  return { ...second, excess: Math.min(second.excess, Math.max(0, ...excesses)) };
}

function between({ recent }: ControllerState, from: number, to: number): ControllerState['recent'] {
  return recent.filter(({ at }) => at >= from && at < to);
}

/** Work of a frame. */
function costOf({ costs }: ControllerState, { rung, explained }: Measurement): number {
  return costs[rung]![explained ? 'explained' : 'forward'];
}

/** Age of a frame that costs so much, if it had not waited for any run, of its own stream or of others. */
function ageAlone({ source, overhead, load }: Conditions, cost: number): number {
  return source + overhead + load * cost;
}

function usualAge(conditions: readonly Conditions[], cost: number): number {
  return quantileOf(conditions, (one) => ageAlone(one, cost), 0.5);
}

/** How slow everything is: what frames would usually have taken in the last second on the cheapest rung, whatever was in use. */
function slowness(state: ControllerState, now: number): number {
  return usualAge(lately(state, now), state.costs.at(-1)!.forward);
}

/**
 * How irregular the last seconds were in which everything was about as slow as now; two are alike from this ratio on. About a step of the
 * load a second has frames of both sides: it belongs to the slower one.
 */
export function excesses(state: ControllerState, now: number): readonly number[] {
  const { seconds } = state;
  const usual = slowness(state, now);
  const usualIn = (index: number) => (index < 0 ? 0 : (seconds[index]?.usual ?? usual));
  return seconds.flatMap(({ excess }, index) => {
    const then = Math.max(usualIn(index - 1), usualIn(index), usualIn(index + 1));
    return Math.min(then, usual) < alike * Math.max(then, usual) ? [] : [excess];
  });
}

/** The next frame that a rung with relevance explains gets its own: what was carried along is of something else. */
export function forgetRelevance(state: ControllerState): ControllerState {
  return { ...state, sinceLrp: Number.POSITIVE_INFINITY };
}

/** A rung of the ladder, to be judged. */
export function candidate({ ladder, costs, interval }: ControllerState, index: number): Candidate {
  return { rung: ladder[index]!, costs: costs[index]!, waits: index < ladder.length - 1, interval };
}

/** What the frames of the last while have met, or the last two where it had fewer. */
export function lately({ recent }: ControllerState, now: number, span = memory): ControllerState['recent'] {
  const last = after(recent, now - span);
  return last.length >= 2 ? last : recent.slice(-2);
}

/** Those that were handed over later than a time; they lie in order. */
export function after<T extends { readonly at: number }>(measurements: readonly T[], time: number): readonly T[] {
  let from = measurements.length;
  while (from > 0 && measurements[from - 1]!.at > time) from--;
  return from === 0 ? measurements : measurements.slice(from);
}
