import { UnsupportedOperatorError } from '../../errors.js';
import { intAttribute, intsAttribute, sizeOf, textAttribute } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import {
  arriving,
  constantNumbers,
  fromFront,
  type NodeContext,
  type OperatorSupport,
  required,
  type Way,
} from './operator.js';
import { gatheredBack, scatteredBack } from './positions.js';
import { takenAlike } from './rescale.js';

const moving = (
  explain: OperatorSupport['explain'],
  limits?: string,
  rescale: Way | 'linear' = 'linear',
): OperatorSupport => ({
  family: 'Data movement',
  rules: [],
  source: 'thesis 2.41: relevance moves with the data',
  evenly: 'usual',
  rescale,
  ...(limits === undefined ? {} : { limits }),
  explain,
});

const reshaped = moving((context) => [context.emit.reshape(arriving(context), required(context, 0).dims)]);

const transposed = moving((context) => {
  const rank = required(context, 0).dims.length;
  const backwards = Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const permutation = intsAttribute(context.node, 'perm', backwards);
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  return [context.emit.transpose(arriving(context), inverse)];
});

const concatenated = moving((context) => {
  const { emit, inputs, node } = context;
  const relevance = arriving(context);
  const axis = fromFront(intAttribute(node, 'axis', 0), relevance.dims.length);
  let start = 0;
  return inputs.map((input, index) => {
    if (input === undefined) return undefined;
    const end = start + input.dims[axis]!;
    const part = context.wants(index) ? emit.slice(relevance, [start], [end], [axis]) : undefined;
    start = end;
    return part;
  });
});

const split = moving((context) => {
  const { emit, node, outputs, relevance } = context;
  const axis = fromFront(intAttribute(node, 'axis', 0), outputs[0]!.dims.length);
  const parts = outputs.map((output, index) => relevance[index] ?? emit.filled(0, output.dims));
  return [emit.concat(parts, axis)];
});

/** Puts every element of `a` along `axis` at start, start + step, … of an axis with `length` cells. */
function scatterAlong(emit: Emitter, a: Value, axis: number, start: number, step: number, length: number): Value {
  const rank = a.dims.length;
  const count = a.dims[axis]!;
  const stride = Math.abs(step);
  let value = a;
  if (step < 0) value = emit.slice(value, [count - 1], [-1], [axis], [-1]);
  const begin = step < 0 ? start + (count - 1) * step : start;
  value = emit.interleave(value, axis, stride);
  const pads = new Array<number>(2 * rank).fill(0);
  pads[axis] = begin;
  pads[rank + axis] = length - begin - value.dims[axis]!;
  return emit.pad(value, pads);
}

const sliced = moving((context) => {
  const { emit, node } = context;
  const dims = required(context, 0).dims;
  const starts = constantNumbers(context, 1);
  const ends = constantNumbers(context, 2);
  if (starts === undefined || ends === undefined) {
    throw new UnsupportedOperatorError(node.name, node.op, 'where it cuts is not constant.');
  }
  const axes = constantNumbers(context, 3) ?? starts.map((_, axis) => axis);
  const steps = constantNumbers(context, 4) ?? starts.map(() => 1);
  let relevance = arriving(context);
  axes.forEach((given, k) => {
    const axis = fromFront(given, dims.length);
    const length = dims[axis]!;
    const step = steps[k]!;
    const counted = starts[k]! < 0 ? starts[k]! + length : starts[k]!;
    const start = Math.min(Math.max(counted, 0), step < 0 ? length - 1 : length);
    relevance = scatterAlong(emit, relevance, axis, start, step, length);
  });
  return [relevance];
});

