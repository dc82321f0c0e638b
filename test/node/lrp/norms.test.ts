import { expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { type Attribute, int, ints } from '../../../sdk/graph/graph.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { differences, explained, modelWith, stabilized, transposedTimes } from './one-node.js';

const reduced = (op: string) => (graph: GraphBuilder) => graph.node(op, ['x', graph.ints([-1])], { keepdims: int(0) });

interface NormCase {
  readonly dims: readonly number[];
  readonly to: readonly number[];
  write(graph: GraphBuilder): string;
  /** |x|^p of an element, and y from the sum of them */
  term(value: number): number;
  of(total: number): number;
}

const square = (value: number): number => value ** 2;
const same = (value: number): number => value;
const cases: Readonly<Record<string, NormCase>> = {
  ReduceL1: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceL1'), term: Math.abs, of: same },
  ReduceL2: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceL2'), term: square, of: Math.sqrt },
  ReduceSumSquare: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceSumSquare'), term: square, of: same },
  'GlobalLpPool, 2': {
    dims: [1, 3, 2, 4],
    to: [1, 3, 1, 1],
    write: (graph) => graph.node('GlobalLpPool', ['x'], { p: int(2) }),
    term: square,
    of: Math.sqrt,
  },
};

test.each(Object.entries(cases))('%s shares by |x|^p (thesis 2.39)', async (_, { dims, to, write, term, of }) => {
  const random = seeded(dims.length);
  // away from zero, where |x| has no derivative
  const x = dense(
    signed(random, dims).data.map((value) => value + (value < 0 ? -0.1 : 0.1)),
    dims,
  );
  const target = signed(random, to);
  const cells = x.data.length / target.data.length;
  const totals = (at: Dense): Float64Array =>
    target.data.map((_unused, j) => sum(at.data.subarray(j * cells, (j + 1) * cells).map(term)));
  const model = modelWith({ x: dims }, to, write);
  const { y, relevance } = await explained(model, { x }, target);
  expect(deviation(y.data, totals(x).map(of))).toBeLessThan(1e-5);
  const expected = x.data.map((value, i) => {
    const j = Math.floor(i / cells);
    return (term(value) / totals(x)[j]!) * target.data[j]!;
  });
  expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-4);
  expect(sum(relevance.x!.data)).toBeCloseTo(sum(target.data), 4);
  const chained = await explained(model, { x }, target, { method: 'gradient', init: 'one' });
  const jacobian = differences((at) => dense(totals(at).map(of), to), x);
  expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-4);
});

/** Cells of every window in the input, along both axes; empty where a window lies in the padding. */
const windows = (size: readonly number[], kernel: number, stride: number, pad: number): number[][] => {
  const along = size.map((length) => Math.floor((length + 2 * pad - kernel) / stride) + 1);
  return Array.from({ length: along[0]! * along[1]! }, (_, at) => {
    const start = [Math.floor(at / along[1]!) * stride - pad, (at % along[1]!) * stride - pad];
    const cells: number[] = [];
    for (let i = start[0]!; i < start[0]! + kernel; i++) {
      for (let j = start[1]!; j < start[1]! + kernel; j++) {
        if (i >= 0 && j >= 0 && i < size[0]! && j < size[1]!) cells.push(i * size[1]! + j);
      }
    }
    return cells;
  });
};

