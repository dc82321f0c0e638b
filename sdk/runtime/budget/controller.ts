import {
  after,
  type ControllerState,
  candidate,
  excesses,
  lately,
  lateMemory,
  longMemory,
  memory,
} from './knowledge.js';
import { ageOn, type Candidate, type Conditions, mostWork, rateOn, runOf } from './prediction.js';
import type { Rung } from './rung.js';
import { quantile, quantileOf } from './statistics.js';

// Chooses how much to explain so that results are young enough. Everything here is a pure function of what was measured and
// of the clock that is handed in; who measures and who runs is elsewhere.

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

/** Least time from one change to a better rung to the next change, unless the device has become much slower. */
const dwell = 1000;
/** Giving a rung up so soon means that it should not have been taken: two changes and a broken second were no price for a few better ones. */
const trial = 8000;
/** A rung is tried again after so long at most, and failures count for so long: loads of a minute are no exception. */
const longestHold = 30_000;
/** Times the budget that a frame may take while its rung is not a second old: the change itself may have cost the difference. */
const settling = 1.3;
/** A load is clearly less than another at this share of its age. */
const relief = 0.75;
/** Share of the budget that a better rung may fill: the gap to 1 is the hysteresis. */
const headroom = 0.85;
/** Of so many explanations a second one may be late: of fewer, a single stall breaks the second. 95 % are of twenty; one more, since frames come when they come. */
const oneToSpare = 21;
/** So many times what was predicted is no error of the prediction: modes are timed a few times only. */
const misjudged = 1.05;
/** So many intervals of the source may a run of the rung in use take before frames are said to wait for it. */
const keepingUp = 1.15;
/** Share of the budget that a run which is begun is expected to keep, and usual frames where none may be late: a slower one than the last ones may come. */
const margin = 0.9;
/** A frame that is so likely to be in time is begun where one in twenty may be late. */
const likely = 0.97;
/** Stale frames are dropped for so many milliseconds at most: a slow picture is better than none. */
const longestDropping = 250;

/** How long frames could wait for other streams in milliseconds, if they were explained on the cheapest rung; never negative. */
export function patience(state: ControllerState, budgetMs: number, now: number): number {
  const met = lately(state, now);
  if (met.length < 2) return Number.POSITIVE_INFINITY;
  const alone = met.map((one) => ({ ...one, foreign: 0 }));
  return Math.max(0, headroom * budgetMs - ageOn(candidate(state, state.ladder.length - 1), alone, 0.95));
}

/** What happens to a frame now. The state that comes back is to be kept, whether the frame is dropped or not. */
export function decide(
  before: ControllerState,
  situation: Situation,
): { readonly state: ControllerState; readonly decision: Decision } {
  const { now, isBuilt } = situation;
  const met = lately(before, now);
  const state = met.length < 2 ? before : choose(before, situation, met);
  const { ladder, rung, sinceLrp } = state;
  const { every } = ladder[rung]!;
  const explained = every < Number.POSITIVE_INFINITY && sinceLrp + 1 >= every;
  if (isStale(state, explained, situation)) {
    return { state: { ...state, dropping: state.dropping ?? now }, decision: { drop: true } };
  }
  const missing = ladder.findIndex(
    ({ graph }, index) => index < rung && !isBuilt(graph) && met.length >= 2 && fits(state, index, situation, met),
  );
  return {
    state: { ...state, sinceLrp: explained ? 0 : sinceLrp + 1, dropping: undefined },
    decision: {
      drop: false,
      rung,
      explained,
      predicted: met.length < 2 ? Number.NaN : ageOn(candidate(state, rung), met, 0.95),
      wanted: ladder[missing]?.graph,
    },
  };
}

/** Whether a rung would leave room in the budget, under what 95 % of the frames have met. */
function fits(
  state: ControllerState,
  index: number,
  { longest, budgetMs }: Situation,
  met: ControllerState['recent'],
): boolean {
  const one = candidate(state, index);
  return (
    longestRun(one, met, 0.95) <= longest &&
    ageOn(one, met, 0.95) <= headroom * budgetMs &&
    ageInStalls(state, index, met, budgetMs) <= budgetMs
  );
}

/**
 * The age in a second that is as irregular as 95 % of the last ones were, 0 where that does not matter. On a rung that hands over
 * fewer than twenty explanations a second, a second is broken by a single one that meets a stall, be it the page's or the
 * system's; and stalls may be further apart than what is otherwise remembered. What the cheapest rung would not have borne either is no
 * reason to take it: a stall that makes its frames too late, where it has none to spare, and else one that leaves no time for as many.
 */
