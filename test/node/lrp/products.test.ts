import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { type Attribute, float, int, ints, text } from '../../../sdk/graph/graph.js';
import { count, type Dense, dense, matrix } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import { seeded } from '../../reference/random.js';
import { openModel } from '../../reference/run.js';
import { explained, modelWith, type Shapes, transposedTimes, weight } from './one-node.js';

const gradient = { method: 'gradient', init: 'one' } as const;

/** Values from 0.2 to 1: sums of their products stay away from zero, so that the shares of an element do too. */
const positive = (random: () => number, dims: readonly number[]): Dense =>
  dense(
    Array.from({ length: count(dims) }, () => Math.fround(0.2 + 0.8 * random())),
    dims,
  );

interface Case {
  readonly name: string;
  readonly inputs: Shapes;
  readonly dims: readonly number[];
  readonly write: (graph: GraphBuilder, random: () => number) => string;
  /** the factor of every input's share: ½ for those that stand in one product */
  readonly shares?: Readonly<Record<string, number>>;
}

const constant = (graph: GraphBuilder, random: () => number, ...dims: number[]): string =>
  weight(graph, graph.name('w'), positive(random, dims));

/**
 * What ONNX Runtime computes is linear in every single input, the others held fixed: J by unit vectors, and R_x = share · x ⊙ Jᵀ(R/y).
 */
async function check({ inputs, dims, write, shares = {} }: Case): Promise<void> {
  const random = seeded(count(dims) + Object.keys(inputs).length);
  const model = modelWith(inputs, dims, (graph) => write(graph, random));
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, positive(random, shape)]));
  const target = positive(random, dims);
  const session = await openModel(model);
  const run = async (changed: Record<string, Dense>) => (await session.run({ ...feeds, ...changed })).y!.data;
  const y = await run({});
  const [lrp, chained] = [await explained(model, feeds, target), await explained(model, feeds, target, gradient)];
  expect(deviation(lrp.y.data, y)).toBeLessThan(1e-6);
  for (const [name, { data, dims: shape }] of Object.entries(feeds)) {
    const zero = await run({ [name]: dense(new Float64Array(data.length), shape) });
    const jacobian = matrix(y.length, data.length);
    for (let i = 0; i < data.length; i++) {
      const unit = new Float64Array(data.length);
      unit[i] = 1;
      const column = await run({ [name]: dense(unit, shape) });
      for (let j = 0; j < y.length; j++) jacobian.data[j * data.length + i] = column[j]! - zero[j]!;
    }
    expect(deviation(chained.relevance[name]!.data, transposedTimes(jacobian, target.data)), name).toBeLessThan(1e-4);
    const back = transposedTimes(
      jacobian,
      target.data.map((r, j) => r / y[j]!),
    );
    const expected = back.map((value, i) => (shares[name] ?? 1) * data[i]! * value);
    expect(deviation(lrp.relevance[name]!.data, expected), name).toBeLessThan(1e-4);
  }
  await session.release();
}

const einsum = (
  equation: string,
  inputs: Shapes,
  dims: readonly number[],
  constants: readonly (readonly number[])[] = [],
  shares?: Case['shares'],
): Case => ({
  name: equation,
  inputs,
  dims,
  ...(shares === undefined ? {} : { shares }),
  write: (graph, random) => {
    const factors = constants.map((shape) => constant(graph, random, ...shape));
    return graph.node('Einsum', [...Object.keys(inputs), ...factors], { equation: text(equation) });
  },
});

const both = { a: 0.5, b: 0.5 };

describe('Einsum', () => {
  test.each(
    [
      einsum('bij,jk->bik', { a: [2, 3, 4] }, [2, 3, 5], [[4, 5]]),
      einsum('bhwc,hkc->bkhw', { a: [2, 3, 2, 4] }, [2, 5, 3, 2], [[3, 5, 4]]),
      einsum('...i,ji->...j', { a: [2, 3, 4] }, [2, 3, 5], [[5, 4]]),
      einsum('i...,ij', { a: [4, 2, 3] }, [2, 3, 5], [[4, 5]]),
      einsum('bi,i->b', { a: [3, 4] }, [3], [[4]]),
      einsum('bi,bi->bi', { a: [3, 4] }, [3, 4], [[3, 4]]),
      einsum('bij->jb', { a: [2, 3, 4] }, [4, 2]),
      einsum('bii->bi', { a: [2, 3, 3] }, [2, 3]),
      einsum('ij', { a: [3, 2] }, [3, 2]),
      einsum('bhid,bhjd->bhij', { a: [1, 2, 3, 4], b: [1, 2, 2, 4] }, [1, 2, 3, 2], [], both),
      einsum('bi,bj->bij', { a: [2, 3], b: [2, 4] }, [2, 3, 4], [], both),
      einsum('bchw,bkchw->bkhw', { a: [2, 3, 2, 2], b: [2, 4, 3, 2, 2] }, [2, 4, 2, 2], [], both),
      einsum('bi,bj,ij->b', { a: [2, 3], b: [2, 4] }, [2], [[3, 4]], both),
      einsum('bij,bkj->bk', { a: [2, 3, 4], b: [2, 5, 4] }, [2, 5], [], both),
    ].map((one) => [one.name, one] as const),
  )('%s', (_, one) => check(one));
});

