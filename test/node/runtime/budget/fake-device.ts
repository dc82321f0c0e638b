import { Subject } from 'rxjs';
import { oneAtATime } from '../../../../sdk/runtime/budget/devices.js';
import type { Graphs } from '../../../../sdk/runtime/budget/lane.js';
import { quantile } from '../../../../sdk/runtime/budget/statistics.js';
import { createLine, createStreams, type Line } from '../../../../sdk/runtime/budget/streams.js';
import type { Use } from '../../../../sdk/runtime/budget/turns.js';
import type { Explanation } from '../../../../sdk/runtime/explanation.js';
import type { Frame } from '../../../../sdk/sources/frame.js';
import { explain } from '../../../../sdk/stream/explain.js';
import { type FakeFrame, fakeExplanation, fakeFrame } from '../../stream/frames.js';
import { ladder } from './simulation.js';

/** Milliseconds of a million multiply-adds at rest. */
export const pace = 0.18;

/** Counts the runs under way. */
export interface Gauge {
  running: number;
  most: number;
}

/** What explainers have in common, and what is wrong with this one. */
interface FakeDeviceOptions {
  readonly line?: Line;
  readonly uses?: () => readonly Use[];
  readonly gauge?: Gauge;
  /** false: a run that begins now never ends */
  readonly answers?: () => boolean;
}

/**
 * An explainer of fake graphs: real turns, lanes and meter under a virtual clock. By default nobody else is in its line.
 *
 * @param load how many times slower than at rest its runs are
 */
export function fakeDevice(load: () => number = () => 1, options: FakeDeviceOptions = {}) {
  const own = oneAtATime();
  const { line = createLine(), uses = () => [own], gauge = { running: 0, most: 0 }, answers = () => true } = options;
  const memory = { heap: undefined, wasm: 0, gpu: 0, workers: 1, frames: 0, tensors: 0 };
  const released: number[] = [];
  const built = new Set(['full']);
  const calibrations = new Map<string, { forward: number; explained: number }>();
  const costOf = (graph: string, explained: boolean) => {
    const rung = ladder.find((one) => one.graph === graph)!;
    return pace * (rung.forward + (explained ? rung.backward : 0));
  };
  const graphs: Graphs = {
    ladder: { rungs: ladder, forms: new Map() },
    isBuilt: (graph) => built.has(graph),
    build: (graph) => setTimeout(() => built.add(graph), 500),
    async calibrate() {
      calibrations.set('full', { forward: costOf('full', false), explained: costOf('full', true) });
    },
    calibrations,
    async explain(graph, frame, { relevance = true }) {
      gauge.most = Math.max(gauge.most, ++gauge.running);
      if (!answers()) await new Promise<never>(() => undefined);
      const inference = load() * costOf(graph, relevance);
      await new Promise((resolve) => setTimeout(resolve, inference + 2));
      gauge.running--;
      frame.close();
      const explanation = fakeExplanation(frame);
      return {
        ...explanation,
        timing: { ...explanation.timing, inference, total: inference + 2 },
        relevance: relevance ? { image: { dims: [1], data: Float32Array.of(frame.timestamp) } } : {},
        release: () => released.push(frame.timestamp),
      };
    },
  };
  const streams = createStreams({ graphs: () => graphs, memory: () => memory, uses, line });
  return {
    explainFrame: (frame: Frame) => graphs.explain('full', frame, {}),
    openStream: streams.open,
    metrics$: streams.metrics$,
    hasBudget: () => streams.hasBudget,
    end: () => streams.end(),
    gauge,
    /** frames whose explanation's memory was given back, by their timestamps */
    released,
  };
}

/** A camera on the virtual clock; every frame records how often it is closed. */
export function camera(interval: number, more: Partial<Frame> = {}) {
  const subject = new Subject<Frame>();
  const frames: FakeFrame[] = [];
  const timer = setInterval(() => {
    const frame = fakeFrame(frames.length, { captured: performance.now(), ...more });
    frames.push(frame);
    subject.next(frame);
  }, interval);
  return { frames$: subject, frames, stop: () => clearInterval(timer) };
}

/** An explanation, when it was handed over and how old it was then. */
export interface Handed extends Explanation {
  readonly at: number;
  readonly own: number;
}

/** Starts a stream of a camera that gives a picture every `interval` milliseconds. */
export function subscribe(on: ReturnType<typeof fakeDevice>, interval: number, budgetMs?: number) {
  const source = camera(interval);
  const handed: Handed[] = [];
  const subscription = source.frames$
    .pipe(explain(on, budgetMs === undefined ? {} : { budgetMs }))
    .subscribe((explanation) => {
      const at = performance.now();
      handed.push({ ...explanation, at, own: at - explanation.captured });
    });
  return { ...source, handed, subscription };
}

/**
 * A stream whose budget leaves no room for a full run of the other, which has time to spare. Both devices are four times as slow as at
 * rest: a full run takes 100 ms.
 */
export function fastAndSlow(fastOn: ReturnType<typeof fakeDevice>, slowOn: ReturnType<typeof fakeDevice>) {
  return { fast: subscribe(fastOn, 100, 80), slow: subscribe(slowOn, 500, 2000) };
}

/** The 95th percentile of the ages since then. */
export const p95 = (handed: readonly Handed[], from: number) =>
  quantile(
    handed.filter(({ at }) => at >= from).map(({ own }) => own),
    0.95,
  );
