import type { Observable } from 'rxjs';
import type { Explanation } from '../explanation.js';
import { type ExplainerStream, type Graphs, type Lane, openLane, type StreamOptions } from './lane.js';
import { createMeter, type HeldMemory, type Metrics } from './metrics.js';
import { createTurns, type Turns, type Use } from './turns.js';

/** Streams that may have to wait for each other, whichever explainer they are on. */
export interface Line {
  readonly turns: Turns;
  /** those that are open */
  readonly lanes: Set<Lane>;
}

/** A line in which nobody stands. */
export function createLine(): Line {
  return { turns: createTurns(), lanes: new Set() };
}

/** Where the streams of all explainers of a page stand: there is one GPU and one processor for them. */
const pageLine = createLine();

/** What an explainer's streams are made of. */
export interface StreamsNeeds<Result extends Explanation> {
  /** may be others from frame to frame */
  readonly graphs: () => Graphs<Result>;
  readonly memory: () => HeldMemory;
  /** what one run takes; may change with the device */
  readonly uses: () => readonly Use[];
  /** default the page's */
  readonly line?: Line;
}

/** The streams on one explainer. */
export interface Streams<Result extends Explanation> {
  readonly metrics$: Observable<Metrics>;
  /** whether one of them has to hold a budget */
  readonly hasBudget: boolean;
  /** To be closed. */
  open(options: StreamOptions): ExplainerStream<Result>;
  /** Completes the metrics, and lets nobody wait any more. */
  end(): void;
}

/** No streams yet. */
export function createStreams<Result extends Explanation>(needs: StreamsNeeds<Result>): Streams<Result> {
  const { graphs, memory, uses, line = pageLine } = needs;
  const now = () => performance.now();
  const lanes = new Set<Lane<Result>>();
  const meter = createMeter(memory, now);
  return {
    metrics$: meter.metrics$,
    get hasBudget() {
      return [...lanes].some((lane) => lane.hasBudget());
    },
    open(options) {
      const streamMeter = meter.open();
      const lane = openLane(options, {
        graphs,
        uses,
        turns: line.turns,
        others: line.lanes,
        meter: streamMeter,
        now,
        closed() {
          lanes.delete(lane);
          line.lanes.delete(lane);
          streamMeter.close();
        },
      });
      lanes.add(lane);
      line.lanes.add(lane);
      return lane;
    },
    end() {
      // the explainer is gone, as the next frame will say
      for (const lane of lanes) lane.pass();
      meter.end();
    },
  };
}
