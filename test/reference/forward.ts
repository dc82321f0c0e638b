import { activate } from './activations.js';
import { count, type Dense, indexOf, offsetOf, stridesOf } from './dense.js';
import type { BatchNorm, Layer, Operation } from './layers.js';
import { PADDING, windowsOver } from './windows.js';

type ConvOperation = Extract<Operation, { op: 'Conv' }>;

/** Calculates one layer in float64 by plain loops. */
export function forward(layer: Layer, inputs: readonly Dense[]): readonly Dense[] {
  if (layer.op === 'Split') return split(inputs[0]!, layer.axis, layer.sizes);
  return [single(layer, inputs)];
}

function single(layer: Exclude<Layer, { op: 'Split' }>, inputs: readonly Dense[]): Dense {
  const x = inputs[0]!;
  switch (layer.op) {
    case 'Conv':
      return convolve(merged(layer), x);
    case 'ConvTranspose':
      return convolveTransposed(layer, x);
    case 'Gemm':
      return gemm(layer, x);
    case 'MatMul':
      return matmul(layer, x);
    case 'MaxPool':
      return pool(x, layer.kernel, layer, layer.ceil, (values) => Math.max(...values.filter((v) => v !== undefined)));
    case 'AveragePool':
      return pool(x, layer.kernel, layer, layer.ceil, (values, inPadding) => {
        const inside = values.filter((v) => v !== undefined);
        const elements = inside.length + (layer.countIncludePad ? inPadding : 0);
        return inside.reduce((sum, v) => sum + v, 0) / elements;
      });
    case 'GlobalAveragePool':
      return reduce(x, spatialAxes(x), true, (values) => values.reduce((sum, v) => sum + v, 0) / values.length);
    case 'GlobalMaxPool':
      return reduce(x, spatialAxes(x), true, (values) => Math.max(...values));
    case 'ReduceMean':
      return reduce(x, layer.axes, layer.keepdims, (values) => values.reduce((sum, v) => sum + v, 0) / values.length);
    case 'ReduceSum':
      return reduce(x, layer.axes, layer.keepdims, (values) => values.reduce((sum, v) => sum + v, 0));
    case 'ReduceMax':
      return reduce(x, layer.axes, layer.keepdims, (values) => Math.max(...values));
    case 'Add':
      return broadcast(x, inputs[1]!, (a, b) => a + b);
    case 'Sub':
      return broadcast(x, inputs[1]!, (a, b) => a - b);
    case 'Mul':
      return broadcast(x, layer.constant, (a, b) => a * b);
    case 'Div':
      return broadcast(x, layer.constant, (a, b) => a / b);
    case 'BatchNormalization':
      return normalize(x, layer.batchNorm);
    case 'Concat':
      return concat(inputs, layer.axis);
    case 'Flatten':
      return { dims: [count(x.dims.slice(0, layer.axis)), count(x.dims.slice(layer.axis))], data: x.data };
    case 'Reshape':
      return { dims: layer.shape, data: x.data };
    case 'Squeeze':
      return { dims: x.dims.filter((_, axis) => !layer.axes.includes(axis)), data: x.data };
    case 'Unsqueeze':
      return { dims: unsqueezed(x.dims, layer.axes), data: x.data };
    case 'Transpose':
      return from(
        layer.perm.map((axis) => x.dims[axis]!),
        (index) => {
          const source = x.dims.map(() => 0);
          for (const [to, axis] of layer.perm.entries()) source[axis] = index[to]!;
          return at(x, source);
        },
      );
    case 'Pad':
      return pad(x, layer.pads, layer.mode, layer.value ?? 0);
    case 'Slice':
      return slice(x, layer);
    case 'Gather':
      return from(
        x.dims.map((dim, axis) => (axis === layer.axis ? layer.indices.length : dim)),
        (index) =>
          at(
            x,
            index.map((i, axis) => (axis === layer.axis ? layer.indices[i]! : i)),
          ),
      );
    default:
      return { dims: x.dims, data: x.data.map((v) => activate(layer, v).value) };
  }
}

/** Builds a tensor element by element from its multi-index. */
function from(dims: readonly number[], element: (index: readonly number[]) => number): Dense {
  return { dims, data: Float64Array.from({ length: count(dims) }, (_, offset) => element(indexOf(offset, dims))) };
}

