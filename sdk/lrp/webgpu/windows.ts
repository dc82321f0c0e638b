import { type Attribute, int, intAttribute, intsAttribute, sizeOf, textAttribute } from '../../graph/graph.js';
import { type Value, windowAttributes, windowOf } from '../emitter.js';
import { transposedConvolution } from '../operators/convolution.js';
import { type Call, numbersAt, ofFloat, outputDims, power, type Rewrite, unary } from './kernel.js';

/**
 * The runtime's 3-D convolution knows no groups: the sum over the kernel's depth of grouped 2-D convolutions, each of which takes the
 * frames that its slice of the kernel reaches as a batch.
 */
const convolution: Rewrite = ofFloat((call, x) => {
  const { emit, node, inputs } = call;
  const groups = intAttribute(node, 'group', 1);
  const [, weights, bias] = inputs;
  if (weights === undefined) return undefined;
  if (groups === 1) return inFours(call, x, weights);
  if (x.dims.length !== 5) return undefined;
  const { kernel, strides, dilations, pads } = windowOf(node, weights.dims.slice(2));
  const [batch, outputs, frames, height, width] = outputDims(call) as [number, number, number, number, number];
  const [reached, channels, , ...size] = emit.pad(x, [0, 0, pads[0]!, 0, 0, 0, 0, pads[3]!, 0, 0]).dims;
  const padded = emit.pad(x, [0, 0, pads[0]!, 0, 0, 0, 0, pads[3]!, 0, 0]);
  const byFrame = emit.transpose(padded, [0, 2, 1, 3, 4]);
  const window = windowAttributes({
    kernel: kernel.slice(1),
    strides: strides.slice(1),
    dilations: dilations.slice(1),
    pads: [pads[1]!, pads[2]!, pads[4]!, pads[5]!],
  });
  const parts = Array.from({ length: kernel[0]! }, (_, depth) => {
    const start = depth * dilations[0]!;
    const taken = emit.slice(byFrame, [start], [start + (frames - 1) * strides[0]! + 1], [1], [strides[0]!]);
    const slice = emit.slice(weights, [depth], [depth + 1], [2]);
    const kernels = emit.reshape(slice, [...weights.dims.slice(0, 2), ...kernel.slice(1)]);
    const given = [emit.reshape(taken, [reached! * frames, channels!, ...size]), kernels];
    if (depth === 0 && bias !== undefined) given.push(bias);
    return emit.op('Conv', given, [batch * frames, outputs, height, width], { ...window, group: int(groups) });
  });
  const sum = parts.reduce((total, part) => emit.add(total, part));
  return emit.transpose(emit.reshape(sum, [batch, frames, outputs, height, width]), [0, 2, 1, 3, 4]);
});

/**
 * Some convolutions of a number of channels that four does not divide (33 and 129 were found) come out wrong without an error: empty
 * channels fill it up. Pictures' few channels are right.
 */
function inFours(call: Call, x: Value, weights: Value): Value | undefined {
  const { emit, node, inputs } = call;
  const [, channels, ...size] = x.dims as [number, number, ...number[]];
  const missing = (4 - (channels % 4)) % 4;
  if (missing === 0 || channels < 4 || size.length > 2) return undefined;
  const pads = [0, 0, ...size.map(() => 0), 0, missing, ...size.map(() => 0)];
  const given = [emit.pad(x, pads), emit.pad(weights, pads)];
  if (inputs[2] !== undefined) given.push(inputs[2]);
  return emit.op('Conv', given, outputDims(call), Object.fromEntries(node.attributes));
}

/** The runtime has no 3-D transposed convolution: a convolution of the input with zeros between its cells. */
const transposed: Rewrite = ofFloat((call, x) => {
  const { emit, node, inputs } = call;
  const [, weights, bias] = inputs;
  if (x.dims.length !== 5 || weights === undefined) return undefined;
  const size = outputDims(call).slice(2);
  const window = windowOf(node, weights.dims.slice(2));
  const result = transposedConvolution(emit, x, weights, window, intAttribute(node, 'group', 1), size);
  return bias === undefined ? result : emit.add(result, emit.reshape(bias, [1, bias.dims[0]!, 1, 1, 1]));
});

