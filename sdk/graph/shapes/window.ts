import type { Node } from '../graph.js';
import { intAttribute, intsAttribute, textAttribute } from '../graph.js';
import { type Call, misfit, needRank, type ShapeRule, show } from './call.js';

/** A sliding window over the spatial dimensions, with `auto_pad` resolved. All lists have one entry per spatial dimension. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padStart: readonly number[];
  readonly padEnd: readonly number[];
  /** Number of window positions. */
  readonly output: readonly number[];
}

/** Length of a dilated kernel from its first to its last tap. */
export function reach(kernel: number, dilation: number): number {
  return (kernel - 1) * dilation + 1;
}

/**
 * The window of a convolution or pooling node over an input of the given spatial shape.
 * Throws MODEL_SHAPE where attributes have the wrong length or the window does not fit.
 */
export function windowOf(call: Call, spatial: readonly number[], kernel: readonly number[]): Window {
  const { node } = call;
  const rank = spatial.length;
  const strides = perAxis(call, 'strides', rank);
  const dilations = perAxis(call, 'dilations', rank);
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const pads = auto === 'NOTSET' ? padsOf(call, rank) : new Array<number>(2 * rank).fill(0);
  const roundUp = intAttribute(node, 'ceil_mode', 0) !== 0;
  const padStart: number[] = [];
  const padEnd: number[] = [];
  const output: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const size = spatial[axis]!;
    const stride = strides[axis]!;
    const length = reach(kernel[axis]!, dilations[axis]!);
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const count = Math.ceil(size / stride);
      const total = Math.max(0, (count - 1) * stride + length - size);
      const less = Math.floor(total / 2);
      padStart.push(auto === 'SAME_UPPER' ? less : total - less);
      padEnd.push(auto === 'SAME_UPPER' ? total - less : less);
      output.push(count);
      continue;
    }
    const before = pads[axis]!;
    const after = pads[axis + rank]!;
    const room = size + before + after - length;
    if (room < 0) {
      throw misfit(call, `a window of ${length} does not fit into ${size} elements with padding ${before} + ${after}`);
    }
    let count = Math.floor(room / stride) + 1;
    if (roundUp) {
      count = Math.ceil(room / stride) + 1;
      // a window that would start in the padding at the end is not counted
      if ((count - 1) * stride >= size + before) count -= 1;
    }
    padStart.push(before);
    padEnd.push(after);
    output.push(count);
  }
  return { kernel, strides, dilations, padStart, padEnd, output };
}

function perAxis(call: Call, name: string, rank: number): readonly number[] {
  const list = intsAttribute(call.node, name, new Array<number>(rank).fill(1));
  if (list.length !== rank || list.some((value) => value < 1)) {
    throw misfit(call, `attribute ${name} is [${list.join(', ')}] for ${rank} spatial dimensions`);
  }
  return list;
}

function padsOf(call: Call, rank: number): readonly number[] {
  const pads = intsAttribute(call.node, 'pads', new Array<number>(2 * rank).fill(0));
  if (pads.length !== 2 * rank || pads.some((value) => value < 0)) {
    throw misfit(call, `attribute pads is [${pads.join(', ')}] for ${rank} spatial dimensions`);
  }
  return pads;
}

/** The kernel of a convolution: the attribute where it is there, which must agree with the weight's shape. */
function kernelOf(call: Call, weight: readonly number[]): readonly number[] {
  const kernel = intsAttribute(call.node, 'kernel_shape', weight.slice(2));
  if (kernel.join() !== weight.slice(2).join()) {
    throw misfit(call, `kernel_shape [${kernel.join(', ')}] contradicts the weight's shape ${show(weight)}`);
  }
  return kernel;
}

/** Output shape of a convolution with the given data and weight; also for its quantized relatives. */
export function convolution(call: Call, data: readonly number[], weight: readonly number[]): number[] {
  const group = intAttribute(call.node, 'group', 1);
  if (data.length < 3 || weight.length !== data.length) {
    throw misfit(call, `data of shape ${show(data)} and a weight of shape ${show(weight)} do not make a convolution`);
  }
  if (group < 1 || weight[1]! * group !== data[1]! || weight[0]! % group !== 0) {
    throw misfit(
      call,
      `the data has ${data[1]} channels, but the weight ${show(weight)} with ${group} group(s) takes ${weight[1]! * group}`,
    );
  }
  return [data[0]!, weight[0]!, ...convolutionWindow(call, data, weight).output];
}

/** The window of a Conv from the shapes of its data and weight. */
export function convolutionWindow(call: Call, data: readonly number[], weight: readonly number[]): Window {
  return windowOf(call, data.slice(2), kernelOf(call, weight));
}