const at = (x: Dense, index: readonly number[]): number => x.data[offsetOf(index, x.dims)]!;

const spatialAxes = (x: Dense): number[] => x.dims.map((_, axis) => axis).slice(2);

/** The convolution with the batch normalization that follows it taken into weight and bias. */
export function merged(layer: ConvOperation): ConvOperation {
  if (layer.batchNorm === undefined) return layer;
  const { scale, shift } = scaleAndShift(layer.batchNorm);
  const channels = layer.weight.dims[0]!;
  const perChannel = layer.weight.data.length / channels;
  const weight = {
    dims: layer.weight.dims,
    data: layer.weight.data.map((w, i) => w * scale[Math.floor(i / perChannel)]!),
  };
  const bias = {
    dims: [channels],
    data: Float64Array.from({ length: channels }, (_, c) => scale[c]! * (layer.bias?.data[c] ?? 0) + shift[c]!),
  };
  const { batchNorm: _, ...rest } = layer;
  return { ...rest, weight, bias };
}

/** Batch normalization as y = scale · x + shift, per channel. */
function scaleAndShift(norm: BatchNorm): { scale: Float64Array; shift: Float64Array } {
  const scale = norm.scale.data.map((s, c) => s / Math.sqrt(norm.variance.data[c]! + norm.epsilon));
  const shift = norm.shift.data.map((b, c) => b - scale[c]! * norm.mean.data[c]!);
  return { scale, shift };
}

function normalize(x: Dense, norm: BatchNorm): Dense {
  const { scale, shift } = scaleAndShift(norm);
  return from(x.dims, (index) => scale[index[1]!]! * at(x, index) + shift[index[1]!]!);
}

function convolve({ weight, bias, group = 1, ...windows }: ConvOperation, x: Dense): Dense {
  const [batch, channels, ...space] = x.dims as [number, number, ...number[]];
  const [filters, groupChannels, ...kernel] = weight.dims as [number, number, ...number[]];
  const { outputDims, elements } = windowsOver(space, kernel, windows);
  const positions = elements.length;
  const taps = count(kernel);
  const inputPositions = count(space);
  const y = new Float64Array(batch * filters * positions);
  for (let n = 0; n < batch; n++) {
    for (let f = 0; f < filters; f++) {
      const firstChannel = Math.floor(f / (filters / group)) * groupChannels;
      for (let p = 0; p < positions; p++) {
        let sum = bias?.data[f] ?? 0;
        for (let c = 0; c < groupChannels; c++) {
          for (let k = 0; k < taps; k++) {
            const position = elements[p]![k]!;
            if (position < 0) continue;
            sum +=
              weight.data[(f * groupChannels + c) * taps + k]! *
              x.data[(n * channels + firstChannel + c) * inputPositions + position]!;
          }
        }
        y[(n * filters + f) * positions + p] = sum;
      }
    }
  }
  return { dims: [batch, filters, ...outputDims], data: y };
}

/** A transposed convolution scatters along the windows from which the convolution of the opposite direction gathers. */
function convolveTransposed(layer: Extract<Operation, { op: 'ConvTranspose' }>, x: Dense): Dense {
  const { weight, bias, group = 1 } = layer;
  const [batch, channels, ...space] = x.dims as [number, number, ...number[]];
  const [, groupFilters, ...kernel] = weight.dims as [number, number, ...number[]];
  const filters = groupFilters * group;
  const axes = space.length;
  const outputSpace = space.map(
    (size, axis) =>
      (size - 1) * (layer.strides?.[axis] ?? 1) +
      (layer.outputPadding?.[axis] ?? 0) +
      (kernel[axis]! - 1) * (layer.dilations?.[axis] ?? 1) +
      1 -
      (layer.pads?.[axis] ?? 0) -
      (layer.pads?.[axis + axes] ?? 0),
  );
  // the opposite convolution would give further positions where outputPadding leaves room for one: those have no input here
  const { outputDims, elements } = windowsOver(outputSpace, kernel, layer);
  const taps = count(kernel);
  const outputPositions = count(outputSpace);
  const inputPositions = count(space);
  const y = new Float64Array(batch * filters * outputPositions);
  for (let n = 0; n < batch; n++) {
    for (let f = 0; f < filters; f++) {
      const offset = (n * filters + f) * outputPositions;
      y.fill(bias?.data[f] ?? 0, offset, offset + outputPositions);
    }
    for (let c = 0; c < channels; c++) {
      const g = Math.floor(c / (channels / group));
      for (let p = 0; p < inputPositions; p++) {
        const window = elements[offsetOf(indexOf(p, space), outputDims)]!;
        for (let f = 0; f < groupFilters; f++) {
          for (let k = 0; k < taps; k++) {
            if (window[k]! < 0) continue;
            const to = (n * filters + g * groupFilters + f) * outputPositions + window[k]!;
            y[to] =
              y[to]! +
              weight.data[(c * groupFilters + f) * taps + k]! * x.data[(n * channels + c) * inputPositions + p]!;
          }
        }
      }
    }
  }
  return { dims: [batch, filters, ...outputSpace], data: y };
}

