import { Observable, Subject } from 'rxjs';
import type { Dropped, Explanation } from '../explanation.js';
import { type Spread, spreadOf } from './statistics.js';

/**
 * Where a frame's time goes: `source` capture → arrival (a camera's or decoder's delay) · `wait` for the device ·
 * `preprocess` picture → input · `forward` and `backward` pass · `readback` of the results · `drawing` where it is computed · `transfer` between page and worker ·
 * `render` what the subscriber did with it.
 */
export type Stage =
  | 'source'
  | 'wait'
  | 'preprocess'
  | 'forward'
  | 'backward'
  | 'readback'
  | 'drawing'
  | 'transfer'
  | 'render';

/** The rung that a stream with a budget is on. */
export interface RungMetrics {
  /** its place in the ladder, 0 is the best */
  readonly index: number;
  /** what is done, such as `LRP on every 4th frame` */
  readonly name: string;
  /** why this rung, as a sentence without its full stop */
  readonly reason: string;
  /** the age that 95 % of its frames are expected to keep, in milliseconds; NaN before anything was measured */
  readonly predicted: number;
  /** the age that is promised, in milliseconds */
  readonly budgetMs: number;
}

/** What one stream has been doing. Times are in milliseconds over the last two seconds; NaN where there was nothing. */
export interface StreamMetrics {
  /** number of the stream, from 1 in order of subscription */
  readonly stream: number;
  /** undefined without a budget */
  readonly rung: RungMetrics | undefined;
  /** capture → hand-over */
  readonly age: Spread;
  /** by stage. A run with LRP does both passes in one go: their shares are those that were measured apart, or the compiler's */
  readonly stages: Readonly<Record<Stage, Spread>>;
  /** frames per second that came, the source's dropped ones included */
  readonly fpsIn: number;
  /** explanations per second */
  readonly fpsOut: number;
  /** since the stream began */
  readonly dropped: Dropped;
  /** explanations since the stream began */
  readonly explained: number;
}

/**
 * What an explainer holds. The workers' figures are those of their last answers. Their JavaScript heaps are missing: no browser
 * tells a worker its own, and Chromium tells a page those of its workers only after up to 20 s and a collection in all of them.
 */
export interface HeldMemory {
  /** bytes of the page's JavaScript heap, whoever fills it; undefined where the browser does not tell (all but Chromium) */
  readonly heap: number | undefined;
  /** bytes of WebAssembly memory in the explainer's workers; it grows and never shrinks until a worker ends */
  readonly wasm: number;
  /**
   * bytes of GPU buffers and textures in the explainer's workers, as they were asked for: ONNX Runtime's weights and tensors, those that
   * it keeps for the next run among them, and what draws and fits pictures; 0 where nothing is on a GPU. Decoded frames and canvases are the browser's
   */
  readonly gpu: number;
  /** workers, each with a compiled graph */
  readonly workers: number;
  /** frames handed over and not yet closed */
  readonly frames: number;
  /** ONNX Runtime tensors, those on the GPU included */
  readonly tensors: number;
}

/** What an explainer is doing. */
export interface Metrics {
  /** when, on `performance.now()`'s clock in milliseconds */
  readonly at: number;
  /** every open stream */
  readonly streams: readonly StreamMetrics[];
  /** what is held at the moment */
  readonly memory: HeldMemory;
}

/** Where a frame's time went that its explanation does not say. */
export interface HandedOver {
  readonly handed: number;
  readonly source: number;
  readonly wait: number;
  /** the forward pass's part of inference */
  readonly forward: number;
  /** of the frame before: this one is not rendered yet */
  readonly rendered: number;
}

/** What a stream tells of itself. */
export interface StreamMeter {
  arrived(at: number, droppedBySource: number): void;
  dropped(why: 'superseded' | 'failed', count: number): void;
  stale(): void;
  rung(rung: RungMetrics | undefined): void;
  handed(explanation: Explanation, more: HandedOver): void;
  close(): void;
}

/** Collects what streams tell. */
export interface Meter {
  readonly metrics$: Observable<Metrics>;
  open(): StreamMeter;
  end(): void;
}

/** How far back figures go, in milliseconds, and how often they are given. */
const span = 2000;
const period = 250;

const stages: readonly Stage[] = [
  'source',
  'wait',
  'preprocess',
  'forward',
  'backward',
  'readback',
  'drawing',
  'transfer',
  'render',
];

