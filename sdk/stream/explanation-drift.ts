import { WhylightError } from '../errors.js';
import type { ComparedExplanation } from '../evaluation/drift.js';
import { type DriftSummary, driftSums } from '../evaluation/drift-summary.js';
import type { Target } from '../runtime/target.js';
import { type Comparison, discard, type Explains, explainerPair } from './explainer-pair.js';
import { oneByOne, type Sequence } from './iterate.js';

/** Settings of {@link explanationDrift}. */
export interface DriftOptions {
  /** what both models explain; default the reference model's strongest output of every frame */
  readonly target?: Target;
  /** true: it is an error where the models have no layers in common whose relevance could be compared; default false */
  readonly requireLayers?: boolean;
  /** hears of every frame that was compared */
  readonly onProgress?: (progress: DriftProgress) => void;
  /** ends the comparison with ABORTED; the figures up to there are in {@link ExplanationDrift.soFar} */
  readonly signal?: AbortSignal;
}

/** How far a comparison has come. */
export interface DriftProgress {
  /** frames compared so far */
  readonly frames: number;
  /** presentation time of the last one in microseconds */
  readonly timestamp: number;
}

/** A comparison that goes as fast as it is iterated, once. */
export interface ExplanationDrift<Result extends ComparedExplanation> extends AsyncIterable<Comparison<Result>> {
  /** goes on to the last frame, where the iteration has not, and sums up */
  summary(): Promise<DriftSummary>;
  /** of the frames so far, also after an error */
  soFar(): DriftSummary;
}

/**
 * Does a quantized model, or any other form of a model, still decide for the same reasons? Both explain every frame, for the same target, and
 * the relevance of the picture, and of layers that both tap, is compared: per frame as it is iterated, and in sum.
 *
 *     const drift = explanationDrift(float32, int8, clip.frames());
 *     for await (const { drift: frame } of drift) console.log(frame.timestamp, frame.map.cosine);
 *     const { map, decisionsChanged } = await drift.summary();
 *
 * No frame is dropped. Each is closed exactly once; ending the loop early ends the source. A live source is better compared by
 * giving an {@link explainerPair} to `explain`, which drops what comes too fast.
 *
 * @param reference the standard, such as the float32 model
 * @param compared such as the quantized model
 * @param frames frames for explainers, feeds for compiled graphs
 * @throws {@link WhylightError} MODELS_DIFFER at once where the models cannot be compared; while it is iterated, ABORTED and whatever the
 * source or the models throw
 */
export function explanationDrift<Input, Result extends ComparedExplanation>(
  reference: Explains<Input, Result>,
  compared: Explains<Input, Result>,
  frames: Sequence<Input>,
  options: DriftOptions = {},
): ExplanationDrift<Result> {
  const { target = 'strongest', onProgress } = options;
  const signal = options.signal ?? new AbortController().signal;
  const pair = explainerPair(reference, compared);
  if (options.requireLayers === true && pair.match.layers.length === 0) {
    const { reference: left, compared: right } = pair.match.unmatched;
    throw new WhylightError(
      'MODELS_DIFFER',
      `The models have no layer in common: ${left.length} layers with weights of one and ${right.length} of the other agree neither in name nor in place and shape.`,
      { details: { field: 'layers', reference: left, compared: right } },
    );
  }
  const sums = driftSums();
  let count = 0;
  const run = async function* (): AsyncGenerator<Comparison<Result>, void> {
    for await (const frame of oneByOne(frames, signal, discard)) {
      const { comparison } = await pair.explainFrame(frame, { target });
      if (comparison === undefined) continue;
      sums.add(comparison.drift, comparison.maps);
      onProgress?.({ frames: ++count, timestamp: comparison.drift.timestamp });
      yield comparison;
    }
  };
  const running = run();
  return {
    [Symbol.asyncIterator]: () => running,
    async summary() {
      while ((await running.next()).done !== true);
      return sums.summary();
    },
    soFar: () => sums.summary(),
  };
}
