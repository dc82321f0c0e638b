import { UnsupportedOperatorError } from '../../errors.js';
import { int, intAttribute, intsAttribute, sizeOf, textAttribute } from '../../graph/graph.js';
import { resizeOf } from '../../graph/shapes/normalization.js';
import type { Emitter, Value } from '../emitter.js';
import { within } from '../limits.js';
import { relevanceQuotient } from '../linear.js';
import { overReached } from './evenly.js';
import { type AxisWeights, axisWeights, copiesPerCell, type Resampling } from './interpolation.js';
import { arriving, constantNumbers, fromFront, type NodeContext, type OperatorSupport, required } from './operator.js';

/** Scales and attributes of a Resize as {@link axisWeights} takes them, one entry per axis. */
function resamplingOf(context: NodeContext): Resampling[] {
  const { node, outputs } = context;
  const x = required(context, 0);
  const transformation = textAttribute(node, 'coordinate_transformation_mode', 'half_pixel');
  const cubic = node.attributes.get('cubic_coeff_a');
  const constants = node.inputs.map((_, index) => context.constantAt(index));
  const types = [{ type: 'float32', dims: x.dims } as const, undefined, ...constants.slice(2)];
  const { scales } = resizeOf({ node, opset: 17, inputs: types, constants });
  const crop = cropOf(context, x.dims.length);
  return scales.map((scale, axis) => ({
    length: x.dims[axis]!,
    resized: outputs[0]!.dims[axis]!,
    scale,
    mode: textAttribute(node, 'mode', 'nearest'),
    transformation,
    nearest: textAttribute(node, 'nearest_mode', 'round_prefer_floor'),
    cubic: cubic?.kind === 'float' ? cubic.value : -0.75,
    excludeOutside: intAttribute(node, 'exclude_outside', 0) === 1,
    antialias: intAttribute(node, 'antialias', 0) === 1,
    crop: crop[axis]!,
  }));
}

/** The part of every axis that tf_crop_and_resize takes, from 0 to 1. */
function cropOf(context: NodeContext, rank: number): (readonly [number, number])[] {
  const { node } = context;
  const parts = Array.from({ length: rank }, (): readonly [number, number] => [0, 1]);
  if (textAttribute(node, 'coordinate_transformation_mode', 'half_pixel') !== 'tf_crop_and_resize') return parts;
  const bounds = constantNumbers(context, 1);
  if (bounds === undefined)
    throw new UnsupportedOperatorError(node.name, node.op, 'the part that it resizes is computed.');
  const axes = intsAttribute(
    node,
    'axes',
    parts.map((_, axis) => axis),
  );
  for (const [index, axis] of axes.entries()) {
    parts[fromFront(axis, rank)] = [bounds[index]!, bounds[index + axes.length]!];
  }
  return parts;
}

/** Mᵀ·s along one axis: equal numbers of copies are summed up, anything else is a product with the small matrix M. */
function transposedAlong(emit: Emitter, s: Value, axis: number, weights: AxisWeights): Value {
  const { rows, columns, matrix } = weights;
  const [before, after] = [s.dims.slice(0, axis), s.dims.slice(axis + 1)];
  const dims = [...before, columns, ...after];
  const copies = copiesPerCell(weights);
  if (copies === 1) return s;
  if (copies !== undefined) {
    const apart = emit.reshape(s, [sizeOf(before), columns, copies, sizeOf(after)]);
    return emit.reshape(emit.reduce('Sum', apart, [2]), dims);
  }
  if (sizeOf(after) === 1) {
    const lines = emit.reshape(s, [sizeOf(before), rows]);
    return emit.reshape(
      emit.op('MatMul', [lines, emit.constant(matrix, [rows, columns])], [sizeOf(before), columns]),
      dims,
    );
  }
  const planes = emit.reshape(s, [sizeOf(before), rows, sizeOf(after)]);
  const transposed = emit.transpose(emit.constant(matrix, [rows, columns]), [1, 0]);
  return emit.reshape(emit.op('MatMul', [transposed, planes], [sizeOf(before), columns, sizeOf(after)]), dims);
}

/**
 * Resampling is linear and separable: y = M·x with M = M₁ ⊗ M₂ ⊗ … along the axes, so R_x = x ⊙ Mᵀ(R / y) (thesis 2.39). A nearest
 * neighbour is a copy, whose relevance is added up where it came from: R_x = MᵀR, without any denominator.
 */