function ageInStalls(state: ControllerState, index: number, met: ControllerState['recent'], budgetMs: number): number {
  const one = candidate(state, index);
  if (rateOn(one, met) >= oneToSpare) return 0;
  const cheapest = candidate(state, state.ladder.length - 1);
  const most = Math.max(budgetMs - ageOn(cheapest, met, 0.5), 1000 * (1 - oneToSpare / rateOn(cheapest, met)));
  const bearable = excesses(state, met.at(-1)!.at).filter((excess) => excess <= most);
  return bearable.length === 0 ? 0 : ageOn(one, met, 0.5) + quantile(bearable, 0.95);
}

function longestRun(one: Candidate, met: readonly Conditions[], q: number): number {
  return mostWork(one) * quantileOf(met, ({ load }) => load, q);
}

/**
 * The age that shows the rung in use to be too slow, undefined where none does; `tolerated` times the budget is let pass. Two late
 * frames in a row show it, as one slow run is an accident and the second is a fact; one that took several budgets is a fact at once.
 * And so does most of half a second, where frames would wait for such runs, although the stale ones are dropped so that none is late.
 */
function tooSlow(state: ControllerState, { now, budgetMs, longest }: Situation, tolerated: number): number | undefined {
  const met = after(state.recent, state.since);
  const newest = met.at(-1);
  const last = newest !== undefined && newest.age > 3 * budgetMs ? [newest] : met.slice(-2);
  if (newest === undefined || (last.length < 2 && newest.age <= 3 * budgetMs)) return undefined;
  const limit = tolerated * budgetMs;
  const age = Math.min(...last.map((one) => one.age));
  const one = candidate(state, state.rung);
  if (age > limit || longestRun(one, last, 0) > longest) return age;
  const half = after(met, now - memory / 2);
  const usual = ageOn(one, half.length < 2 ? last : half, 0.5, tolerated * keepingUp);
  return usual > limit ? usual : undefined;
}

function choose(before: ControllerState, situation: Situation, met: ControllerState['recent']): ControllerState {
  const { now, isBuilt } = situation;
  const { ladder, rung, rose, broken } = before;
  const settled = now - before.since >= dwell;
  const state = settled ? judged(before, situation, met) : before;
  /** the best rung in a part of the ladder that can run now and would fit */
  const bestFitting = (from: number, to: number, under: ControllerState['recent']): number | undefined => {
    const index = ladder.findIndex(
      ({ graph }, one) => one >= from && one < to && isBuilt(graph) && fits(state, one, situation, under),
    );
    return index < 0 ? undefined : index;
  };
  // a rung that was only just taken and is a little too slow is given its second
  const slower = tooSlow(state, situation, rose && !settled ? settling : 1);
  const late = broken.filter((time) => now - time < lateMemory).length;
  const isLate =
    settled &&
    (late >= 2 ||
      (late === 1 && ageInStalls(state, rung, met, situation.budgetMs) > situation.budgetMs) ||
      (rateOn(candidate(state, rung), met) < oneToSpare &&
        quantileOf(met, ({ age }) => age, 0.5) > margin * situation.budgetMs));
  if (slower !== undefined || isLate) {
    const lower = bestFitting(rung + 1, ladder.length, met) ?? cheapestBuilt(ladder, isBuilt);
    const age = slower ?? ageOn(candidate(state, rung), met, 0.95);
    if (lower > rung) return moved(state, lower, now, met, `“${ladder[rung]!.name}” would take ${milliseconds(age)}`);
    if (slower !== undefined) {
      return { ...state, reason: `nothing cheaper is there, though it takes ${milliseconds(age)}` };
    }
  }
  // where frames are stale before they are begun, something has changed that no measurement tells yet
  if (!settled || state.dropping !== undefined) return state;
  // what fails over and over is a load that comes and goes: then a lull has to last, each second of it
  const failures = Object.values(state.failed);
  const isRestless = failures.some(({ times, at }) => times >= 2 && now - at < longestHold);
  const lull = lately(state, now);
  const earlier = secondsBefore(state, now).slice(0, isRestless ? 2 : 1);
  const isFree = (index: number) => !isHeld(state, index, now);
  const better = ladder.findIndex(
    ({ graph }, index) =>
      index < rung &&
      isBuilt(graph) &&
      isFree(index) &&
      // a load that has just begun is not to be seen in a whole second yet
      fits(state, index, situation, state.recent.slice(-2)) &&
      fits(state, index, situation, lull) &&
      earlier.every((second) => fits(state, index, situation, second)),
  );
  if (better < 0) return state;
  // a load that is just ending lets better rungs fit one after the other: one step to the best is less than several
  const soon = bestFitting(0, better, lately(state, now, (isRestless ? longMemory : memory) / 2));
  if (soon !== undefined && isFree(soon)) return state;
  const age = milliseconds(ageOn(candidate(state, better), lull, 0.95));
  return moved(state, better, now, lull, `${age} are within the budget`);
}

