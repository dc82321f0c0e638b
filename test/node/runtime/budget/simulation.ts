import { decide } from '../../../../sdk/runtime/budget/controller.js';
import {
  arrived,
  type ControllerState,
  calibrated,
  createController,
  measured,
} from '../../../../sdk/runtime/budget/knowledge.js';
import { modeOf, type Rung } from '../../../../sdk/runtime/budget/rung.js';
import { quantile } from '../../../../sdk/runtime/budget/statistics.js';
import { seeded } from '../../../reference/random.js';

/** A ladder as a compiler would give it: costs in multiply-adds of millions. */
export const ladder: readonly Rung[] = [
  { name: 'full', graph: 'full', every: 1, forward: 35, backward: 103 },
  { name: 'flat below 12', graph: 'flat 12', every: 1, forward: 35, backward: 50 },
  { name: 'flat below 18', graph: 'flat 18', every: 1, forward: 35, backward: 25 },
  { name: 'every 4th', graph: 'flat 18', every: 4, forward: 35, backward: 25 },
  { name: 'forward only', graph: 'full', every: Number.POSITIVE_INFINITY, forward: 35, backward: 0 },
];

/** A device, a source and a budget under virtual time, in milliseconds. */
export interface World {
  readonly seed: number;
  readonly budgetMs: number;
  /** of the source */
  readonly interval: number;
  readonly duration: number;
  /** how many times slower than at rest everything is */
  readonly load: (time: number) => number;
  /** instead of the load: what a frame that is started at this time meets, as it was recorded */
  readonly recorded?: (time: number) => Recorded;
  /** milliseconds of a million multiply-adds at rest */
  readonly pace?: number;
  /** true cost of a graph's backward pass over what its multiply-adds promise */
  readonly misjudged?: Readonly<Record<string, number>>;
  /** graphs are timed as if nothing were misjudged; default false */
  readonly pretends?: boolean;
  /** ± share by which a run's time varies from one to the next; default 0.05 */
  readonly noise?: number;
  /** share of the runs that take three times as long */
  readonly outliers?: number;
  /** from when to when the page hears nothing, such as a tab that is frozen in the background */
  readonly frozen?: readonly (readonly [from: number, to: number])[];
  /** milliseconds until a graph that is wanted can be run, default 600 */
  readonly building?: number;
}

/** What a frame of a real stream met: milliseconds from capture to arrival, those around the run, and its inference over that at rest. */
export interface Recorded {
  readonly source: number;
  readonly overhead: number;
  readonly load: number;
}

/** One frame that was handed over. */
export interface Handed {
  readonly at: number;
  readonly age: number;
  readonly rung: number;
  readonly explained: boolean;
}

/** What happened. */
export interface Run {
  readonly handed: readonly Handed[];
  /** when the rung changed, and to which */
  readonly changes: readonly { readonly at: number; readonly rung: number; readonly reason: string }[];
  readonly stale: number;
  readonly superseded: number;
  readonly state: ControllerState;
}

const overhead = 4;
const delay = 3;

/** Milliseconds of one run at rest. */
function inferenceOf(world: World, rung: Rung, explained: boolean): number {
  const backward = explained ? rung.backward * (world.misjudged?.[rung.graph] ?? 1) : 0;
  return (world.pace ?? 0.18) * (rung.forward + backward);
}

/**
 * The age that a rung's frames have at this load, without noise: for tests that ask which rung ought to be in use. A run that
 * takes more than `share` of the source's interval makes the next frame wait.
 */
function trueAge(world: World, rung: Rung, load: number, share: number): number {
  const run = (explained: boolean) => load * (overhead + inferenceOf(world, rung, explained));
  const wait = (explained: boolean) =>
    rung !== ladder.at(-1) && run(explained) + load > share * world.interval ? world.interval : 0;
  const explained = rung.every < Number.POSITIVE_INFINITY;
  const single = wait(explained) + run(explained);
  const mixed = Math.max(wait(false) + run(true), wait(true) + run(false));
  return load * delay + (rung.every > 1 && explained ? mixed : single);
}

