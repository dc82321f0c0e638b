import { type Mode, modeOf, type Rung } from './rung.js';
import { quantile } from './statistics.js';

// Chooses how much to explain so that results are young enough. Everything here is a pure function of what was measured and
// of the clock that is handed in; who measures and who runs is elsewhere.
//
// A frame's age when it is handed over is
//
//   source (capture → arrival) + wait (until the device is free) + overhead (transfer, preprocessing, read-back) + inference
//
// Only inference, and with it the wait, depends on the rung. A mode's inference is taken to be work × load: work is what the
// mode costs beside others, by multiply-adds until it was measured, and load is how slow the device is at the moment, which
// is measured on whatever mode is running and holds for all of them. So a rung can be judged without being tried. Work is
// compared only between runs that took turns: between one that ended and one that began because the load changed, the
// change of the load would be taken for a difference of the modes, and nothing would ever correct it.

/** What one explained frame has cost, in milliseconds. */
export interface Measurement {
  /** when it was handed over, on a monotonic clock */
  readonly at: number;
  /** index in the ladder */
  readonly rung: number;
  readonly mode: Mode;
  /** with the backward pass */
  readonly explained: boolean;
  /** capture → arrival */
  readonly source: number;
  /** arrival → start, because other streams held the device */
  readonly foreign: number;
  /** everything between start and hand-over but inference */
  readonly overhead: number;
  readonly inference: number;
  /** what the subscriber did with it before the next could start */
  readonly render: number;
  /** capture → hand-over */
  readonly age: number;
  /** that was promised */
  readonly budgetMs: number;
}

/** Work of a rung's two modes. */
interface Costs {
  readonly forward: number;
  readonly explained: number;
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
  /** why this rung, as a sentence without its full stop */
  readonly reason: string;
  /** work per rung, of its forward pass and of its forward and backward pass together, measured or derived */
  readonly costs: readonly Costs[];
  /** of the last seconds, oldest first */
  readonly recent: readonly (Measurement & { readonly load: number })[];
  /** when, on this rung, a second ended in which more than one in twenty frames were late; one entry a second */
  readonly broken: readonly number[];
  /** what a mode costs, where it was measured: in multiply-adds of the forward pass */
  readonly work: Readonly<Partial<Record<Mode, number>>>;
  /** rungs that were tried and given up at once: not again before `until`, and each time twice as long */
  readonly failed: Readonly<Record<number, { readonly hold: number; readonly until: number }>>;
  /** milliseconds between the last frames of the source, those that it dropped counted, oldest first */
  readonly gaps: readonly number[];
  /** their median, 0 before there are two frames */
  readonly interval: number;
  /** when the last frame that arrived was captured */
  readonly captured: number | undefined;
  /** frames since the last LRP */
  readonly sinceLrp: number;
  /** when a frame was last let through */
  readonly started: number;
}

/** What a decision is about. */
export interface Situation {
  readonly now: number;
  readonly budgetMs: number;
  /** the frame's time of capture on the same clock */
  readonly captured: number;
  /** whether a graph can be run at once */
  isBuilt(graph: string): boolean;
  /** longest time in milliseconds that one run may hold the device, for the sake of other streams */
  readonly longest: number;
}

/** What is to be done with a frame. */
export type Decision =
  | {
      /** it would come too late, and the next one would not */
      readonly drop: true;
    }
  | {
      readonly drop: false;
      readonly rung: number;
      /** with the backward pass */
      readonly explained: boolean;
      /** p95 of the age on this rung in milliseconds, NaN before anything was measured */
      readonly predicted: number;
      /** a graph that a better rung needs and that is not there yet */
      readonly wanted: string | undefined;
    };

