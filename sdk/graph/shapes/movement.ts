import { intAttribute, intsAttribute, sizeOf } from '../graph.js';
import {
  axisOf,
  broadcast,
  type Call,
  listOf,
  misfit,
  need,
  needNumbers,
  numbers,
  type ShapeRule,
  show,
} from './call.js';

/** The shape that a Reshape gives, with 0 (copy) and -1 (the rest) resolved. */
export const reshape: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const target = listOf(call, 'shape', 1) ?? needNumbers(call, 1, 'the shape');
  const allowZero = intAttribute(call.node, 'allowzero', 0) !== 0;
  const result = target.map((dim, axis) => {
    if (dim !== 0 || allowZero) return dim;
    if (axis >= dims.length) throw misfit(call, `the shape ${show(target)} copies dimension ${axis} of ${show(dims)}`);
    return dims[axis]!;
  });
  const size = sizeOf(dims);
  const open = result.indexOf(-1);
  if (open >= 0) {
    const rest = sizeOf(result.filter((_, axis) => axis !== open));
    result[open] = rest === 0 ? 0 : size / rest;
  }
  if (result.some((dim) => dim < 0 || !Number.isInteger(dim)) || sizeOf(result) !== size) {
    throw misfit(call, `${show(dims)} with ${size} elements cannot become ${show(target)}`);
  }
  return [{ type, dims: result }];
};

const flatten: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 1), dims.length + 1);
  // counted from the end, an axis of Flatten lies before that dimension, not after it
  const at = intAttribute(call.node, 'axis', 1) < 0 ? axis - 1 : axis;
  return [{ type, dims: [sizeOf(dims.slice(0, at)), sizeOf(dims.slice(at))] }];
};

/** The permutation of a Transpose; without the attribute, all dimensions reversed. */
export function permutationOf(call: Call): readonly number[] {
  const rank = need(call, 0).dims.length;
  const order = intsAttribute(
    call.node,
    'perm',
    Array.from({ length: rank }, (_, axis) => rank - 1 - axis),
  );
  if (order.length !== rank || new Set(order).size !== rank || order.some((axis) => axis < 0 || axis >= rank)) {
    throw misfit(call, `perm [${order.join(', ')}] is no permutation of ${rank} dimensions`);
  }
  return order;
}

const transpose: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  return [{ type, dims: permutationOf(call).map((axis) => dims[axis]!) }];
};

const squeeze: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axes = listOf(call, 'axes', 1)?.map((axis) => axisOf(call, axis, dims.length));
  for (const axis of axes ?? []) {
    if (dims[axis] !== 1) throw misfit(call, `dimension ${axis} of ${show(dims)} is not 1`);
  }
  return [{ type, dims: dims.filter((dim, axis) => (axes === undefined ? dim !== 1 : !axes.includes(axis))) }];
};

const unsqueeze: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axes = listOf(call, 'axes', 1) ?? [];
  const rank = dims.length + axes.length;
  const inserted = new Set(axes.map((axis) => axisOf(call, axis, rank)));
  if (inserted.size !== axes.length) throw misfit(call, `axes [${axes.join(', ')}] name a dimension twice`);
  const rest = [...dims];
  return [{ type, dims: Array.from({ length: rank }, (_, axis) => (inserted.has(axis) ? 1 : rest.shift()!)) }];
};

/** Elements that a Pad adds (or, negative, removes) before and after each dimension. */
export function paddingOf(call: Call): { before: number[]; after: number[] } {
  const rank = need(call, 0).dims.length;
  const pads = listOf(call, 'pads', 1) ?? [];
  const axes = (numbers(call, 3, 'axes') ?? Array.from({ length: rank }, (_, axis) => axis)).map((axis) =>
    axisOf(call, axis, rank),
  );
  if (pads.length !== 2 * axes.length) {
    throw misfit(call, `${pads.length} pads for ${axes.length} dimensions; each needs one before and one after`);
  }
  const before = new Array<number>(rank).fill(0);
  const after = new Array<number>(rank).fill(0);
  for (const [index, axis] of axes.entries()) {
    before[axis] = pads[index]!;
    after[axis] = pads[index + axes.length]!;
  }
  return { before, after };
}

const pad: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const { before, after } = paddingOf(call);
  const padded = dims.map((dim, axis) => dim + before[axis]! + after[axis]!);
  if (padded.some((dim) => dim < 0)) throw misfit(call, `pads remove more than there is of ${show(dims)}`);
  return [{ type, dims: padded }];
};

