import type { Observable } from 'rxjs';
import type { WhylightError } from '../errors.js';
import { fullGraph, makeLadder, type RungOptions } from '../runtime/budget/ladder.js';
import type { ExplainerStream, Graphs, StreamOptions } from '../runtime/budget/lane.js';
import type { HeldMemory, Metrics } from '../runtime/budget/metrics.js';
import { createStreams } from '../runtime/budget/streams.js';
import type { Resource, Use } from '../runtime/budget/turns.js';
import type { Explainer } from '../runtime/explainer.js';
import type { Explanation } from '../runtime/explanation.js';
import { inputSize } from '../runtime/metadata.js';
import type { MediaFrame } from '../sources/sound-window.js';
import type { Comparison, ExplainerPair, PairedExplanation } from './explainer-pair.js';

/** What a pair of explainers has for the streams on it, as each of the two has. */
export interface PairStreams {
  /** What the streams on the pair are doing, see {@link Explainer.metrics$}; never completes. */
  readonly metrics$: Observable<Metrics>;
  /** what both hold together */
  readonly memory: HeldMemory;
  /**
   * Opens a stream whose budget holds for both explanations of a frame: it is late when the second one is. To be closed. It takes turns
   * with all that either explainer takes turns with, and with the streams of the two themselves.
   */
  openStream(options: StreamOptions): ExplainerStream<PairedExplanation<Explanation>>;
  /** Puts a warning on the leading explainer's {@link Explainer.warnings$}. */
  warn(warning: WhylightError): void;
}

/**
 * Both models by the same rules and on the same frames, or they could not be compared. And the rules are the same from rung to rung: how far
 * two maps are apart depends on the depth where the decomposition ends, so with `flatBelow` a change of the load would look like one of
 * the drift. The rungs are those that need no graphs beside the two that there are.
 */
const rungs: readonly RungOptions[] = [
  { name: 'both by LRP' },
  { name: 'both by LRP on every 4th frame', every: 4 },
  { name: 'both forward only', every: 'never' },
];

/** A pair of explainers as `explain` takes one explainer: with budgets and metrics. */
export function withStreams(
  pair: ExplainerPair<MediaFrame, Explanation>,
  leader: Explainer,
  follower: Explainer,
): ExplainerPair<MediaFrame, Explanation> & PairStreams {
  const { report, metadata } = leader;
  const both = {
    ...report,
    forward: report.forward + follower.report.forward,
    backward: report.backward + follower.report.backward,
  };
  const ladder = makeLadder(rungs, {
    report: both,
    composite: undefined,
    size: inputSize(metadata.input),
    resizable: false,
  });
  const graphs: Graphs<PairedExplanation<Explanation>> = {
    ladder,
    isBuilt: (graph) => graph === fullGraph,
    build: () => undefined,
    // neither is timed by itself: the compiler's costs hold until frames have taken turns
    calibrate: () => Promise.resolve(),
    calibrations: new Map(),
    explain: (_, frame, options) => pair.explainFrame(frame, options),
  };
  const memory = () => together(leader.memory, follower.memory);
  const uses = () => eitherOf(leader.uses(), follower.uses());
  const streams = createStreams({ graphs: () => graphs, memory, uses });
  return {
    ...pair,
    metrics$: streams.metrics$,
    get memory() {
      return memory();
    },
    openStream: (options) => carrying(streams.open(options)),
    warn: (warning) => leader.warn(warning),
  };
}

/** A stream that carries the comparison along with the relevance that it belongs to. */
function carrying(
  stream: ExplainerStream<PairedExplanation<Explanation>>,
): ExplainerStream<PairedExplanation<Explanation>> {
  let last: Comparison<Explanation> | undefined;
  return {
    ...stream,
    async explainFrame(frame, options) {
      const result = await stream.explainFrame(frame, options);
      if (result === 'stale') return result;
      last = result.comparison ?? last;
      const { comparison = last, quality } = result;
      return comparison === undefined || quality?.relevance?.timestamp !== comparison.reference.timestamp
        ? result
        : { ...result, comparison };
    },
    close() {
      last = undefined;
      stream.close();
    },
  };
}

/** What is taken where one runs after the other. */
function eitherOf(a: readonly Use[], b: readonly Use[]): readonly Use[] {
  const most = new Map<Resource, number>();
  for (const { resource, units } of [...a, ...b]) most.set(resource, Math.max(units, most.get(resource) ?? 0));
  return [...most].map(([resource, units]) => ({ resource, units }));
}

/** The page and its heap are the same for both. */
function together(a: HeldMemory, b: HeldMemory): HeldMemory {
  return {
    heap: a.heap,
    wasm: a.wasm + b.wasm,
    gpu: a.gpu + b.gpu,
    workers: a.workers + b.workers,
    frames: a.frames + b.frames,
    tensors: a.tensors + b.tensors,
  };
}