function gemm(layer: Extract<Operation, { op: 'Gemm' }>, x: Dense): Dense {
  const { weight, bias, transB = false, alpha = 1, beta = 1 } = layer;
  const [rows, depth] = x.dims as [number, number];
  const columns = weight.dims[transB ? 0 : 1]!;
  return from([rows, columns], (index) => {
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += at(x, [index[0]!, k]) * at(weight, transB ? [index[1]!, k] : [k, index[1]!]);
    return alpha * sum + (bias === undefined ? 0 : beta * bias.data[index[1]! % bias.data.length]!);
  });
}

/** Bias is per column (the last axis), as an Add after the MatMul has it. */
function matmul(layer: Extract<Operation, { op: 'MatMul' }>, x: Dense): Dense {
  const { weight, bias, side = 'right' } = layer;
  const outer = x.dims.slice(0, -2);
  const [rows, columns] = x.dims.slice(-2) as [number, number];
  const dims = side === 'right' ? [...outer, rows, weight.dims[1]!] : [...outer, weight.dims[0]!, columns];
  return from(dims, (index) => {
    const batch = index.slice(0, -2);
    const [i, j] = index.slice(-2) as [number, number];
    let sum = bias?.data[j] ?? 0;
    if (side === 'right') for (let k = 0; k < columns; k++) sum += at(x, [...batch, i, k]) * at(weight, [k, j]);
    else for (let k = 0; k < rows; k++) sum += at(weight, [i, k]) * at(x, [...batch, k, j]);
    return sum;
  });
}

function pool(
  x: Dense,
  kernel: readonly number[],
  windows: Parameters<typeof windowsOver>[2],
  ceil: boolean | undefined,
  combine: (values: readonly number[], inPadding: number) => number,
): Dense {
  const [batch, channels, ...space] = x.dims as [number, number, ...number[]];
  const { outputDims, elements } = windowsOver(space, kernel, windows, ceil);
  const inputPositions = count(space);
  const y = new Float64Array(batch * channels * elements.length);
  for (let image = 0; image < batch * channels; image++) {
    for (const [p, window] of elements.entries()) {
      const inside = window.filter((position) => position >= 0);
      const values = inside.map((position) => x.data[image * inputPositions + position]!);
      y[image * elements.length + p] = combine(values, window.filter((position) => position === PADDING).length);
    }
  }
  return { dims: [batch, channels, ...outputDims], data: y };
}

/** For each output element of a reduction, the offsets of the input elements that it is made of, in row-major order. */
export function reducedGroups(dims: readonly number[], axes: readonly number[]): number[][] {
  const kept = dims.filter((_, axis) => !axes.includes(axis));
  const groups: number[][] = Array.from({ length: count(kept) }, () => []);
  for (let offset = 0; offset < count(dims); offset++) {
    const index = indexOf(offset, dims).filter((_, axis) => !axes.includes(axis));
    groups[offsetOf(index, kept)]!.push(offset);
  }
  return groups;
}

function reduce(x: Dense, axes: readonly number[], keepdims: boolean, combine: (values: number[]) => number): Dense {
  const groups = reducedGroups(x.dims, axes);
  const dims = keepdims
    ? x.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
    : x.dims.filter((_, axis) => !axes.includes(axis));
  return { dims, data: Float64Array.from(groups, (group) => combine(group.map((offset) => x.data[offset]!))) };
}

