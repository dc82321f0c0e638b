import type { MediaFrame } from '../../sources/sound-window.js';
import { heldBySeveral } from '../array-pool.js';
import type { ExplainFrameOptions } from '../explainer.js';
import { type Explanation, shownSize } from '../explanation.js';
import type { Target } from '../target.js';
import { showStage } from '../user-timing.js';
import { decide, patience } from './controller.js';
import {
  arrived,
  type ControllerState,
  calibrated,
  createController,
  forgetRelevance,
  lately,
  measured,
} from './knowledge.js';
import type { Ladder } from './ladder.js';
import type { StreamMeter } from './metrics.js';
import { runOf } from './prediction.js';
import { longestTolerated, type Neighbour } from './restraint.js';
import { modeOf, type Rung } from './rung.js';
import { quantileOf } from './statistics.js';
import type { Turn, Turns, Use } from './turns.js';

/** The graphs of an explainer; another composite makes another one of these. */
export interface Graphs<Result extends Explanation = Explanation> {
  readonly ladder: Ladder;
  /** whether a graph can be run at once */
  isBuilt(graph: string): boolean;
  /** Begins to build a graph in the background, unless that has begun; one that cannot be built stays away. */
  build(graph: string): void;
  /** Times the full graph, once; frames that come meanwhile wait for it. Never rejects. */
  calibrate(): Promise<void>;
  /** what the two modes of the graphs that were timed so far take, in milliseconds */
  readonly calibrations: ReadonlyMap<string, { readonly forward: number; readonly explained: number }>;
  explain(graph: string, frame: MediaFrame, options: ExplainFrameOptions): Promise<Result>;
}

/** Settings of {@link Explainer.openStream}. */
export interface StreamOptions {
  /** the age in milliseconds that results are to have at most, asked anew for each frame; undefined: no matter */
  readonly budgetMs: () => number | undefined;
}

/** What a stream's frame is explained with. */
export interface StreamFrameOptions extends Omit<ExplainFrameOptions, 'relevance'> {
  /** when it came, on `performance.now()`'s clock in milliseconds */
  readonly arrived: number;
  /** its source waits for it: the budget does not count, and it is never dropped */
  readonly lossless: boolean;
}

/**
 * One stream of frames among those that share an explainer; `explain` opens one for every subscription. For each frame,
 * {@link ExplainerStream.turn} and then {@link ExplainerStream.explainFrame}, one after the other.
 */
export interface ExplainerStream<Result extends Explanation = Explanation> {
  /** Tells that a frame has come, whatever becomes of it: how often frames come says how long one of them waits. */
  arrived(frame: MediaFrame): void;
  /** Tells that frames were dropped, and why. */
  dropped(why: 'superseded' | 'failed', count: number): void;
  /**
   * Resolves when the device is free for this stream's next frame, undefined where it is; the first one that waits for it was captured at
   * `captured`. It is this stream's then until {@link ExplainerStream.explainFrame} or {@link ExplainerStream.pass}.
   */
  turn(captured: number): Promise<void> | undefined;
  /** Gives the device, or the place among those who wait for it, back without a frame. Idempotent. */
  pass(): void;
  /**
   * Explains a frame, which it owns and closes, on the rung that holds the budget, and gives the device back. `stale`: the frame
   * was dropped unseen, since it would have come too late. Rejects as {@link Explainer.explainFrame} does.
   */
  explainFrame(frame: MediaFrame, options: StreamFrameOptions): Promise<Result | 'stale'>;
  /** Tells how long the last result kept its subscriber busy, in milliseconds. */
  rendered(milliseconds: number): void;
  /** Leaves the device to the others. Idempotent. */
  close(): void;
}

/** A stream as its explainer and those see it that share something with it. */
export interface Lane<Result extends Explanation = Explanation> extends ExplainerStream<Result>, Neighbour {
  /** frames have come lately */
  isBusy(now: number): boolean;
  hasBudget(): boolean;
}

/** A stream without a budget still takes its turn after so many milliseconds. */
const usualPatience = 1000;
/** A stream that had no frame for so long does not restrain the others. */
const idleAfter = 2000;
/** So many runs are looked at for the longest: those of every cadence are among them. */
const countedRuns = 8;

/** What a stream shares with the others. */
interface LaneNeeds<Result extends Explanation> {
  /** may be others from frame to frame */
  readonly graphs: () => Graphs<Result>;
  /** what one run takes; may change with the device */
  readonly uses: () => readonly Use[];
  readonly turns: Turns;
  /** all open streams, this one among them */
  readonly others: Iterable<Lane>;
  readonly meter: StreamMeter;
  /** milliseconds of a monotonic clock */
  readonly now: () => number;
  readonly closed: () => void;
}

