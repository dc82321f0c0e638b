import { floatAttribute, int, intAttribute, ints, intsAttribute, sizeOf } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { fromFront } from '../operators/operator.js';
import { type Call, ofFloat, power, type Rewrite, unary } from './kernel.js';

/** Reduced over axes that stay as 1; the mean has no kernel of its own in the emitter. */
function meanOver(emit: Emitter, x: Value, axes: readonly number[]): Value {
  const count = axes.reduce((product, axis) => product * x.dims[axis]!, 1);
  return emit.mul(emit.reduce('Sum', x, axes), emit.scalar(1 / count));
}

/** x / (bias + α/size · Σ x²)^β over neighbouring channels: the sum is a pool over the channels of x², size times its average. */
const localResponse: Rewrite = ofFloat(({ emit, node }, x) => {
  const size = intAttribute(node, 'size', 1);
  const [batch, channels, ...space] = x.dims as [number, number, ...number[]];
  const rows = emit.reshape(emit.mul(x, x), [batch, 1, channels, sizeOf(space)]);
  const average = emit.op('AveragePool', [rows], rows.dims, {
    kernel_shape: ints([size, 1]),
    strides: ints([1, 1]),
    pads: ints([Math.floor((size - 1) / 2), 0, Math.ceil((size - 1) / 2), 0]),
    count_include_pad: int(1),
  });
  const scaled = emit.mul(emit.reshape(average, x.dims), emit.scalar(floatAttribute(node, 'alpha', 1e-4)));
  const divisor = emit.add(scaled, emit.scalar(floatAttribute(node, 'bias', 1)));
  return emit.mul(x, power(emit, divisor, -floatAttribute(node, 'beta', 0.75)));
});

/** (x − mean) / (√variance + 1e-9), as the function in ONNX's own description. */
const meanVariance: Rewrite = ofFloat(({ emit, node }, x) => {
  const axes = intsAttribute(node, 'axes', [0, 2, 3]).map((axis) => fromFront(axis, x.dims.length));
  const centered = emit.sub(x, meanOver(emit, x, axes));
  const deviation = unary(emit, 'Sqrt', meanOver(emit, emit.mul(centered, centered), axes));
  return emit.div(centered, emit.add(deviation, emit.scalar(1e-9)));
});

/** Groups as the channels of an InstanceNormalization; scale and bias are per group before version 21, per channel since. */
const group: Rewrite = ofFloat((call, x) => {
  const { emit, node, inputs } = call;
  const [batch, channels, ...space] = x.dims as [number, number, ...number[]];
  const groups = intAttribute(node, 'num_groups', 1);
  const rows = emit.reshape(x, [batch, groups, sizeOf(x.dims) / batch / groups]);
  const normal = emit.op(
    'InstanceNormalization',
    [rows, emit.filled(1, [groups]), emit.filled(0, [groups])],
    rows.dims,
    {
      epsilon: { kind: 'float', value: floatAttribute(node, 'epsilon', 1e-5) },
    },
  );
  const [scale, bias] = [inputs[1]!, inputs[2]!];
  const perChannel = scale.dims[0] === channels;
  const among = perChannel ? [batch, channels, sizeOf(space)] : rows.dims;
  const over = [1, perChannel ? channels : groups, 1];
  const scaled = emit.mul(emit.reshape(normal, among), emit.reshape(scale, over));
  return emit.reshape(emit.add(scaled, emit.reshape(bias, over)), x.dims);
});

/** x / √(mean x² + ε) · scale over the axes from `axis` on. */
const rootMeanSquare: Rewrite = ofFloat((call, x) => {
  const { emit, node, inputs } = call;
  const first = axisOf(call, x);
  const axes = x.dims.flatMap((_, axis) => (axis >= first ? [axis] : []));
  const squares = emit.add(meanOver(emit, emit.mul(x, x), axes), emit.scalar(floatAttribute(node, 'epsilon', 1e-5)));
  return emit.mul(emit.div(x, unary(emit, 'Sqrt', squares)), inputs[1]!);
});

function axisOf({ node }: Call, x: Value): number {
  return fromFront(intAttribute(node, 'axis', -1), x.dims.length);
}

/** x − max − log Σ e^{x − max} */
const logSoftmax: Rewrite = ofFloat((call, x) => {
  const { emit } = call;
  const axis = axisOf(call, x);
  const below = emit.sub(x, emit.reduce('Max', x, [axis]));
  return emit.sub(below, unary(emit, 'Log', emit.reduce('Sum', unary(emit, 'Exp', below), [axis])));
});

/** 1 at the first of the largest. */
const hardmax: Rewrite = ofFloat((call, x) => {
  const { emit } = call;
  const axis = axisOf(call, x);
  const length = x.dims[axis]!;
  const positions = emit.constant(
    Array.from({ length }, (_, index) => index),
    x.dims.map((_, index) => (index === axis ? length : 1)),
  );
  const largest = emit.compare('Equal', x, emit.reduce('Max', x, [axis]));
  const order = emit.where(largest, positions, emit.scalar(length));
  return emit.indicator(emit.compare('Equal', order, emit.reduce('Min', order, [axis])));
});

/** Normalisation over channels and axes. */
export const normalizationRewrites: Readonly<Record<string, Rewrite>> = {
  LRN: localResponse,
  MeanVarianceNormalization: meanVariance,
  GroupNormalization: group,
  RMSNormalization: rootMeanSquare,
  LogSoftmax: logSoftmax,
  Hardmax: hardmax,
};