const gathered = moving(
  (context) => {
    const { emit, node } = context;
    const x = required(context, 0);
    const axis = fromFront(intAttribute(node, 'axis', 0), x.dims.length);
    const indices = constantNumbers(context, 1);
    const length = x.dims[axis]!;
    if (indices === undefined) {
      const positions = required(context, 1);
      const count = sizeOf(positions.dims);
      const dims = x.dims.map((dim, at) => (at === axis ? count : dim));
      const along = emit.reshape(
        positions,
        dims.map((_, at) => (at === axis ? count : 1)),
      );
      return [scatteredBack(emit, emit.reshape(arriving(context), dims), emit.expand(along, dims), axis, x.dims)];
    }
    const taken = emit.reshape(arriving(context), [
      ...x.dims.slice(0, axis),
      indices.length,
      ...x.dims.slice(axis + 1),
    ]);
    const sources = indices.map((index) => fromFront(index, length));
    return [gatheredBack(emit, taken, axis, sources, length)];
  },
  undefined,
  takenAlike(1),
);

/** What a pad mode copied to the borders goes back to where it came from, one axis at a time. */
function unpadAlong(emit: Emitter, r: Value, axis: number, begin: number, end: number, mode: string): Value {
  const length = r.dims[axis]! - begin - end;
  const middle = emit.slice(r, [begin], [begin + length], [axis]);
  const borders = [
    { size: begin, start: 0, edge: 0, mirror: begin, wrapped: length - begin },
    { size: end, start: begin + length, edge: length - 1, mirror: length - 2, wrapped: 0 },
  ];
  return borders.reduce((sum, { size, start, edge, mirror, wrapped }) => {
    if (size === 0 || mode === 'constant') return sum;
    const part = emit.slice(r, [start], [start + size], [axis]);
    if (mode === 'wrap') return emit.add(sum, scatterAlong(emit, part, axis, wrapped, 1, length));
    const back =
      mode === 'edge'
        ? scatterAlong(emit, emit.reduce('Sum', part, [axis]), axis, edge, 1, length)
        : scatterAlong(emit, part, axis, mirror, -1, length);
    return emit.add(sum, back);
  }, middle);
}

const padded = moving((context: NodeContext) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const rank = x.dims.length;
  const mode = textAttribute(node, 'mode', 'constant');
  const given = constantNumbers(context, 1);
  if (!['constant', 'edge', 'reflect', 'wrap'].includes(mode) || given === undefined) {
    throw new UnsupportedOperatorError(node.name, node.op, `its mode is "${mode}" or its pads are not constant.`);
  }
  const axes = (constantNumbers(context, 3) ?? x.dims.map((_, axis) => axis)).map((axis) => fromFront(axis, rank));
  // negative pads cut the input: what was cut has no relevance
  const cut = new Array<number>(2 * rank).fill(0);
  let relevance = arriving(context);
  axes.forEach((axis, k) => {
    const [begin, end] = [given[k]!, given[k + axes.length]!];
    cut[axis] = Math.max(0, -begin);
    cut[rank + axis] = Math.max(0, -end);
    relevance = unpadAlong(emit, relevance, axis, Math.max(0, begin), Math.max(0, end), mode);
  });
  return [emit.pad(relevance, cut)];
});

/** The triangle that is kept moves, the other one is zero. */
const triangle = moving((context) => {
  const { emit, node } = context;
  const { dims } = required(context, 0);
  const diagonal = constantNumbers(context, 1)?.[0] ?? 0;
  const upper = intAttribute(node, 'upper', 1);
  return [
    emit.op('Trilu', [emit.expand(arriving(context), dims), emit.reshape(emit.integers([diagonal]), [])], dims, {
      upper: { kind: 'int', value: upper },
    }),
  ];
});

const expanded = moving((context) => [context.emit.unbroadcast(arriving(context), required(context, 0).dims)]);

/** Operators that only move values. */
export const moveOperators: Readonly<Record<string, OperatorSupport>> = {
  Concat: concatenated,
  Expand: expanded,
  Flatten: reshaped,
  Gather: gathered,
  Identity: reshaped,
  Dropout: reshaped,
  Pad: padded,
  Reshape: reshaped,
  Slice: sliced,
  Split: split,
  Squeeze: reshaped,
  Transpose: transposed,
  Trilu: triangle,
  Unsqueeze: reshaped,
};