/** Elementwise on two tensors, with ONNX's (numpy's) broadcasting. */
function broadcast(a: Dense, b: Dense, combine: (a: number, b: number) => number): Dense {
  const rank = Math.max(a.dims.length, b.dims.length);
  const aligned = (dims: readonly number[]): number[] => [...Array<number>(rank - dims.length).fill(1), ...dims];
  const [left, right] = [aligned(a.dims), aligned(b.dims)];
  const dims = left.map((dim, axis) => Math.max(dim, right[axis]!));
  const clamp = (index: readonly number[], to: readonly number[]): number[] =>
    index.map((i, axis) => (to[axis] === 1 ? 0 : i));
  return from(dims, (index) =>
    combine(a.data[offsetOf(clamp(index, left), left)]!, b.data[offsetOf(clamp(index, right), right)]!),
  );
}

function concat(parts: readonly Dense[], axis: number): Dense {
  const dims = parts[0]!.dims.map((dim, a) =>
    a === axis ? parts.reduce((sum, part) => sum + part.dims[axis]!, 0) : dim,
  );
  return from(dims, (index) => {
    let along = index[axis]!;
    for (const part of parts) {
      if (along < part.dims[axis]!)
        return at(
          part,
          index.map((i, a) => (a === axis ? along : i)),
        );
      along -= part.dims[axis]!;
    }
    throw new RangeError('concat: index beyond all parts');
  });
}

function split(x: Dense, axis: number, sizes: readonly number[]): Dense[] {
  let start = 0;
  return sizes.map((size) => {
    const first = start;
    start += size;
    return from(
      x.dims.map((dim, a) => (a === axis ? size : dim)),
      (index) =>
        at(
          x,
          index.map((i, a) => (a === axis ? i + first : i)),
        ),
    );
  });
}

function unsqueezed(dims: readonly number[], axes: readonly number[]): number[] {
  const result = [...dims];
  for (const axis of [...axes].sort((a, b) => a - b)) result.splice(axis, 0, 1);
  return result;
}

function pad(x: Dense, pads: readonly number[], mode: 'constant' | 'reflect' | 'edge', value: number): Dense {
  const rank = x.dims.length;
  const dims = x.dims.map((dim, axis) => dim + pads[axis]! + pads[axis + rank]!);
  return from(dims, (index) => {
    const source = index.map((i, axis) => i - pads[axis]!);
    const outside = source.some((i, axis) => i < 0 || i >= x.dims[axis]!);
    if (outside && mode === 'constant') return value;
    return at(
      x,
      source.map((i, axis) => {
        const last = x.dims[axis]! - 1;
        if (mode === 'edge') return Math.min(Math.max(i, 0), last);
        return i < 0 ? -i : i > last ? 2 * last - i : i;
      }),
    );
  });
}

function slice(x: Dense, { starts, ends, axes, steps }: Extract<Operation, { op: 'Slice' }>): Dense {
  const first = x.dims.map(() => 0);
  const step = x.dims.map(() => 1);
  const dims = [...x.dims];
  for (const [n, axis] of axes.entries()) {
    const size = x.dims[axis]!;
    const wrap = (i: number): number => (i < 0 ? i + size : i);
    step[axis] = steps[n]!;
    if (steps[n]! > 0) {
      first[axis] = Math.min(wrap(starts[n]!), size);
      dims[axis] = Math.ceil((Math.min(wrap(ends[n]!), size) - first[axis]!) / steps[n]!);
    } else {
      first[axis] = Math.min(wrap(starts[n]!), size - 1);
      // an end before the first element, written as a very negative number, means "including element 0"
      const end = Math.max(ends[n]! < -size ? -1 : wrap(ends[n]!), -1);
      dims[axis] = Math.ceil((end - first[axis]!) / steps[n]!);
    }
  }
  const strides = stridesOf(x.dims);
  return from(dims, (index) => {
    const offset = index.reduce((sum, i, axis) => sum + (first[axis]! + i * step[axis]!) * strides[axis]!, 0);
    return x.data[offset]!;
  });
}