/** Numbers of the last two seconds, written round and round into the same arrays: nothing is allocated per frame. */
function createRecord() {
  const capacity = 512;
  const at = new Float64Array(capacity);
  const age = new Float64Array(capacity);
  const columns = stages.map(() => new Float64Array(capacity));
  /** of the last two seconds, and one of their columns, while spreads are taken */
  const slots = new Uint16Array(capacity);
  const values = new Float64Array(capacity);
  let written = 0;
  return {
    add(time: number, frameAge: number, byStage: readonly number[]) {
      const slot = written++ % capacity;
      at[slot] = time;
      age[slot] = frameAge;
      for (let index = 0; index < columns.length; index++) columns[index]![slot] = byStage[index]!;
    },
    spreads(now: number) {
      let count = 0;
      for (let slot = 0; slot < Math.min(written, capacity); slot++) if (now - at[slot]! < span) slots[count++] = slot;
      const spread = (column: Float64Array) => {
        for (let index = 0; index < count; index++) values[index] = column[slots[index]!]!;
        return spreadOf(values.subarray(0, count));
      };
      return {
        count,
        age: spread(age),
        stages: Object.fromEntries(stages.map((stage, index) => [stage, spread(columns[index]!)])) as Record<
          Stage,
          Spread
        >,
      };
    },
  };
}

/** A meter; `memory` is asked when figures are given, which is at most four times a second and only while frames come. */
export function createMeter(memory: () => HeldMemory, now: () => number): Meter {
  const subject = new Subject<Metrics>();
  const streams = new Map<StreamMeter, (at: number) => StreamMetrics>();
  let count = 0;
  let last = Number.NEGATIVE_INFINITY;
  const tell = () => {
    const at = now();
    if (!subject.observed || at - last < period) return;
    last = at;
    subject.next({ at, streams: [...streams.values()].map((metricsOf) => metricsOf(at)), memory: memory() });
  };
  return {
    metrics$: new Observable((subscriber) => subject.subscribe(subscriber)),
    open() {
      const stream = ++count;
      const began = now();
      const record = createRecord();
      const dropped = { source: 0, superseded: 0, stale: 0, failed: 0 };
      const arrivals = new Float64Array(512);
      /** with each of them, how many the source had given by then */
      const given = new Float64Array(arrivals.length);
      let [came, total, explained] = [0, 0, 0];
      let rung: RungMetrics | undefined;
      const meter: StreamMeter = {
        arrived(at, bySource) {
          dropped.source += bySource;
          total += 1 + bySource;
          arrivals[came % arrivals.length] = at;
          given[came++ % arrivals.length] = total;
        },
        dropped(why, frames) {
          dropped[why] += frames;
        },
        stale() {
          dropped.stale++;
          tell();
        },
        rung(current) {
          rung = current;
        },
        handed({ timing, age }, { handed, source, wait, forward, rendered }) {
          explained++;
          const { preprocess, inference, readback, drawing, total, queue } = timing;
          const transfer = Math.max(0, total - queue - preprocess - inference - readback - drawing);
          record.add(handed, age, [
            source,
            wait + queue,
            preprocess,
            forward,
            Math.max(0, inference - forward),
            readback,
            drawing,
            transfer,
            rendered,
          ]);
          tell();
        },
        close() {
          streams.delete(meter);
        },
      };
      streams.set(meter, (at) => {
        const { count: handed, age, stages: byStage } = record.spreads(at);
        const seconds = Math.min(span, Math.max(1, at - began)) / 1000;
        // since the last arrival before the span, or the one before the last: where runs take seconds, few frames are taken and many dropped
        let from = Math.max(0, came - 2);
        const oldest = Math.max(0, came - arrivals.length);
        while (from > oldest && at - arrivals[from % arrivals.length]! < span) from--;
        const first = from % arrivals.length;
        const newest = (came + arrivals.length - 1) % arrivals.length;
        const lasted = arrivals[newest]! - arrivals[first]!;
        return {
          stream,
          rung,
          age,
          stages: byStage,
          fpsIn: came > 1 && lasted > 0 ? ((given[newest]! - given[first]!) / lasted) * 1000 : total / seconds,
          fpsOut: handed / seconds,
          dropped: { ...dropped },
          explained,
        };
      });
      return meter;
    },
    end: () => subject.complete(),
  };
}