/** (Σ|x|^p)^(1/p) over a window: its cells times their average. */
const lpPool: Rewrite = ofFloat((call, x) => {
  const { emit, node, opset } = call;
  const window = windowOf(node, intsAttribute(node, 'kernel_shape', []));
  const dilated = window.dilations.some((dilation) => dilation !== 1);
  if (intAttribute(node, 'ceil_mode', 0) !== 0 || (dilated && opset < 19)) return undefined;
  const p = intAttribute(node, 'p', 2);
  const { dilations, ...attributes } = windowAttributes(window);
  const average = emit.op('AveragePool', [power(emit, unary(emit, 'Abs', x), p)], outputDims(call), {
    ...attributes,
    ...(dilated ? { dilations: dilations! } : {}),
    count_include_pad: int(1),
  });
  return power(emit, emit.mul(average, emit.scalar(sizeOf(window.kernel))), 1 / p);
});

const globalLpPool: Rewrite = ofFloat(({ emit, node }, x) => {
  const p = intAttribute(node, 'p', 2);
  const space = x.dims.slice(2).map((_, axis) => axis + 2);
  return power(emit, emit.reduce('Sum', power(emit, unary(emit, 'Abs', x), p), space), 1 / p);
});

const spaceToDepth: Rewrite = ofFloat((call, x) => {
  const { emit, node } = call;
  const block = intAttribute(node, 'blocksize', 1);
  const [batch, channels, height, width] = x.dims as [number, number, number, number];
  const apart = emit.reshape(x, [batch, channels, height / block, block, width / block, block]);
  return emit.reshape(emit.transpose(apart, [0, 3, 5, 1, 2, 4]), outputDims(call));
});

/** What is given per axis in an order of axes, put into the order `permutation`. */
function permuted(call: Call, input: number, permutation: readonly number[], rank: number): Value | undefined {
  const given = numbersAt(call, input);
  if (given === undefined || given.length === 0) return undefined;
  const axes = intsAttribute(
    call.node,
    'axes',
    permutation.map((_, axis) => axis).sort((a, b) => a - b),
  );
  const neutral = input === 2 ? 1 : undefined;
  const values = permutation.map((axis) => {
    const at = axes.findIndex((one) => (one < 0 ? one + rank : one) === axis);
    return given[at] ?? neutral ?? call.inputs[0]!.dims[axis]!;
  });
  return input === 2 ? call.emit.constant(values, [rank]) : call.emit.integers(values);
}

/**
 * The runtime interpolates a batch of images over their last two axes only, and gives wrong values without an error where others are
 * resized: channels are moved to the front of what is resized, and back.
 */
const resize: Rewrite = ofFloat((call, x) => {
  const { emit, node } = call;
  const rank = x.dims.length;
  const dims = outputDims(call);
  const changed = dims.flatMap((length, axis) => (length !== x.dims[axis] ? [axis] : []));
  const inPlace = changed.every((axis) => axis >= rank - 2);
  if (textAttribute(node, 'mode', 'nearest') === 'nearest' || rank !== 4 || inPlace || changed.length > 2)
    return undefined;
  if (textAttribute(node, 'coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize') return undefined;
  if (textAttribute(node, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch') return undefined;
  const kept = x.dims.flatMap((_, axis) => (changed.includes(axis) ? [] : [axis]));
  // an axis that is as it was fills up where only one changes
  const permutation = [...kept, ...changed];
  const order = permutation.map((axis) => dims[axis]!);
  const scales = permuted(call, 2, permutation, rank);
  const sizes = scales === undefined ? permuted(call, 3, permutation, rank) : undefined;
  if (scales === undefined && sizes === undefined) return undefined;
  const attributes = Object.fromEntries([...node.attributes].filter(([name]) => name !== 'axes')) as Record<
    string,
    Attribute
  >;
  const nothing: Value = { name: '', dims: [], constant: true };
  const given = [emit.transpose(x, permutation), nothing, scales ?? nothing, ...(sizes === undefined ? [] : [sizes])];
  const back = permutation.map((_, axis) => permutation.indexOf(axis));
  return emit.transpose(emit.op('Resize', given, order, attributes), back);
});

/** Windows and resampling. */
export const windowRewrites: Readonly<Record<string, Rewrite>> = {
  Conv: convolution,
  ConvTranspose: transposed,
  LpPool: lpPool,
  GlobalLpPool: globalLpPool,
  SpaceToDepth: spaceToDepth,
  Resize: resize,
};