/** How long a measurement counts for the choice of a better rung, in milliseconds. */
const memory = 1000;
/** How long measurements are kept: so long a lull has to last where loads come and go. */
const longMemory = 3000;
/** Two broken seconds within this time are too many for the rung in use. */
const lateMemory = 10_000;
/** Least time from one change to a better rung to the next change, unless the device has become much slower. */
const dwell = 1000;
/** Giving a rung up so soon after it was taken means that it should not have been taken. */
const trial = 3000;
const longestHold = 30_000;
/** Share of the budget that a better rung may fill: the gap to 1 is the hysteresis. */
const headroom = 0.85;
/** So many intervals of the source may a run of the rung in use take before frames are said to wait for it. */
const keepingUp = 1.15;
/** One frame in so many milliseconds is explained, however late: a slow picture is better than none. */
const leastEvery = 250;
const mostMeasurements = 96;

/** Starts on the best rung. The ladder has at least one. */
export function createController(ladder: readonly Rung[]): ControllerState {
  return {
    ladder,
    rung: 0,
    since: Number.NEGATIVE_INFINITY,
    rose: false,
    reason: 'the best rung, nothing was measured yet',
    recent: [],
    broken: [],
    work: {},
    costs: costsOf(ladder, {}),
    failed: {},
    gaps: [],
    interval: 0,
    captured: undefined,
    sinceLrp: Number.POSITIVE_INFINITY,
    started: Number.NEGATIVE_INFINITY,
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
  const recent = state.recent.filter((one) => at - one.at < longMemory).slice(1 - mostMeasurements);
  const cost = state.costs[rung]![explained ? 'explained' : 'forward'];
  const load = inference / cost;
  const before = recent.at(-1);
  const now = [...recent, { ...measurement, load }];
  const next = { ...state, recent: now, broken: brokenSeconds(state, now, at) };
  const takeTurns =
    before !== undefined && before.mode !== mode && recent.some((one) => one.mode === mode && at - one.at < memory);
  if (!takeTurns) return next;
  const work = { ...state.work, [mode]: cost * (load / before.load) ** 0.1 };
  return { ...next, work, costs: costsOf(state.ladder, work) };
}

function brokenSeconds({ broken, since }: ControllerState, recent: ControllerState['recent'], at: number) {
  const second = recent.filter((one) => one.at > since && at - one.at < 1000);
  const late = second.filter(({ age, budgetMs }) => age > budgetMs).length;
  if (late <= 0.05 * second.length || at - (broken.at(-1) ?? Number.NEGATIVE_INFINITY) < 1000) return broken;
  return [...broken.filter((time) => at - time < lateMemory), at];
}

/**
 * What the rungs' runs cost. What was not measured is derived from what was: the forward pass is the same in every graph of the
 * same size, and the backward pass has so many multiply-adds, each as dear as those of other graphs.
 */
function costsOf(ladder: readonly Rung[], work: ControllerState['work']): readonly Costs[] {
  const forwards = ladder.map(({ graph, forward }) => {
    const alike = ladder.find((other) => other.forward === forward && work[modeOf(other.graph, false)] !== undefined);
    return work[modeOf(graph, false)] ?? (alike && work[modeOf(alike.graph, false)]) ?? forward;
  });
  const paces = ladder.flatMap(({ graph, backward }, index) => {
    const explained = work[modeOf(graph, true)];
    return explained === undefined || backward === 0 ? [] : [(explained - forwards[index]!) / backward];
  });
  const pace = paces.length === 0 ? 1 : Math.max(0, quantile(paces, 0.5));
  return ladder.map(({ graph, backward }, index) => {
    const forward = forwards[index]!;
    return { forward, explained: work[modeOf(graph, true)] ?? forward + backward * pace };
  });
}

/** The next frame that a rung with relevance explains gets its own: what was carried along is of something else. */
export function forgetRelevance(state: ControllerState): ControllerState {
  return { ...state, sinceLrp: Number.POSITIVE_INFINITY };
}

/** How long frames could wait for other streams in milliseconds, if they were explained on the cheapest rung; never negative. */
export function patience(state: ControllerState, budgetMs: number, now: number): number {
  const levels = highest(state, now);
  if (levels === undefined) return Number.POSITIVE_INFINITY;
  const cheapest = predictedAge(state, state.ladder.length - 1, { ...levels, foreign: 0 });
  return Math.max(0, headroom * budgetMs - cheapest);
}

/** What happens to a frame now. The state that comes back is to be kept, whether the frame is dropped or not. */
export function decide(
  before: ControllerState,
  situation: Situation,
): { readonly state: ControllerState; readonly decision: Decision } {
  const { now, isBuilt } = situation;
  const levels = highest(before, now);
  const state = levels === undefined ? before : choose(before, situation, levels);
  const { ladder, rung, sinceLrp } = state;
  const { every } = ladder[rung]!;
  const explained = every < Number.POSITIVE_INFINITY && sinceLrp + 1 >= every;
  if (isStale(state, explained, situation)) return { state, decision: { drop: true } };
  const missing = ladder.findIndex(
    ({ graph }, index) => index < rung && !isBuilt(graph) && fits(state, index, situation, levels, headroom),
  );
  return {
    state: { ...state, sinceLrp: explained ? 0 : sinceLrp + 1, started: now },
    decision: {
      drop: false,
      rung,
      explained,
      predicted: levels === undefined ? Number.NaN : predictedAge(state, rung, levels),
      wanted: ladder[missing]?.graph,
    },
  };
}

/** How slow everything but the rung is. */
interface Levels {
  readonly load: number;
  readonly source: number;
  readonly foreign: number;
  readonly overhead: number;
  readonly render: number;
}

const parts = ['load', 'source', 'foreign', 'overhead', 'render'] as const;

function levelsOf(list: ControllerState['recent'], q: number): Levels {
  const levels = { load: 0, source: 0, foreign: 0, overhead: 0, render: 0 };
  for (const part of parts)
    levels[part] = quantile(
      list.map((one) => one[part]),
      q,
    );
  return levels;
}

/** The 95th percentiles of the last while, or of the last two measurements where it had fewer; undefined before there are two. */
function highest({ recent }: ControllerState, now: number, span = memory): Levels | undefined {
  const last = recent.filter((one) => now - one.at < span);
  const list = last.length >= 2 ? last : recent.slice(-2);
  return list.length < 2 ? undefined : levelsOf(list, 0.95);
}

/**
 * What the last two measurements agree on: one slow run is an accident, the second is a fact. A run that took several budgets
 * is taken for a fact at once.
 */
function certain({ recent, since }: ControllerState, budgetMs: number): Levels | undefined {
  const last = recent.filter((one) => one.at > since).slice(-2);
  const newest = last.at(-1);
  if (newest !== undefined && newest.age > 3 * budgetMs) return levelsOf([newest], 1);
  return last.length < 2 ? undefined : levelsOf(last, 0);
}

/** The age that frames of a rung will have when everything else is as `levels` say, the worst of the frames of its cadence; `slack` intervals may a run take without making the next frame wait. */
function predictedAge({ ladder, costs, interval }: ControllerState, index: number, levels: Levels, slack = 1): number {
  const { every } = ladder[index]!;
  const forward = levels.overhead + levels.load * costs[index]!.forward;
  const explained = levels.overhead + levels.load * costs[index]!.explained;
  // A frame that comes while another is running waits, at most until a newer one takes its place. On the cheapest rung those
  // that wait too long are stale and the next one is fresh; better rungs are not to be had at the price of idle time.
  const isCheapest = index === ladder.length - 1;
  const waitAfter = (run: number) => (isCheapest || run + levels.render <= slack * interval ? 0 : interval);
  const longest =
    every === 1
      ? waitAfter(explained) + explained
      : every === Number.POSITIVE_INFINITY
        ? waitAfter(forward) + forward
        : Math.max(waitAfter(forward) + explained, waitAfter(explained) + forward);
  return levels.source + levels.foreign + longest;
}

function fits(
  state: ControllerState,
  index: number,
  { longest, budgetMs }: Situation,
  levels: Levels | undefined,
  share: number,
  slack = 1,
): boolean {
  if (levels === undefined) return false;
  const { forward, explained } = state.costs[index]!;
  const longestRun = levels.load * (state.ladder[index]!.every < Number.POSITIVE_INFINITY ? explained : forward);
  return longestRun <= longest && predictedAge(state, index, levels, slack) <= share * budgetMs;
}

function choose(state: ControllerState, situation: Situation, levels: Levels): ControllerState {
  const { now, budgetMs, isBuilt } = situation;
  const { ladder, rung, rose, broken, failed } = state;
  /** the best rung in a part of the ladder that can run now and would fit */
  const bestFitting = (from: number, to: number, at: Levels): number | undefined => {
    const index = ladder.findIndex(
      ({ graph }, one) =>
        one >= from &&
        one < to &&
        isBuilt(graph) &&
        now >= (failed[one]?.until ?? now) &&
        fits(state, one, situation, at, headroom),
    );
    return index < 0 ? undefined : index;
  };
  const settled = now - state.since >= dwell;
  const sure = certain(state, budgetMs);
  // a rung that was only just taken and is a little too slow is given its second
  const tolerated = rose && !settled ? 1.3 : 1;
  const isSlower = sure !== undefined && !fits(state, rung, situation, sure, tolerated, tolerated * keepingUp);
  const isLate = settled && broken.filter((time) => now - time < lateMemory).length >= 2;
  if (isSlower || isLate) {
    const lower = bestFitting(rung + 1, ladder.length, levels) ?? cheapestBuilt(ladder, isBuilt);
    const age = milliseconds(predictedAge(state, rung, levels));
    if (lower > rung) return moved(state, lower, now, `“${ladder[rung]!.name}” would take ${age}`);
    if (isSlower) return { ...state, reason: `nothing cheaper is there, though it takes ${age}` };
  }
  if (!settled) return state;
  // what fails over and over is a load that comes and goes: then a lull has to last
  const isRestless = Object.values(failed).some(({ hold, until }) => hold > 2 * dwell && now < until + longestHold);
  const better = bestFitting(0, rung, isRestless ? highest(state, now, longMemory)! : levels);
  if (better === undefined) return state;
  return moved(state, better, now, `${milliseconds(predictedAge(state, better, levels))} are within the budget`);
}

const milliseconds = (value: number) => `${value.toFixed(0)} ms`;

function cheapestBuilt(ladder: readonly Rung[], isBuilt: Situation['isBuilt']): number {
  for (let index = ladder.length - 1; index > 0; index--) if (isBuilt(ladder[index]!.graph)) return index;
  return 0;
}

function moved(state: ControllerState, rung: number, now: number, reason: string): ControllerState {
  const rose = rung < state.rung;
  const held = now - state.since;
  const { [state.rung]: before, ...others } = state.failed;
  let failed = state.failed;
  if (!rose && state.rose && held < trial) {
    const hold = Math.min(longestHold, 2 * (before?.hold ?? dwell));
    failed = { ...others, [state.rung]: { hold, until: now + hold } };
  } else if (held > trial) {
    // it has proved itself meanwhile
    failed = others;
  }
  // relevance that was carried along belongs to another rung; this one begins with its own
  return { ...state, rung, since: now, broken: [], rose, reason, failed, sinceLrp: Number.POSITIVE_INFINITY };
}

/**
 * Whether the frame would come too late although one that is captured now would not. Where none would come in time, all are
 * explained: the rung says that the budget does not hold.
 */
function isStale(state: ControllerState, explained: boolean, { now, captured, budgetMs }: Situation): boolean {
  if (now - state.started > leastEvery || state.recent.length === 0) return false;
  const usual = levelsOf(state.recent.slice(-16), 0.9);
  const run = usual.overhead + usual.load * state.costs[state.rung]![explained ? 'explained' : 'forward'];
  return now - captured + run > budgetMs && usual.source + run <= budgetMs;
}