test.each([
  [1, 2, 2, 0],
  [2, 3, 1, 1],
  [3, 2, 2, 1],
  [4, 3, 2, 0],
])('LpPool with p = %i over windows of %i, stride %i, padding %i', async (p, kernel, stride, pad) => {
  const size = [5, 4];
  const random = seeded(p);
  const cells = windows(size, kernel, stride, pad);
  const [dims, rows] = [[1, 2, ...size], Math.floor((5 + 2 * pad - kernel) / stride) + 1];
  const to = [1, 2, rows, cells.length / rows];
  const x = dense(
    signed(random, dims).data.map((value) => value + (value < 0 ? -0.1 : 0.1)),
    dims,
  );
  const target = signed(random, to);
  const attributes: Record<string, Attribute> = {
    ...{
      p: int(p),
      kernel_shape: ints([kernel, kernel]),
      strides: ints([stride, stride]),
      pads: ints([pad, pad, pad, pad]),
    },
  };
  const model = modelWith({ x: dims }, to, (graph) => graph.node('LpPool', ['x'], attributes));
  const totalOf = (at: Dense, j: number): number =>
    sum(cells[j % cells.length]!.map((cell) => Math.abs(at.data[Math.floor(j / cells.length) * 20 + cell]!) ** p));
  const outputs = (at: Dense): Dense =>
    dense(
      target.data.map((_, j) => totalOf(at, j) ** (1 / p)),
      to,
    );
  const { y, relevance } = await explained(model, { x }, target);
  expect(deviation(y.data, outputs(x).data)).toBeLessThan(1e-5);
  const expected = new Float64Array(x.data.length);
  for (const [j, r] of target.data.entries()) {
    for (const cell of cells[j % cells.length]!) {
      const at = Math.floor(j / cells.length) * 20 + cell;
      expected[at]! += (Math.abs(x.data[at]!) ** p / stabilized(totalOf(x, j))) * r;
    }
  }
  expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-4);
  const chained = await explained(model, { x }, target, { method: 'gradient', init: 'one' });
  const jacobian = differences(outputs, x);
  expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-4);
});

test('LpPool of silence is finite', async () => {
  const model = modelWith({ x: [1, 1, 4] }, [1, 1, 2], (graph) =>
    graph.node('LpPool', ['x'], { p: int(3), kernel_shape: ints([2]), strides: ints([2]) }),
  );
  for (const composite of [
    { init: 'one', rules: [] },
    { method: 'gradient', init: 'one' },
  ] as const) {
    const { relevance } = await explained(
      model,
      { x: dense([0, 0, 1, 0], [1, 1, 4]) },
      dense([1, 1], [1, 1, 2]),
      composite,
    );
    expect(relevance.x!.data.every(Number.isFinite)).toBe(true);
  }
});

/** Functions whose relevance is known in closed form, with their gradient by differences. */
interface FunctionCase {
  readonly write: (graph: GraphBuilder) => string;
  readonly of: (row: readonly number[]) => readonly number[];
  readonly shares: (row: readonly number[], target: readonly number[]) => readonly number[];
}

const softmax = (row: readonly number[]): number[] => row.map((value) => Math.exp(value) / sum(row.map(Math.exp)));
const passes = (_row: readonly number[], target: readonly number[]): readonly number[] => target;
const functions: Readonly<Record<string, FunctionCase>> = {
  ReduceLogSumExp: {
    write: (graph) => graph.node('ReduceLogSumExp', ['x', graph.ints([1])], { keepdims: int(1) }),
    of: (row) => [Math.log(sum(row.map(Math.exp)))],
    shares: (row, [r]) => softmax(row).map((share) => share * r!),
  },
  ReduceLogSum: {
    write: (graph) => graph.node('ReduceLogSum', ['x', graph.ints([1])], { keepdims: int(1) }),
    of: (row) => [Math.log(sum(row))],
    shares: (row, [r]) => row.map((value) => (value / sum(row)) * r!),
  },
  LogSoftmax: {
    // a LogSoftmax at the end would not be part of what is explained
    write: (graph) => graph.node('Neg', [graph.node('LogSoftmax', ['x'])]),
    of: (row) => softmax(row).map((share) => -Math.log(share)),
    shares: passes,
  },
  'LpNormalization, 1': {
    write: (graph) => graph.node('LpNormalization', ['x'], { p: int(1) }),
    of: (row) => row.map((value) => value / sum(row.map(Math.abs))),
    shares: passes,
  },
  'LpNormalization, 2': {
    write: (graph) => graph.node('LpNormalization', ['x']),
    of: (row) => row.map((value) => value / Math.hypot(...row)),
    shares: passes,
  },
  'Mean with a constant': {
    write: (graph) => graph.node('Mean', ['x', graph.floats([0.5, 0.25, 0.5, 1])]),
    of: (row) => row.map((value, k) => (value + [0.5, 0.25, 0.5, 1][k]!) / 2),
    shares: (row, target) => row.map((value, k) => (value / (value + [0.5, 0.25, 0.5, 1][k]!)) * target[k]!),
  },
};

