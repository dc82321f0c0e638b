import { int, intAttribute, ints, intsAttribute, type Node, sizeOf } from '../../graph/graph.js';
import { type Emitter, type Value, type Window, windowAttributes, windowOf } from '../emitter.js';
import { within } from '../limits.js';
import type { LinearLayer } from '../linear.js';
import { type TransposedForm, transposedFormFor } from '../lower.js';

/** Number of positions of `length` cells that each output of a window reaches along one axis. */
export function reachedAlong(length: number, outputs: number, window: Window, axis: number): number[] {
  const begin = window.pads[axis]!;
  return Array.from({ length: outputs }, (_, o) => {
    let count = 0;
    for (let k = 0; k < window.kernel[axis]!; k++) {
      const position = o * window.strides[axis]! + k * window.dilations[axis]! - begin;
      if (position >= 0 && position < length) count += 1;
    }
    return count;
  });
}

/** Cells of the input that each output of a window reaches, in row-major order over the output's spatial axes. */
export function reachedBy(input: readonly number[], outputs: readonly number[], window: Window): number[] {
  within(sizeOf(outputs), 'counts of reached cells');
  let counts = [1];
  outputs.forEach((size, axis) => {
    const along = reachedAlong(input[axis]!, size, window, axis);
    counts = counts.flatMap((count) => along.map((reached) => count * reached));
  });
  return counts;
}

/** Kernels [out, in/g, …] turned into those of the transposed map: [in, out/g, …] with every spatial axis reversed. */
function flipped(emit: Emitter, weights: Value, groups: number): Value {
  const [outputs, perGroup, ...kernel] = weights.dims as [number, number, ...number[]];
  const spatial = kernel.map((_, axis) => axis);
  const grouped = emit.reshape(weights, [groups, outputs / groups, perGroup, ...kernel]);
  const swapped = emit.transpose(grouped, [0, 2, 1, ...spatial.map((axis) => axis + 3)]);
  const stacked = emit.reshape(swapped, [groups * perGroup, outputs / groups, ...kernel]);
  const turned = spatial.filter((axis) => kernel[axis] !== 1);
  if (turned.length === 0) return stacked;
  return emit.slice(
    stacked,
    turned.map((axis) => kernel[axis]! - 1),
    turned.map(() => -1),
    turned.map((axis) => axis + 2),
    turned.map(() => -1),
  );
}

/** J(w)ᵀ·s of a convolution whose input has the spatial shape `size`, in the form that is the fastest on the device. */
export function transposedConvolution(
  emit: Emitter,
  s: Value,
  weights: Value,
  window: Window,
  groups: number,
  size: readonly number[],
): Value {
  const form = transposedFormFor({ window, to: weights.dims[1]! * groups }, emit.target);
  return transposedConvolutionAs(form, emit, s, weights, window, groups, size);
}