/** Data, weight and optional bias; also for its fused relative. */
export const conv: ShapeRule = (call) => {
  const data = needRank(call, 0, 3);
  const weight = needRank(call, 1, 3);
  const dims = convolution(call, data.dims, weight.dims);
  checkBias(call, dims[1]!);
  return [{ type: data.type, dims }];
};

function checkBias(call: Call, channels: number): void {
  const bias = call.inputs[2];
  if (bias !== undefined && (bias.dims.length !== 1 || bias.dims[0] !== channels)) {
    throw misfit(call, `the bias has shape ${show(bias.dims)} for ${channels} output channels`);
  }
}

const convTranspose: ShapeRule = (call) => {
  const data = needRank(call, 0, 3);
  const weight = needRank(call, 1, 3);
  const group = intAttribute(call.node, 'group', 1);
  if (weight.dims.length !== data.dims.length || weight.dims[0] !== data.dims[1] || data.dims[1]! % group !== 0) {
    throw misfit(call, `data ${show(data.dims)} does not fit the weight ${show(weight.dims)} with ${group} group(s)`);
  }
  const channels = weight.dims[1]! * group;
  checkBias(call, channels);
  return [
    { type: data.type, dims: [data.dims[0]!, channels, ...transposedWindow(call, data.dims, weight.dims).output] },
  ];
};

/** The window of a ConvTranspose, with `auto_pad` and `output_shape` resolved into pads; `output` is the spatial output shape. */
export function transposedWindow(call: Call, data: readonly number[], weight: readonly number[]): Window {
  const { node } = call;
  const spatial = data.slice(2);
  const rank = spatial.length;
  const kernel = kernelOf(call, weight);
  const strides = perAxis(call, 'strides', rank);
  const dilations = perAxis(call, 'dilations', rank);
  const extra = intsAttribute(node, 'output_padding', new Array<number>(rank).fill(0));
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const asked = intsAttribute(node, 'output_shape', []).slice(-rank);
  if (extra.length !== rank || (asked.length > 0 && asked.length !== rank)) {
    throw misfit(call, `output_padding or output_shape have the wrong length for ${rank} spatial dimensions`);
  }
  const given = auto === 'NOTSET' ? padsOf(call, rank) : new Array<number>(2 * rank).fill(0);
  const padStart: number[] = [];
  const padEnd: number[] = [];
  const output: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const full = (spatial[axis]! - 1) * strides[axis]! + extra[axis]! + reach(kernel[axis]!, dilations[axis]!);
    const same = auto === 'SAME_UPPER' || auto === 'SAME_LOWER';
    const wanted = asked[axis] ?? (same ? spatial[axis]! * strides[axis]! : undefined);
    if (wanted === undefined) {
      padStart.push(given[axis]!);
      padEnd.push(given[axis + rank]!);
      output.push(full - given[axis]! - given[axis + rank]!);
    } else {
      const total = Math.max(0, full - wanted);
      const less = Math.floor(total / 2);
      padStart.push(auto === 'SAME_UPPER' ? less : total - less);
      padEnd.push(auto === 'SAME_UPPER' ? total - less : less);
      // SAME takes elements away but adds none: a kernel shorter than the stride gives fewer than input × stride
      output.push(asked[axis] ?? full - total);
    }
    if (output[axis]! < 1) throw misfit(call, `padding leaves an output of ${output[axis]} elements`);
  }
  return { kernel, strides, dilations, padStart, padEnd, output };
}

const pool: ShapeRule = (call) => {
  const data = needRank(call, 0, 3);
  const dims = [...data.dims.slice(0, 2), ...poolingWindow(call.node, call, data.dims).output];
  return [
    { type: data.type, dims },
    { type: 'int64', dims },
  ];
};

/** The window of a pooling node over data [N, C, spatial…]. */
export function poolingWindow(node: Node, call: Call, data: readonly number[]): Window {
  const spatial = data.slice(2);
  const kernel = intsAttribute(node, 'kernel_shape', []);
  if (kernel.length !== spatial.length || kernel.some((size) => size < 1)) {
    throw misfit(call, `kernel_shape [${kernel.join(', ')}] does not fit data of shape ${show(data)}`);
  }
  return windowOf(call, spatial, kernel);
}

const globalPool: ShapeRule = (call) => {
  const { type, dims } = needRank(call, 0, 3);
  return [{ type, dims: dims.map((dim, axis) => (axis < 2 ? dim : 1)) }];
};

/** Operators that slide a window. */
export const windowShapes: Readonly<Record<string, ShapeRule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: pool,
  AveragePool: pool,
  LpPool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  GlobalLpPool: globalPool,
};