/** Where a slice starts along each dimension, its step, and how many elements it takes. */
export interface Range {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** What a Slice takes along every dimension, with negative and too large bounds resolved. */
export function slicesOf(call: Call): Range[] {
  const { dims } = need(call, 0);
  const starts = listOf(call, 'starts', 1) ?? needNumbers(call, 1, 'starts');
  const ends = listOf(call, 'ends', 2) ?? needNumbers(call, 2, 'ends');
  const axes = listOf(call, 'axes', 3) ?? starts.map((_, index) => index);
  const steps = numbers(call, 4, 'steps') ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    throw misfit(call, 'starts, ends, axes and steps differ in length');
  }
  const ranges: Range[] = dims.map((count) => ({ start: 0, step: 1, count }));
  for (const [index, given] of axes.entries()) {
    const axis = axisOf(call, given, dims.length);
    const step = steps[index]!;
    if (step === 0) throw misfit(call, 'a step is 0');
    const size = dims[axis]!;
    const [least, most] = step > 0 ? [0, size] : [-1, size - 1];
    const bound = (value: number, lowest: number): number =>
      Math.max(lowest, Math.min(most, value < 0 ? value + size : value));
    const start = bound(starts[index]!, 0);
    const end = bound(ends[index]!, least);
    ranges[axis] = { start, step, count: Math.max(0, Math.ceil((end - start) / step)) };
  }
  return ranges;
}

const slice: ShapeRule = (call) => [{ type: need(call, 0).type, dims: slicesOf(call).map((range) => range.count) }];

/** Lengths of the pieces of a Split. */
export function splitsOf(call: Call): readonly number[] {
  const { dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), dims.length);
  const size = dims[axis]!;
  const given = listOf(call, 'split', 1);
  if (given !== undefined) {
    if (given.some((length) => length < 0) || given.reduce((sum, length) => sum + length, 0) !== size) {
      throw misfit(call, `pieces [${given.join(', ')}] do not add up to dimension ${axis} of ${show(dims)}`);
    }
    return given;
  }
  const count = intAttribute(call.node, 'num_outputs', call.node.outputs.length);
  const length = Math.ceil(size / count);
  return Array.from({ length: count }, (_, index) => Math.max(0, Math.min(length, size - index * length)));
}

const split: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), dims.length);
  const lengths = splitsOf(call);
  if (lengths.length < call.node.outputs.length) {
    throw misfit(call, `${call.node.outputs.length} outputs for ${lengths.length} pieces`);
  }
  return lengths.map((length) => ({ type, dims: dims.map((dim, at) => (at === axis ? length : dim)) }));
};

const concat: ShapeRule = (call) => {
  const first = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 1), first.dims.length);
  const dims = [...first.dims];
  for (let index = 1; index < call.inputs.length; index++) {
    const other = need(call, index).dims;
    if (other.length !== dims.length || other.some((dim, at) => at !== axis && dim !== dims[at])) {
      throw misfit(
        call,
        `shapes ${call.inputs.map((input) => show(input?.dims ?? [])).join(', ')} do not join along axis ${axis}`,
      );
    }
    dims[axis]! += other[axis]!;
  }
  return [{ type: first.type, dims }];
};

const expand: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  return [{ type, dims: broadcast(call, [dims, needNumbers(call, 1, 'the shape')]) }];
};

const tile: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const repeats = needNumbers(call, 1, 'repeats');
  if (repeats.length !== dims.length) throw misfit(call, `${repeats.length} repeats for ${dims.length} dimensions`);
  return [{ type, dims: dims.map((dim, axis) => dim * repeats[axis]!) }];
};

const depthToSpace: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const block = intAttribute(call.node, 'blocksize', 1);
  if (dims.length !== 4 || dims[1]! % (block * block) !== 0) {
    throw misfit(call, `${show(dims)} does not divide into blocks of ${block}`);
  }
  return [{ type, dims: [dims[0]!, dims[1]! / (block * block), dims[2]! * block, dims[3]! * block] }];
};

const spaceToDepth: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const block = intAttribute(call.node, 'blocksize', 1);
  if (dims.length !== 4 || dims[2]! % block !== 0 || dims[3]! % block !== 0) {
    throw misfit(call, `${show(dims)} does not divide into blocks of ${block}`);
  }
  return [{ type, dims: [dims[0]!, dims[1]! * block * block, dims[2]! / block, dims[3]! / block] }];
};

/** Operators that only move data. */
export const movementShapes: Readonly<Record<string, ShapeRule>> = {
  Reshape: reshape,
  Flatten: flatten,
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Pad: pad,
  Slice: slice,
  Split: split,
  Concat: concat,
  Expand: expand,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