/** {@link transposedConvolution} in a given form; where padding beyond the kernel's reach rules that out, as ConvTranspose. */
export function transposedConvolutionAs(
  form: TransposedForm,
  emit: Emitter,
  s: Value,
  weights: Value,
  window: Window,
  groups: number,
  size: readonly number[],
): Value {
  const rank = size.length;
  const inputChannels = weights.dims[1]! * groups;
  const dims = [s.dims[0]!, inputChannels, ...size];
  const reach = window.kernel.map((kernel, axis) => (kernel - 1) * window.dilations[axis]!);
  // cells of the padded input behind the last window: the stride never reached them
  const rest = size.map((length, axis) => {
    const padded = length + window.pads[axis]! + window.pads[axis + rank]!;
    return padded - ((s.dims[axis + 2]! - 1) * window.strides[axis]! + reach[axis]! + 1);
  });
  const begin = reach.map((cells, axis) => cells - window.pads[axis]!);
  const end = reach.map((cells, axis) => cells - window.pads[axis + rank]! + rest[axis]!);
  const pads = [...begin, ...end];
  // padding wider than the kernel cuts the result; in 3-D, where there is no other form, its cells are taken from the input
  if (form === 'flipped-conv' && (rank > 2 || pads.every((pad) => pad >= 0))) {
    const apart = window.strides.reduce((value, stride, axis) => emit.interleave(value, axis + 2, stride), s);
    const less = pads.map((pad) => Math.min(0, pad));
    const cut = emit.pad(apart, [0, 0, ...less.slice(0, rank), 0, 0, ...less.slice(rank)]);
    return emit.op('Conv', [cut, flipped(emit, weights, groups)], dims, {
      ...windowAttributes({
        ...window,
        strides: window.strides.map(() => 1),
        pads: pads.map((pad) => Math.max(0, pad)),
      }),
      group: int(groups),
    });
  }
  // what a stride never reached would be output_padding, which the runtime limits; zeros are padded on instead
  const behind = rest.map((cells, axis) => Math.max(0, cells - window.pads[axis + rank]!));
  const ownPads = window.pads.map((pad, k) => (k < rank ? pad : pad - rest[k - rank]! + behind[k - rank]!));
  const reachedDims = [...dims.slice(0, 2), ...size.map((length, axis) => length - behind[axis]!)];
  const raw = emit.op('ConvTranspose', [s, weights], reachedDims, {
    ...windowAttributes({ ...window, pads: ownPads }),
    group: int(groups),
  });
  return emit.pad(raw, [0, 0, ...size.map(() => 0), 0, 0, ...behind]);
}

/** A bias [channels] in the shape that broadcasts over [batch, channels, …]. */
function channelwise(emit: Emitter, bias: Value | undefined, spatial: number): Value | undefined {
  return bias && emit.reshape(bias, [1, bias.dims[0]!, ...Array.from({ length: spatial }, () => 1)]);
}

/** The inverse of {@link channelwise}, also of a scalar. */
const channelVector = (emit: Emitter, bias: Value, output: Value): Value =>
  bias.dims.length === 0 ? emit.expand(bias, [output.dims[1]!]) : emit.reshape(bias, [output.dims[1]!]);

/** One value per group from a sum over the channels of a group, and one group's value for each of its channels. */
function perGroup(emit: Emitter, s: Value, groups: number): Value {
  const [batch, channels, ...size] = s.dims as [number, number, ...number[]];
  const grouped = emit.reshape(s, [batch, groups, channels / groups, ...size]);
  return emit.reshape(emit.reduce('Sum', grouped, [2]), [batch * groups, 1, ...size]);
}

function toChannels(emit: Emitter, s: Value, groups: number, dims: readonly number[]): Value {
  const [batch, channels, ...size] = dims as [number, number, ...number[]];
  const shared = emit.reshape(s, [batch, groups, 1, ...size]);
  return emit.reshape(emit.expand(shared, [batch, groups, channels / groups, ...size]), dims);
}

const onesKernel = (emit: Emitter, kernel: readonly number[]): Value =>
  emit.constant(new Float32Array(sizeOf(kernel)).fill(1), [1, 1, ...kernel]);

/** Counts of reached inputs as a value that broadcasts to the output: a scalar where every output reaches as many. */
function countsValue(emit: Emitter, counts: readonly number[], size: readonly number[]): Value {
  const atLeastOne = counts.map((count) => Math.max(1, count));
  const [first] = atLeastOne;
  return first !== undefined && atLeastOne.every((count) => count === first)
    ? emit.scalar(first)
    : emit.constant(atLeastOne, [1, 1, ...size]);
}