/** Relevance that later frames have as well. */
interface Carried<Result> {
  readonly of: Result;
  readonly target: Target | undefined;
  /** for an explanation that has it; gives what ends that */
  hold(): () => void;
  /** the stream itself needs it no longer */
  drop(): void;
}

/** Opens a stream. */
export function openLane<Result extends Explanation>(
  { budgetMs }: StreamOptions,
  { graphs, uses, turns, others, meter, now, closed }: LaneNeeds<Result>,
): Lane<Result> {
  let known: Graphs<Result> | undefined;
  let state: ControllerState | undefined;
  let calibrations = 0;
  let timed: Graphs<Result> | undefined;
  let turn: Turn | undefined;
  let [asked, granted, lastArrival, render] = [0, 0, Number.NEGATIVE_INFINITY, 0];
  const lastRuns: number[] = [];
  let carried: Carried<Result> | undefined;
  let isDrawn = false;
  let isOpen = true;
  let isRunning = false;

  const carry = (next: Carried<Result> | undefined) => {
    carried?.drop();
    carried = next;
  };

  /** the controller for the graphs that there are now, with what was timed of them since */
  const controller = (): ControllerState => {
    const current = graphs();
    if (state === undefined || current !== known) {
      known = current;
      calibrations = 0;
      carry(undefined);
      state = createController(rungsFor(current.ladder, isDrawn));
    }
    if (current.calibrations.size !== calibrations) {
      calibrations = current.calibrations.size;
      for (const [graph, { forward, explained }] of current.calibrations) {
        state = calibrated(state, graph, forward, explained);
      }
    }
    return state;
  };

  /** undefined once the full graph has been timed: a frame that waited for that would be too old for any budget */
  const timing = (): Promise<void> | undefined => {
    const current = graphs();
    if (budgetMs() === undefined || timed === current) return undefined;
    return current.calibrate().then(() => {
      timed = current;
    });
  };

  const withinBudget = async (
    frame: MediaFrame,
    { arrived: since, lossless, ...how }: StreamFrameOptions,
    budget: number,
  ): Promise<Result | 'stale'> => {
    const started = now();
    const { target, draw } = how;
    if (isDrawn !== (draw !== undefined)) {
      isDrawn = draw !== undefined;
      state = undefined;
    }
    if (carried !== undefined && (carried.target !== target || !sameSize(carried.of, frame))) {
      carry(undefined);
      state = forgetRelevance(controller());
    }
    const current = graphs();
    const decided = decide(controller(), {
      now: started,
      captured: frame.captured,
      budgetMs: budget,
      isBuilt: current.isBuilt,
      longest: longestTolerated(
        uses(),
        [...others].filter((other) => other !== lane && other.isBusy(started)),
        started,
      ),
    });
    state = decided.state;
    const { decision } = decided;
    const { rung: index, reason, ladder } = state;
    if (decision.drop) {
      meter.stale();
      frame.close();
      return 'stale';
    }
    if (decision.wanted !== undefined) current.build(decision.wanted);
    const rung = ladder[index]!;
    const explanation = await current.explain(rung.graph, frame, { ...how, relevance: decision.explained });
    const handed = now();
    const { inference } = explanation.timing;
    if (current === known) {
      state = measured(state, {
        at: handed,
        rung: index,
        mode: modeOf(rung.graph, decision.explained),
        explained: decision.explained,
        source: Math.max(0, since - frame.captured),
        foreign: Math.max(0, granted - Math.max(since, asked)),
        overhead: handed - started - inference,
        inference,
        render,
        age: handed - frame.captured,
        budgetMs: budget,
      });
    }
    const hasCadence = rung.every > 1 && rung.every < Number.POSITIVE_INFINITY;
    const hold = heldBySeveral(() => explanation.release());
    const own = hold();
    if (decision.explained) carry(hasCadence ? { of: explanation, target, hold, drop: hold() } : undefined);
    const lent = !decision.explained && hasCadence ? carried : undefined;
    const letGo = lent?.hold();
    const source = decision.explained ? explanation : lent?.of;
    meter.rung({ index, name: rung.name, reason, predicted: decision.predicted, budgetMs: budget });
    const { forward, explained } = state.costs[index]!;
    meter.handed(explanation, {
      handed,
      source: Math.max(0, since - frame.captured),
      wait: Math.max(0, started - since),
      forward: decision.explained ? (inference * forward) / Math.max(forward, explained) : inference,
      rendered: render,
    });
    const detail = { timestamp: frame.timestamp, rung: rung.name, age: handed - frame.captured };
    showStage('wait', since, started, detail);
    showStage('frame', frame.captured, handed, detail);
    return {
      ...explanation,
      ...(source === undefined ? {} : { relevance: source.relevance, fit: source.fit }),
      release() {
        own();
        letGo?.();
      },
      quality: {
        rung: rung.name,
        index,
        rungs: ladder.length,
        reason,
        budgetMs: budget,
        predicted: decision.predicted,
        ...(source === undefined
          ? {}
          : {
              relevance: {
                timestamp: source.timestamp,
                age: handed - source.captured,
                target: source.target,
              },
            }),
      },
    };
  };

  const everyFrame = async (
    frame: MediaFrame,
    { arrived: since, lossless, ...how }: StreamFrameOptions,
  ): Promise<Result> => {
    const started = now();
    const current = graphs();
    const explanation = await current.explain(current.ladder.rungs[0]!.graph, frame, how);
    const { forward, explained } = controller().costs[0]!;
    meter.rung(undefined);
    showStage('wait', since, started, { timestamp: frame.timestamp });
    showStage('frame', frame.captured, now(), { timestamp: frame.timestamp });
    meter.handed(explanation, {
      handed: now(),
      source: Math.max(0, since - frame.captured),
      wait: Math.max(0, started - since),
      forward: (explanation.timing.inference * forward) / Math.max(forward, explained),
      rendered: render,
    });
    return explanation;
  };

  const longestOfLate = () => Math.max(0, ...lastRuns);

  const lane: Lane<Result> = {
    arrived(frame) {
      lastArrival = now();
      meter.arrived(lastArrival, frame.dropped);
      state = arrived(controller(), frame.captured, frame.dropped);
    },
    dropped: (why, count) => meter.dropped(why, count),
    turn(captured) {
      turn?.end();
      asked = now();
      granted = asked;
      // the deadline of the first that waits stays, whichever newer frame takes its place: so every stream's time comes
      turn = turns.take(captured + (budgetMs() ?? usualPatience), uses());
      const timed = timing();
      if (timed === undefined && turn.granted === undefined) return undefined;
      return Promise.all([timed, turn.granted]).then(() => {
        granted = now();
      });
    },
    pass: () => turn?.end(),
    async explainFrame(frame, options) {
      isRunning = true;
      const started = now();
      try {
        const budget = options.lossless ? undefined : budgetMs();
        const result = await (budget === undefined ? everyFrame(frame, options) : withinBudget(frame, options, budget));
        if (result !== 'stale') lastRuns.push(now() - started);
        if (lastRuns.length > countedRuns) lastRuns.shift();
        return result;
      } finally {
        isRunning = false;
        turn?.end();
      }
    },
    rendered(milliseconds) {
      render = milliseconds;
    },
    patience(at, share) {
      const budget = budgetMs();
      if (budget === undefined) return Number.POSITIVE_INFINITY;
      const known = controller();
      const { forward } = known.costs.at(-1)!;
      const least = quantileOf(lately(known, at), (one) => runOf(forward, one), 0.95);
      const room = patience(known, budget, at) + least;
      const own = known.rung === 0 ? longestOfLate() : share * room;
      return Number.isNaN(room) ? Number.POSITIVE_INFINITY : Math.max(0, room - Math.max(own, least));
    },
    longestOfLate,
    isBusy: (at) => at - lastArrival <= idleAfter,
    uses,
    hasBudget: () => budgetMs() !== undefined,
    close() {
      if (!isOpen) return;
      isOpen = false;
      // a run that nobody waits for any more still computes
      if (!isRunning) turn?.end();
      carry(undefined);
      closed();
    },
  };
  if (lane.hasBudget()) void timing();
  return lane;
}

/**
 * What is drawn where it is computed has only its own frame's relevance: carried along, every n-th drawing would have some and
 * the others none.
 */
function rungsFor({ rungs }: Ladder, isDrawn: boolean): readonly Rung[] {
  const steady = rungs.filter(({ every }) => every === 1 || every === Number.POSITIVE_INFINITY);
  return isDrawn && steady.length > 0 ? steady : rungs;
}

function sameSize({ frame }: Explanation, other: MediaFrame): boolean {
  const { width, height, rotation } = shownSize(other);
  return frame.width === width && frame.height === height && frame.rotation === rotation;
}