/** Runs the controller as a stream does: the newest frame waits, one is under way, and each is decided upon when its turn comes. */
export function simulate(world: World): Run {
  const random = seeded(world.seed);
  const { noise = 0.05, outliers = 0, building = 600 } = world;
  const varied = (value: number) => value * (1 + noise * (2 * random() - 1)) * (random() < outliers ? 3 : 1);
  const thaw = (time: number) => world.frozen?.find(([from, to]) => time >= from && time < to)?.[1] ?? time;
  let state = createController(ladder);
  const calibrate = (graph: string) => {
    const rung = ladder.find((one) => one.graph === graph && one.backward > 0)!;
    const seen = world.pretends === true ? { ...world, misjudged: {} } : world;
    state = calibrated(state, graph, varied(inferenceOf(seen, rung, false)), varied(inferenceOf(seen, rung, true)));
  };
  const built = new Map([['full', 0]]);
  calibrate('full');
  const handed: Handed[] = [];
  const changes: { at: number; rung: number; reason: string }[] = [];
  let [stale, superseded] = [0, 0];
  let waiting: { captured: number; arrived: number } | undefined;
  let free = 0;
  let render = 0;

  const start = (now: number) => {
    if (waiting === undefined) return;
    const { captured, arrived: since } = waiting;
    waiting = undefined;
    const before = state.rung;
    const decided = decide(state, {
      now,
      captured,
      budgetMs: world.budgetMs,
      isBuilt: (graph) => (built.get(graph) ?? Number.POSITIVE_INFINITY) <= now,
      longest: Number.POSITIVE_INFINITY,
    });
    state = decided.state;
    if (state.rung !== before) changes.push({ at: now, rung: state.rung, reason: state.reason });
    const { decision } = decided;
    if (decision.drop) {
      stale++;
      return;
    }
    if (decision.wanted !== undefined && !built.has(decision.wanted)) {
      built.set(decision.wanted, now + building);
      calibrate(decision.wanted);
    }
    const rung = ladder[decision.rung]!;
    const moment = world.recorded?.(now);
    const load = moment?.load ?? world.load(now);
    const single = load * inferenceOf(world, rung, decision.explained);
    const inference = moment === undefined ? varied(single) : single;
    const around = moment?.overhead ?? varied(load * overhead);
    const end = thaw(now + inference + around);
    handed.push({ at: end, age: end - captured, rung: decision.rung, explained: decision.explained });
    render = load * 1;
    state = measured(state, {
      at: end,
      rung: decision.rung,
      mode: modeOf(rung.graph, decision.explained),
      explained: decision.explained,
      source: since - captured,
      foreign: 0,
      overhead: end - now - inference,
      inference,
      render,
      age: end - captured,
      budgetMs: world.budgetMs,
    });
    free = end + render;
  };

  for (let captured = 0; captured < world.duration; captured += world.interval) {
    const time = thaw(captured + (world.recorded?.(captured).source ?? varied(world.load(captured) * delay)));
    // what the device finishes before this frame comes
    while (waiting !== undefined && free <= time) start(Math.max(free, waiting.arrived));
    if (waiting !== undefined) superseded++;
    waiting = { captured, arrived: time };
    state = arrived(state, captured, 0);
    if (free <= time) start(time);
  }
  return { handed, changes, stale, superseded, state };
}

/** One-second windows from `from` to `to`, and those whose 95th percentile of the age keeps the budget. */
export function windowsOf(run: Run, budgetMs: number, from: number, to: number) {
  let [all, kept] = [0, 0];
  for (let start = from; start + 1000 <= to; start += 250) {
    const ages = run.handed.filter(({ at }) => at >= start && at < start + 1000).map(({ age }) => age);
    if (ages.length === 0) continue;
    all++;
    if (quantile(ages, 0.95) <= budgetMs) kept++;
  }
  return { all, kept };
}

/** The most changes of rung in any second between the two times. */
export function mostChanges(run: Run, from: number, to: number): number {
  const times = run.changes.map(({ at }) => at).filter((at) => at >= from && at < to);
  return Math.max(0, ...times.map((start) => times.filter((at) => at >= start && at < start + 1000).length));
}

/** Index of the best rung whose true age fills no more than this share of the budget; undefined where none does. */
export function bestFitting(world: World, load: number, share: number): number | undefined {
  const index = ladder.findIndex((rung) => trueAge(world, rung, load, share) <= share * world.budgetMs);
  return index < 0 ? undefined : index;
}