/** What was met in each second of a lull before the last one, as far as there were frames. */
function secondsBefore(state: ControllerState, now: number): readonly ControllerState['recent'][] {
  return [(longMemory - memory) / 2, longMemory - memory]
    .map((ago) => state.recent.filter(({ at }) => now - at >= ago && now - at < ago + memory))
    .filter(({ length }) => length > 0);
}

/** Whether a rung that was given up has to wait: for its time, or until the load under which it failed has clearly gone. */
function isHeld(state: ControllerState, index: number, now: number): boolean {
  const failure = state.failed[index];
  if (failure === undefined || now >= failure.at + Math.max(2 * dwell, failure.hold)) return false;
  if (failure.level === undefined || now - state.since < longMemory) return true;
  return ageOn(candidate(state, index), lately(state, now, longMemory), 0.95) > relief * failure.level;
}

/**
 * Says why rungs have failed, by their frames and by what was met in the second after. Where that is too much for them, or was for a
 * few frames only, it was the load: it may be over soon. Where they still ought to fit for every single frame, it is the rungs that are
 * worse than they seem, and each time it takes twice as long until they are tried again.
 */
function judged(state: ControllerState, { budgetMs }: Situation, met: readonly Conditions[]): ControllerState {
  const entries = Object.entries(state.failed);
  if (entries.every(([, { level }]) => level !== undefined)) return state;
  const known = entries.map(([key, failure]) => {
    if (failure.level !== undefined) return [key, failure];
    const level = ageOn(candidate(state, Number(key)), met, 0.95);
    const isWorse = failure.wasSlow && ageOn(candidate(state, Number(key)), met, 1) <= headroom * budgetMs;
    const hold = isWorse ? Math.min(longestHold, 2 * failure.hold) : dwell;
    return [key, { ...failure, level, hold }];
  });
  return { ...state, failed: Object.fromEntries(known) };
}

const milliseconds = (value: number) => `${value.toFixed(0)} ms`;

function cheapestBuilt(ladder: readonly Rung[], isBuilt: Situation['isBuilt']): number {
  for (let index = ladder.length - 1; index > 0; index--) if (isBuilt(ladder[index]!.graph)) return index;
  return 0;
}

function moved(
  state: ControllerState,
  rung: number,
  now: number,
  met: readonly Conditions[],
  reason: string,
): ControllerState {
  const rose = rung < state.rung;
  const held = now - state.since;
  const { [state.rung]: before, ...others } = state.failed;
  let failed = state.failed;
  if (!rose && state.rose && held < trial) {
    const { times, hold } = before ?? { times: 0, hold: dwell };
    // without the two that made it fail: where those before were as predicted, it is a load that has come
    const tried = after(state.recent, state.since);
    const usual = quantileOf(tried.length > 2 ? tried.slice(0, -2) : tried, ({ age }) => age, 0.5);
    const wasSlow = usual > misjudged * state.promised;
    failed = { ...others, [state.rung]: { at: now, times: times + 1, hold, wasSlow, level: undefined } };
  } else if (held > trial) {
    // it has proved itself meanwhile
    failed = others;
  }
  const promised = ageOn(candidate(state, rung), met, 0.95);
  // relevance that was carried along belongs to another rung; this one begins with its own
  return { ...state, rung, since: now, broken: [], rose, promised, reason, failed, sinceLrp: Number.POSITIVE_INFINITY };
}

/**
 * Whether the frame is to be dropped for one that is captured now: by what the last runs took it may well come too late, and a fresh
 * one less often. Of twenty in a second one may be late, of fewer none: then a run that is as irregular as the last seconds were is reckoned
 * with as well. Where most fresh ones would be too late as well, all are explained: the rung says that the budget does not hold.
 */
function isStale(state: ControllerState, explained: boolean, { now, captured, budgetMs }: Situation): boolean {
  const { recent, costs, rung, dropping } = state;
  if ((dropping !== undefined && now - dropping > longestDropping) || recent.length === 0) return false;
  const isForgiven = after(recent, now - 1000).length >= 20;
  const cost = costs[rung]![explained ? 'explained' : 'forward'];
  const run = (one: Conditions) => runOf(cost, one);
  const stall = quantile(excesses(state, now), 0.95) || 0;
  const stalled = isForgiven ? undefined : quantileOf(recent, run, 0.5) + stall;
  const inTime = (age: number) => {
    const most = margin * budgetMs - age;
    let kept = stalled !== undefined && stalled <= most ? 1 : 0;
    for (const one of recent) if (run(one) <= most) kept++;
    return kept / (recent.length + (stalled === undefined ? 0 : 1));
  };
  // a fresh one is as old as most are when they arrive
  const [itself, fresh] = [inTime(now - captured), inTime(quantileOf(recent, ({ source }) => source, 0.8))];
  return itself < (isForgiven ? likely : 1) && itself < fresh && fresh >= 0.5;
}