const resize: OperatorSupport = {
  family: 'Resampling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39; copies of a nearest neighbour move as in 2.41',
  limits: 'static scales',
  // the weights of every output add up to one
  evenly: overReached(() => undefined),
  rescale: 'linear',
  explain(context) {
    const { emit, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = arriving(context);
    const axes = resamplingOf(context);
    const copied = rule.name === 'gradient' || axes.every((axis) => axis.mode === 'nearest');
    let s = copied ? relevance : relevanceQuotient(context, relevance, outputs[0]!, rule.stabilizer);
    // the axis that shrinks most goes first, so that the others have less to do
    const order = axes
      .map((_, axis) => axis)
      .sort((a, b) => axes[a]!.length / axes[a]!.resized - axes[b]!.length / axes[b]!.resized);
    for (const axis of order) s = transposedAlong(emit, s, axis, axisWeights(axes[axis]!));
    return [copied ? s : emit.mul(x, s)];
  },
};

const moving = (explain: OperatorSupport['explain']): OperatorSupport => ({
  family: 'Data movement',
  rules: [],
  source: 'thesis 2.41: relevance moves with the data',
  evenly: 'usual',
  rescale: 'linear',
  explain,
});

/** The inverse of reshape → transpose → reshape: from the output's elements, laid out as `apart` by `permutation`, back to `dims`. */
function unshuffled(
  emit: Emitter,
  r: Value,
  apart: readonly number[],
  permutation: readonly number[],
  dims: readonly number[],
): Value {
  const shuffled = permutation.map((axis) => apart[axis]!);
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  return emit.reshape(emit.transpose(emit.reshape(r, shuffled), inverse), dims);
}

const depthToSpace = moving((context) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  const block = intAttribute(node, 'blocksize', 1);
  const kept = channels / block ** 2;
  return [
    textAttribute(node, 'mode', 'DCR') === 'CRD'
      ? unshuffled(emit, arriving(context), [batch, kept, block, block, height, width], [0, 1, 4, 2, 5, 3], x.dims)
      : unshuffled(emit, arriving(context), [batch, block, block, kept, height, width], [0, 3, 4, 1, 5, 2], x.dims),
  ];
});

const spaceToDepth = moving((context) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  const block = intAttribute(node, 'blocksize', 1);
  const apart = [batch, channels, height / block, block, width / block, block];
  return [unshuffled(emit, arriving(context), apart, [0, 3, 5, 1, 2, 4], x.dims)];
});

const tile = moving((context) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const repeats = constantNumbers(context, 1);
  if (repeats === undefined) throw new UnsupportedOperatorError(node.name, node.op, 'its repeats are not constant.');
  const apart = repeats.flatMap((repeat, axis) => (repeat === 1 ? [x.dims[axis]!] : [repeat, x.dims[axis]!]));
  const copies: number[] = [];
  let at = 0;
  for (const repeat of repeats) {
    if (repeat !== 1) copies.push(at++);
    at++;
  }
  return [emit.reshape(emit.reduce('Sum', emit.reshape(arriving(context), apart), copies), x.dims)];
});

/** How many elements each cumulative sum has; at least one. */
function reachedSoFar(context: NodeContext): Value {
  const { emit, node } = context;
  const { dims } = required(context, 0);
  const axis = fromFront(constantNumbers(context, 1)?.[0] ?? 0, dims.length);
  const reversed = intAttribute(node, 'reverse', 0) === 1;
  const own = 1 - intAttribute(node, 'exclusive', 0);
  const length = dims[axis]!;
  const counts = Array.from({ length: within(length, 'counts') }, (_, at) =>
    Math.max(1, (reversed ? length - 1 - at : at) + own),
  );
  return emit.constant(
    counts,
    dims.map((_, at) => (at === axis ? length : 1)),
  );
}

/** y = L·x with L triangular: Lᵀ is the cumulative sum from the other end. */
const cumulativeSum: OperatorSupport = {
  family: 'Resampling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39',
  limits: 'constant axis',
  evenly: overReached(reachedSoFar),
  rescale: 'linear',
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const axis = constantNumbers(context, 1)?.[0];
    if (axis === undefined) throw new UnsupportedOperatorError(node.name, node.op, 'its axis is not constant.');
    const relevance = arriving(context);
    const gradient = rule.name === 'gradient';
    const s = gradient ? relevance : relevanceQuotient(context, relevance, outputs[0]!, rule.stabilizer);
    const back = emit.op('CumSum', [s, emit.reshape(emit.integers([fromFront(axis, x.dims.length)]), [])], x.dims, {
      exclusive: int(intAttribute(node, 'exclusive', 0)),
      reverse: int(1 - intAttribute(node, 'reverse', 0)),
    });
    return [gradient ? back : emit.mul(x, back)];
  },
};

/** Operators that change the number of samples, and those that only deal them out anew. */
export const resamplingOperators: Readonly<Record<string, OperatorSupport>> = {
  Resize: resize,
  CumSum: cumulativeSum,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Tile: tile,
};