test.each(Object.entries(functions))('%s', async (_, { write, of, shares }) => {
  const random = seeded(6);
  const x = dense(
    signed(random, [3, 4]).data.map((value) => Math.abs(value) + 0.2),
    [3, 4],
  );
  const rowOf = (at: Dense, row: number, width: number): number[] => [
    ...at.data.subarray(row * width, (row + 1) * width),
  ];
  const outputs = (at: Dense): Dense => {
    const rows = [0, 1, 2].map((row) => of(rowOf(at, row, 4)));
    return dense(rows.flat(), [3, rows[0]!.length]);
  };
  const { dims } = outputs(x);
  const target = signed(random, dims);
  const model = modelWith({ x: [3, 4] }, dims, write);
  const { y, relevance } = await explained(model, { x }, target);
  expect(deviation(y.data, outputs(x).data)).toBeLessThan(1e-5);
  const expected = [0, 1, 2].flatMap((row) => shares(rowOf(x, row, 4), rowOf(target, row, dims[1]!)));
  expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-4);
  const chained = await explained(model, { x }, target, { method: 'gradient', init: 'one' });
  expect(deviation(chained.relevance.x!.data, transposedTimes(differences(outputs, x), target.data))).toBeLessThan(
    1e-4,
  );
});

/** Functions of two tensors, element by element. */
const binary: Readonly<
  Record<string, readonly [write: (graph: GraphBuilder) => string, of: (a: number, b: number) => number]>
> = {
  PRelu: [(graph) => graph.node('PRelu', ['a', 'b']), (a, b) => (a > 0 ? a : a * b)],
  Pow: [(graph) => graph.node('Pow', [graph.node('Abs', ['a']), 'b']), (a, b) => Math.abs(a) ** b],
  'Clip with computed bounds': [
    (graph) => graph.node('Clip', ['a', graph.node('ReduceMin', ['b'], { keepdims: int(0) })]),
    (a, b) => Math.max(a, b),
  ],
};

test.each(Object.entries(binary))('%s: gradients of both, relevance goes to the first', async (name, [write, of]) => {
  const random = seeded(13);
  const isScalar = name.startsWith('Clip');
  const [a, b] = [signed(random, [2, 3], 2), signed(random, isScalar ? [1] : [3], 0.5)];
  const away = (value: number): number => value + (value < 0 ? -0.1 : 0.1);
  const [x, p] = [
    dense(a.data.map(away), [2, 3]),
    dense(
      b.data.map((value) => Math.abs(value) + 0.3),
      b.dims,
    ),
  ];
  const outputs = (first: Dense, second: Dense): Dense =>
    dense(
      first.data.map((value, i) => of(value, second.data[isScalar ? 0 : i % 3]!)),
      [2, 3],
    );
  const target = signed(random, [2, 3]);
  const model = modelWith({ a: [2, 3], b: p.dims }, [2, 3], write);
  const { y, relevance } = await explained(model, { a: x, b: p }, target);
  expect(deviation(y.data, outputs(x, p).data)).toBeLessThan(1e-5);
  if (isScalar) {
    const expected = x.data.map((value, i) => (value > p.data[0]! ? target.data[i]! : 0));
    expect(deviation(relevance.a!.data, expected)).toBeLessThan(1e-6);
    expect(sum(relevance.b!.data)).toBeCloseTo(sum(target.data) - sum(expected), 5);
  } else {
    expect(deviation(relevance.a!.data, target.data)).toBeLessThan(1e-6);
    expect(relevance.b!.data.every((value) => value === 0)).toBe(true);
  }
  const chained = await explained(model, { a: x, b: p }, target, { method: 'gradient', init: 'one' });
  const toA = differences((at) => outputs(at, p), x);
  const toB = differences((at) => outputs(x, at), p);
  expect(deviation(chained.relevance.a!.data, transposedTimes(toA, target.data))).toBeLessThan(1e-4);
  expect(deviation(chained.relevance.b!.data, transposedTimes(toB, target.data))).toBeLessThan(1e-4);
});

test('a constant to the power of an activation: all relevance is the exponent’s', async () => {
  const model = modelWith({ x: [3] }, [3], (graph) => graph.node('Pow', [graph.floats([2]), 'x']));
  const { relevance } = await explained(model, { x: dense([1, -1, 0.5], [3]) }, dense([1, 2, 3], [3]));
  expect([...relevance.x!.data]).toEqual([1, 2, 3]);
});
