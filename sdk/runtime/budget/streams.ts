import type { Observable } from 'rxjs';
import type { Explanation } from '../explanation.js';
import { type ExplainerStream, type Graphs, type Lane, openLane, type StreamOptions } from './lane.js';
import { createMeter, type HeldMemory, type Metrics } from './metrics.js';
import { createTurns } from './turns.js';

/** The streams that share one device, fairly. */
export interface Streams<Result extends Explanation> {
  readonly metrics$: Observable<Metrics>;
  /** whether one of them has to hold a budget */
  readonly hasBudget: boolean;
  /** To be closed. */
  open(options: StreamOptions): ExplainerStream<Result>;
  /** Completes the metrics. */
  end(): void;
}

/** No streams yet; `graphs` may be others from frame to frame. */
export function createStreams<Result extends Explanation>(
  graphs: () => Graphs<Result>,
  memory: () => HeldMemory,
): Streams<Result> {
  const now = () => performance.now();
  const turns = createTurns();
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
        turns,
        siblings: lanes,
        meter: streamMeter,
        now,
        closed() {
          lanes.delete(lane);
          streamMeter.close();
        },
      });
      lanes.add(lane);
      return lane;
    },
    end: () => meter.end(),
  };
}
