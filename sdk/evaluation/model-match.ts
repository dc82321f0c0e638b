import { type ErrorDetails, WhylightError } from '../errors.js';
import type { CompileReport, LayerReport } from '../lrp/report.js';

/** One tensor of two models: the input, or what a layer gives. */
export interface TensorMatch {
  /** its name in the reference model */
  readonly reference: string;
  /** its name in the model that is compared with it */
  readonly compared: string;
  /**
   * `name`: both models call it the same · `position`: both have a layer with weights of the same output shape and depth at this place of
   * the sequence of layers with weights that have no namesake
   */
  readonly matchedBy: 'name' | 'position';
  /** static shape, the same in both */
  readonly shape: readonly number[];
}

/** What two models have in common, so that their relevance can be compared. */
export interface ModelMatch {
  /** the explained inputs, in the reference model's order */
  readonly inputs: readonly TensorMatch[];
  /** outputs of layers with weights, from the input to the logits; the layer that gives the logits themselves is not among them */
  readonly layers: readonly TensorMatch[];
  /** outputs of layers with weights that the other model has no counterpart for */
  readonly unmatched: {
    /** in the reference model */
    readonly reference: readonly string[];
    /** in the model that is compared with it */
    readonly compared: readonly string[];
  };
}

/**
 * Finds what can be compared in two compiled models, such as a network and its quantized form: the inputs (of equal shape,
 * by name or, with one input each, as they are) and the layers with weights. A layer's counterpart is the layer whose output has the
 * same name and shape; layers without one are matched by their position in the sequence of those that are left, where shape and depth
 * agree. The tensors' names are what {@link CompileOptions.taps} takes.
 *
 * @throws {@link WhylightError} MODELS_DIFFER where inputs or explained outputs have other shapes: the same frame and target
 * cannot be given to both. `details.field` is `inputs` or `output`
 */
export function matchModels(reference: CompileReport, compared: CompileReport): ModelMatch {
  const [output, other] = [reference.explained.shape, compared.explained.shape];
  if (!isSame(output, other)) {
    throw differ(`One model explains an output of ${text(output)}, the other one of ${text(other)}`, {
      field: 'output',
      reference: [...output],
      compared: [...other],
    });
  }
  return { inputs: matchInputs(reference, compared), ...matchLayers(reference, compared) };
}

function matchInputs(reference: CompileReport, compared: CompileReport): readonly TensorMatch[] {
  const sole = reference.inputs.length === 1 && compared.inputs.length === 1 ? compared.inputs[0] : undefined;
  const matches = reference.inputs.map(({ name, shape }): TensorMatch => {
    const other = compared.inputs.find((input) => input.name === name) ?? sole;
    if (other === undefined || !isSame(shape, other.shape)) {
      throw differ(`Input "${name}" of ${text(shape)} has no counterpart among ${listed(compared.inputs)}`, {
        field: 'inputs',
        input: name,
      });
    }
    return { reference: name, compared: other.name, matchedBy: other.name === name ? 'name' : 'position', shape };
  });
  const surplus = compared.inputs.filter(({ name }) => !matches.some((match) => match.compared === name));
  if (surplus.length > 0) {
    throw differ(`Inputs ${listed(surplus)} of one model have no counterpart in the other`, {
      field: 'inputs',
      input: surplus[0]!.name,
    });
  }
  return matches;
}

function matchLayers(reference: CompileReport, compared: CompileReport): Omit<ModelMatch, 'inputs'> {
  const namesakes = new Map(explainedLayers(compared).map((layer) => [layer.tensor, layer]));
  const [left, right] = [weightedLayers(reference), weightedLayers(compared)];
  const counterparts = new Map<LayerReport, TensorMatch>();
  const taken = new Set<string>();
  const pair = (layer: LayerReport, other: LayerReport, matchedBy: TensorMatch['matchedBy']): void => {
    taken.add(other.tensor);
    counterparts.set(layer, {
      reference: layer.tensor,
      compared: other.tensor,
      matchedBy,
      shape: layer.outputShape,
    });
  };
  const isAlike = (layer: LayerReport, other: LayerReport): boolean =>
    layer.depth === other.depth && isSame(layer.outputShape, other.outputShape);
  for (const layer of left) {
    const namesake = namesakes.get(layer.tensor);
    if (namesake === undefined || !isSame(layer.outputShape, namesake.outputShape)) continue;
    pair(layer, namesake, 'name');
    // the name has gone to what is made of the layer's output, such as its quantized form: the layer itself is not left over
    const itself = right.find((other) => !taken.has(other.tensor) && isAlike(layer, other));
    if (namesake.depth === undefined && itself !== undefined) taken.add(itself.tensor);
  }
  const [restLeft, restRight] = [
    left.filter((layer) => !counterparts.has(layer)),
    right.filter((layer) => !taken.has(layer.tensor)),
  ];
  if (restLeft.length === restRight.length) {
    for (const [position, layer] of restLeft.entries()) {
      const other = restRight[position]!;
      if (isAlike(layer, other)) pair(layer, other, 'position');
    }
  }
  return {
    layers: left.flatMap((layer) => counterparts.get(layer) ?? []),
    unmatched: {
      reference: left.filter((layer) => !counterparts.has(layer)).map(({ tensor }) => tensor),
      compared: right.filter(({ tensor }) => !taken.has(tensor)).map(({ tensor }) => tensor),
    },
  };
}

/** Layers that relevance passes; the one that gives the logits holds the decision itself, not what led to it. */
function explainedLayers({ layers, explained }: CompileReport): readonly LayerReport[] {
  return layers.filter(({ rule, tensor }) => rule !== 'none' && tensor !== explained.logits);
}

function weightedLayers(report: CompileReport): readonly LayerReport[] {
  return explainedLayers(report).filter(({ depth }) => depth !== undefined);
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

function differ(sentence: string, details: ErrorDetails): WhylightError {
  return new WhylightError('MODELS_DIFFER', `${sentence}; the two cannot be compared on the same frames.`, { details });
}

function text(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

function listed(inputs: CompileReport['inputs']): string {
  return inputs.map(({ name, shape }) => `"${name}" ${text(shape)}`).join(', ');
}
