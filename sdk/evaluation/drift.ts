import { WhylightError } from '../errors.js';
import { sumChannels } from '../render/normalize.js';
import type { Explanation, FloatArray } from '../runtime/explanation.js';
import type { ExplainedTarget, TopEntry } from '../runtime/target.js';
import { type Agreement, relevanceAgreement } from './agreement.js';
import type { ModelMatch, TensorMatch } from './model-match.js';

/** What is compared of an explanation; the explainer's are such. */
export type ComparedExplanation = Pick<Explanation, 'timestamp' | 'target' | 'topK' | 'logit' | 'relevance'> &
  Partial<Pick<Explanation, 'timing' | 'age' | 'release'>>;

/** How a layer's relevance agrees between two models. */
export interface LayerDrift extends TensorMatch {
  /** over the layer's neurons, each by itself */
  readonly agreement: Agreement;
}

/** What changed from one model's explanation of a frame to the other's, both of the same target. */
export interface FrameDrift {
  /** the frame's presentation time in microseconds */
  readonly timestamp: number;
  /** what was explained in both */
  readonly target: ExplainedTarget;
  /** over the picture's pixels, the channels of each summed; over the elements of an input that is no picture */
  readonly map: Agreement;
  /** by layer, from the input to the logits, where relevance of inner tensors is there; further inputs of the model come first */
  readonly layers: readonly LayerDrift[];
  /** the explained logit, or the sum of a group's */
  readonly logit: {
    /** of the reference model */
    readonly reference: number;
    /** of the model that is compared with it */
    readonly compared: number;
    /** compared − reference */
    readonly change: number;
    /** change / |reference|; NaN where that is 0 */
    readonly relative: number;
  };
  /** the strongest output */
  readonly decision: {
    /** of the reference model, undefined for a model without outputs to choose from */
    readonly reference: TopEntry | undefined;
    /** of the model that is compared with it */
    readonly compared: TopEntry | undefined;
    /** whether they are different ones */
    readonly changed: boolean;
  };
}

/** The relevance of one tensor in two models. */
export interface MapPair extends TensorMatch {
  /** of the reference model */
  readonly a: Float32Array;
  /** of the model that is compared with it */
  readonly b: Float32Array;
}

/** Two explanations, tensor by tensor. */
export interface ComparedMaps {
  /** of the picture, channels summed */
  readonly map: MapPair;
  /** of what else there is, see {@link FrameDrift.layers} */
  readonly layers: readonly MapPair[];
}

/** How the pictures' tensors are laid out, and what belongs together. */
export interface CompareOptions {
  /** what the models have in common; see {@link matchModels} */
  readonly match: Pick<ModelMatch, 'inputs' | 'layers'>;
  /** where a picture has its channels; default NCHW */
  readonly layout?: 'NCHW' | 'NHWC';
}

/** Lays the relevance of two explanations side by side; layers whose relevance was not asked for are left out. */
export function comparedMaps(
  reference: ComparedExplanation,
  compared: ComparedExplanation,
  { match, layout = 'NCHW' }: CompareOptions,
): ComparedMaps {
  const [input, ...others] = match.inputs;
  if (input === undefined) {
    throw new WhylightError('MODELS_DIFFER', 'The models have no explained input in common.', {
      details: { field: 'inputs' },
    });
  }
  const pairOf = (tensor: TensorMatch, read: (value: FloatArray) => Float32Array): MapPair | undefined => {
    const [a, b] = [reference.relevance[tensor.reference], compared.relevance[tensor.compared]];
    return a === undefined || b === undefined ? undefined : { ...tensor, a: read(a), b: read(b) };
  };
  const map = pairOf(input, (value) => pixels(value, layout));
  if (map === undefined) {
    throw new WhylightError(
      'MODELS_DIFFER',
      `The relevance of the input "${input.reference}" is missing in one of two.`,
      {
        details: { field: 'inputs', input: input.reference },
      },
    );
  }
  return { map, layers: [...others, ...match.layers].flatMap((tensor) => pairOf(tensor, ({ data }) => data) ?? []) };
}

function pixels({ dims, data }: FloatArray, layout: 'NCHW' | 'NHWC'): Float32Array {
  return dims.length === 4 && dims[0] === 1 ? sumChannels(data, dims, layout).data : data;
}

/** The figures of one frame out of its maps. */
export function frameDrift(
  reference: ComparedExplanation,
  compared: ComparedExplanation,
  { map, layers }: ComparedMaps,
): FrameDrift {
  const [before, after] = [reference.topK[0], compared.topK[0]];
  const change = compared.logit - reference.logit;
  return {
    timestamp: reference.timestamp,
    target: reference.target,
    map: relevanceAgreement(map.a, map.b),
    layers: layers.map(({ a, b, ...tensor }) => ({ ...tensor, agreement: relevanceAgreement(a, b) })),
    logit: {
      reference: reference.logit,
      compared: compared.logit,
      change,
      relative: reference.logit === 0 ? Number.NaN : change / Math.abs(reference.logit),
    },
    decision: { reference: before, compared: after, changed: before?.index !== after?.index },
  };
}

/**
 * Compares two models' explanations of the same frame.
 *
 * @param reference the one to be kept to, such as the float32 model's
 * @param compared the other one, of the same target
 * @throws {@link WhylightError} MODELS_DIFFER where the input's relevance is missing, OPTION_INVALID where the explanations have different targets
 */
export function compareExplanations(
  reference: ComparedExplanation,
  compared: ComparedExplanation,
  options: CompareOptions,
): FrameDrift {
  const [weights, others] = [reference.target.weights, compared.target.weights];
  if (weights.length !== others.length || weights.some((weight, i) => weight !== others[i])) {
    throw new WhylightError(
      'OPTION_INVALID',
      `One explanation is of ${reference.target.labels.join(', ')}, the other of ${compared.target.labels.join(', ')}; only explanations of the same target can be compared.`,
      { details: { field: 'target' } },
    );
  }
  return frameDrift(reference, compared, comparedMaps(reference, compared, options));
}