/** Conv in 1-D to 3-D as a {@link LinearLayer}. */
export function convolutionLayer(
  emit: Emitter,
  node: Node,
  [input, weights, bias]: readonly [Value, Value, Value | undefined],
  output: Value,
  nonNegative: boolean,
): LinearLayer {
  const groups = intAttribute(node, 'group', 1);
  const window = windowOf(node, weights.dims.slice(2));
  const size = input.dims.slice(2);
  const channels = input.dims[1]!;
  const outputSize = output.dims.slice(2);
  const attributes = { ...windowAttributes(window), group: int(groups) };

  return {
    input,
    weights,
    bias: channelwise(emit, bias, size.length),
    output,
    nonNegative,
    forward: (x, w, b) =>
      emit.op('Conv', b === undefined ? [x, w] : [x, w, channelVector(emit, b, output)], output.dims, attributes),
    backward: (s, w) => transposedConvolution(emit, s, w, window, groups, size),
    spread(s) {
      const ones = onesKernel(emit, window.kernel);
      const spread = transposedConvolution(emit, perGroup(emit, s, groups), ones, window, 1, size);
      return toChannels(emit, spread, groups, input.dims);
    },
    gather(w) {
      const summed = emit.reduce('Sum', w, [1]);
      const ones = emit.filled(1, [1, 1, ...size]);
      return emit.op('Conv', [ones, summed], [1, w.dims[0]!, ...outputSize], windowAttributes(window));
    },
    get reached() {
      return countsValue(
        emit,
        reachedBy(size, outputSize, window).map((count) => (count * channels) / groups),
        outputSize,
      );
    },
  };
}

/** ConvTranspose as a {@link LinearLayer}: its transposed map is the Conv with the same weights and window. */
export function transposedConvolutionLayer(
  emit: Emitter,
  node: Node,
  [input, weights, bias]: readonly [Value, Value, Value | undefined],
  output: Value,
  nonNegative: boolean,
): LinearLayer {
  const groups = intAttribute(node, 'group', 1);
  const window = windowOf(node, weights.dims.slice(2));
  const size = input.dims.slice(2);
  const outputSize = output.dims.slice(2);
  const extra = intsAttribute(
    node,
    'output_padding',
    size.map(() => 0),
  );
  const forwardAttributes = { ...windowAttributes(window), output_padding: ints(extra) };
  const backward = (s: Value, w: Value, to: readonly number[], g: number): Value =>
    emit.op('Conv', [s, w], [s.dims[0]!, to[1]!, ...size], { ...windowAttributes(window), group: int(g) });
  within(sizeOf(outputSize), 'counts of reached cells');
  const counts = outputSize
    .map((length, axis) => {
      const along = new Array<number>(length).fill(0);
      for (let i = 0; i < size[axis]!; i++) {
        for (let k = 0; k < window.kernel[axis]!; k++) {
          const position = i * window.strides[axis]! + k * window.dilations[axis]! - window.pads[axis]!;
          if (position >= 0 && position < length) along[position]! += 1;
        }
      }
      return along;
    })
    .reduce((all, along) => all.flatMap((count) => along.map((reached) => count * reached)), [1]);

  return {
    input,
    weights,
    bias: channelwise(emit, bias, size.length),
    output,
    nonNegative,
    forward: (x, w, b) =>
      emit.op('ConvTranspose', b === undefined ? [x, w] : [x, w, channelVector(emit, b, output)], output.dims, {
        ...forwardAttributes,
        group: int(groups),
      }),
    backward: (s, w) => backward(s, w, input.dims, groups),
    spread(s) {
      const summed = perGroup(emit, s, groups);
      const spread = backward(summed, onesKernel(emit, window.kernel), [summed.dims[0]!, 1, ...size], 1);
      return toChannels(emit, spread, groups, input.dims);
    },
    gather(w) {
      const [inputs, perOutput, ...kernel] = w.dims as [number, number, ...number[]];
      const grouped = emit.reshape(w, [groups, inputs / groups, perOutput, ...kernel]);
      const summed = emit.reshape(emit.reduce('Sum', grouped, [1]), [1, groups * perOutput, ...kernel]);
      const ones = emit.filled(1, [1, 1, ...size]);
      return emit.op('ConvTranspose', [ones, summed], [1, groups * perOutput, ...outputSize], forwardAttributes);
    },
    get reached() {
      return countsValue(
        emit,
        counts.map((count) => (count * input.dims[1]!) / groups),
        outputSize,
      );
    },
  };
}