const product = (
  name: string,
  op: string,
  inputs: Shapes,
  dims: readonly number[],
  write: (graph: GraphBuilder, random: () => number) => readonly string[],
  attributes: Record<string, Attribute> = {},
  shares?: Case['shares'],
): Case => ({
  name: `${op} ${name}`,
  inputs,
  dims,
  ...(shares === undefined ? {} : { shares }),
  write: (graph, random) => graph.node(op, write(graph, random), attributes),
});

describe('products in every form', () => {
  test.each(
    [
      product('of a transposed activation', 'Gemm', { a: [4, 3] }, [3, 5], (g, r) => ['a', constant(g, r, 4, 5)], {
        transA: int(1),
        alpha: float(0.5),
      }),
      product(
        'of a constant with an activation, and a bias',
        'Gemm',
        { a: [5, 4] },
        [3, 5],
        (g, r) => [constant(g, r, 4, 3), 'a', constant(g, r, 5)],
        { transA: int(1), transB: int(1), alpha: float(2), beta: float(0.5) },
      ),
      product(
        'of two activations and a third',
        'Gemm',
        { a: [3, 4], b: [5, 4], c: [3, 1] },
        [3, 5],
        () => ['a', 'b', 'c'],
        { transB: int(1), alpha: float(0.5), beta: float(3) },
        both,
      ),
      product('with a computed bias', 'Gemm', { a: [3, 4], c: [5] }, [3, 5], (g, r) => [
        'a',
        constant(g, r, 4, 5),
        'c',
      ]),
      product('with a vector', 'MatMul', { a: [2, 3, 4] }, [2, 3], (g, r) => ['a', constant(g, r, 4)]),
      product('of a vector', 'MatMul', { a: [4] }, [2, 5], (g, r) => ['a', constant(g, r, 2, 4, 5)]),
      product('of a constant vector', 'MatMul', { a: [2, 3, 4] }, [2, 4], (g, r) => [constant(g, r, 3), 'a']),
      product('of two vectors', 'MatMul', { a: [4], b: [4] }, [], () => ['a', 'b'], {}, both),
      product('with a constant per batch', 'MatMul', { a: [3, 4] }, [2, 3, 5], (g, r) => [
        'a',
        constant(g, r, 2, 4, 5),
      ]),
      product('with a constant that is broadcast', 'MatMul', { a: [2, 2, 3, 4] }, [2, 2, 3, 5], (g, r) => [
        'a',
        constant(g, r, 2, 1, 4, 5),
      ]),
      product('of a constant per batch', 'MatMul', { a: [4, 3] }, [2, 5, 3], (g, r) => [constant(g, r, 2, 5, 4), 'a']),
    ].map((one) => [one.name, one] as const),
  )('%s', (_, one) => check(one));
});

describe('convolutions with computed kernels and biases', () => {
  test.each(
    [
      product('with a computed bias', 'Conv', { a: [2, 3, 5], c: [4] }, [2, 4, 3], (g, r) => [
        'a',
        constant(g, r, 4, 3, 3),
        'c',
      ]),
      product(
        'in one dimension',
        'Conv',
        { a: [2, 3, 7], b: [4, 3, 3] },
        [2, 4, 3],
        () => ['a', 'b'],
        {
          ...{ strides: ints([2]), pads: ints([1, 0]) },
        },
        both,
      ),
      product(
        'in two dimensions, grouped, dilated, with a bias',
        'Conv',
        { a: [2, 4, 6, 5], b: [6, 2, 2, 3] },
        [2, 6, 4, 2],
        (g, r) => ['a', 'b', constant(g, r, 6)],
        { group: int(2), strides: ints([1, 2]), dilations: ints([2, 1]) },
        both,
      ),
      product(
        'of a template with a picture, channel by channel',
        'Conv',
        { a: [1, 4, 5, 5], b: [4, 1, 3, 3] },
        [1, 4, 3, 3],
        () => ['a', 'b'],
        { group: int(4) },
        both,
      ),
      product(
        'in three dimensions',
        'Conv',
        { a: [1, 2, 3, 4, 3], b: [2, 2, 2, 2, 2] },
        [1, 2, 2, 3, 2],
        () => ['a', 'b'],
        {},
        both,
      ),
      product(
        'transposed',
        'ConvTranspose',
        { a: [2, 4, 3, 2], b: [4, 3, 3, 2] },
        [2, 6, 7, 3],
        () => ['a', 'b'],
        { group: int(2), strides: ints([2, 1]) },
        both,
      ),
    ].map((one) => [one.name, one] as const),
  )('%s', (_, one) => check(one));
});
