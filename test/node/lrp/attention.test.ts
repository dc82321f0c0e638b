import { describe, expect, test } from 'vitest';
import { floatTensor, type GraphBuilder } from '../../../sdk/graph/builder.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { count, type Dense, dense, filled, stridesOf } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { differences, explained, modelWith, stabilized, tabulated, transposedTimes, weight } from './one-node.js';

const gradient = { method: 'gradient', init: 'one' } as const;
const epsilon = 0.05;
const rest = { init: 'one', rules: [] } as const;
const matMuls = (rule: 'epsilon' | 'pass'): Composite => ({
  init: 'one',
  rules: [{ match: { op: 'MatMul' }, rule, epsilon, stabilizer: epsilon }],
});

/** An element of a tensor that is broadcast to more batch axes than it has. */
function at(tensor: Dense, index: readonly number[]): number {
  const strides = stridesOf(tensor.dims);
  const lead = index.length - tensor.dims.length;
  return tensor.data[offset(tensor, strides, lead, index)]!;
}
const offset = (tensor: Dense, strides: readonly number[], lead: number, index: readonly number[]): number =>
  tensor.dims.reduce((sumOf, length, axis) => sumOf + (length === 1 ? 0 : index[axis + lead]! * strides[axis]!), 0);

/** Relevance of both factors, term by term: R_{ik←ij} = a_ik b_kj / (share · y_ij) R_ij. */
function termwise(a: Dense, b: Dense, y: Dense, relevance: Dense, share: readonly [number, number]) {
  const parts = [new Float64Array(a.data.length), new Float64Array(b.data.length)] as const;
  const denominator = share[0] + share[1];
  const inner = a.dims.at(-1)!;
  tabulated(y.dims, (...index) => {
    const batch = index.slice(0, -2);
    const [i, j] = index.slice(-2) as [number, number];
    const r = at(relevance, index);
    for (let k = 0; k < inner; k++) {
      const [ia, ib] = [
        [...batch, i, k],
        [...batch, k, j],
      ];
      const term = (at(a, ia) * at(b, ib) * r) / stabilized(denominator * at(y, index), epsilon);
      parts[0][offset(a, stridesOf(a.dims), index.length - a.dims.length, ia)]! += share[0] * term;
      parts[1][offset(b, stridesOf(b.dims), index.length - b.dims.length, ib)]! += share[1] * term;
    }
    return 0;
  });
  return parts;
}

const multiplied = (a: Dense, b: Dense, dims: readonly number[]): Dense =>
  tabulated(dims, (...index) => {
    const batch = index.slice(0, -2);
    let total = 0;
    for (let k = 0; k < a.dims.at(-1)!; k++)
      total += at(a, [...batch, index.at(-2)!, k]) * at(b, [...batch, k, index.at(-1)!]);
    return total;
  });

describe('a product of two activations is shared in halves (Achtibat et al. 2024)', () => {
  test.each([
    ['one batch axis', [2, 3, 4], [2, 4, 5], [2, 3, 5]],
    ['heads', [1, 2, 3, 2], [1, 2, 2, 4], [1, 2, 3, 4]],
    ['a factor that is broadcast over batches', [2, 2, 3, 4], [1, 4, 2], [2, 2, 3, 2]],
    ['plain matrices', [3, 4], [4, 2], [3, 2]],
  ] as const)('%s', async (_, left, right, dims) => {
    const random = seeded(count(left));
    const [a, b, target] = [signed(random, left), signed(random, right), signed(random, dims)];
    const model = modelWith({ a: left, b: right }, dims, (graph) => graph.node('MatMul', ['a', 'b']));
    const y = multiplied(a, b, dims);
    const { relevance } = await explained(model, { a, b }, target, matMuls('epsilon'));
    const [ofA, ofB] = termwise(a, b, y, target, [1, 1]);
    expect(deviation(relevance.a!.data, ofA)).toBeLessThan(1e-4);
    expect(deviation(relevance.b!.data, ofB)).toBeLessThan(1e-4);
    expect(sum(relevance.a!.data)).toBeCloseTo(sum(relevance.b!.data), 4);
    const chained = await explained(model, { a, b }, target, gradient);
    const toA = differences((x) => multiplied(x, b, dims), a);
    expect(deviation(chained.relevance.a!.data, transposedTimes(toA, target.data))).toBeLessThan(1e-4);
    const toB = differences((x) => multiplied(a, x, dims), b);
    expect(deviation(chained.relevance.b!.data, transposedTimes(toB, target.data))).toBeLessThan(1e-4);
  });

  test('with pass, all goes to the values that a softmax weighs', async () => {
    const random = seeded(5);
    const [a, b, target] = [signed(random, [2, 3, 4]), signed(random, [2, 4, 5]), signed(random, [2, 3, 5])];
    const model = modelWith({ a: [2, 3, 4], b: [2, 4, 5] }, [2, 3, 5], (graph) =>
      graph.node('MatMul', [graph.node('Softmax', ['a'], { axis: int(-1) }), 'b']),
    );
    const { relevance } = await explained(model, { a, b }, target, matMuls('pass'));
    const weights = softmaxOf(a);
    const [, ofB] = termwise(weights, b, multiplied(weights, b, [2, 3, 5]), target, [0, 1]);
    expect(deviation(relevance.b!.data, ofB)).toBeLessThan(1e-4);
    expect(relevance.a!.data.every((value) => value === 0)).toBe(true);
  });
});

/** Softmax over the last axis. */
function softmaxOf(x: Dense): Dense {
  const length = x.dims.at(-1)!;
  const data = x.data.map((value) => Math.exp(value));
  return dense(
    data.map(
      (value, i) => value / sum(data.subarray(Math.floor(i / length) * length, (Math.floor(i / length) + 1) * length)),
    ),
    x.dims,
  );
}

describe('softmax inside a graph', () => {
  const dims = [2, 3, 4];
  // a product with a constant behind it, so that the softmax is not the terminal one
  const model = modelWith({ x: dims }, dims, (graph) =>
    graph.node('Mul', [graph.node('Softmax', ['x'], { axis: int(-1) }), graph.floats([2])]),
  );
  const random = seeded(11);
  const x = signed(random, dims, 2);
  const target = signed(random, dims);

  test('Taylor expansion: x_i (R_i − s_i ΣR), the rest is absorbed', async () => {
    const { relevance, all } = await explained(model, { x }, target, rest);
    const s = softmaxOf(x);
    const expected = tabulated(dims, (b, i, k) => {
      const row = (b! * 3 + i!) * 4;
      return x.data[row + k!]! * (target.data[row + k!]! - s.data[row + k!]! * sum(target.data.subarray(row, row + 4)));
    });
    expect(deviation(relevance.x!.data, expected.data)).toBeLessThan(1e-5);
    expect(sum(relevance.x!.data) + all.absorbed!.data.at(-1)!).toBeCloseTo(sum(target.data), 4);
  });
  test('gradient', async () => {
    const { relevance } = await explained(model, { x }, target, gradient);
    const jacobian = differences(
      (at_) =>
        dense(
          softmaxOf(at_).data.map((value) => 2 * value),
          dims,
        ),
      x,
    );
    expect(deviation(relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-5);
  });
  test('a masked score is finite', async () => {
    const masked = dense(
      x.data.map((value, i) => (i % 4 === 3 ? Number.NEGATIVE_INFINITY : value)),
      dims,
    );
    const { relevance } = await explained(model, { x: masked }, target, rest);
    expect(relevance.x!.data.every(Number.isFinite)).toBe(true);
  });
});

describe('element-wise products', () => {
  const dims = [2, 3];
  const random = seeded(3);
  const [a, b, target] = [signed(random, dims), signed(random, [2, 1]), signed(random, dims)];

  test('unrelated factors get half each, also where one is broadcast', async () => {
    const model = modelWith({ a: dims, b: [2, 1] }, dims, (graph) => graph.node('Mul', ['a', 'b']));
    const { relevance } = await explained(model, { a, b }, target);
    expect(
      deviation(
        relevance.a!.data,
        target.data.map((r) => r / 2),
      ),
    ).toBeLessThan(1e-6);
    expect(
      deviation(
        relevance.b!.data,
        [0, 1].map((i) => sum(target.data.subarray(3 * i, 3 * i + 3)) / 2),
      ),
    ).toBeLessThan(1e-6);
  });
  test('a divisor is held constant', async () => {
    const model = modelWith({ a: dims, b: [2, 1] }, dims, (graph) =>
      graph.node('Div', ['a', graph.node('Exp', ['b'])]),
    );
    const { relevance } = await explained(model, { a, b }, target);
    expect(deviation(relevance.a!.data, target.data)).toBeLessThan(1e-6);
    expect(sum(relevance.b!.data.map(Math.abs))).toBe(0);
  });

  const written: Record<string, (graph: GraphBuilder) => string> = {
    'SiLU: x σ(x)': (graph) => graph.node('Mul', ['x', graph.node('Sigmoid', ['x'])]),
    'GELU: x (1 + erf(x/√2)) / 2': (graph) => {
      const erf = graph.node('Erf', [graph.node('Div', ['x', graph.floats([Math.SQRT2])])]);
      return graph.node('Mul', [
        graph.node('Mul', ['x', graph.node('Add', [erf, graph.floats([1])])]),
        graph.floats([0.5]),
      ]);
    },
    'GELU: (x/2) (1 + erf(x/√2))': (graph) => {
      const erf = graph.node('Erf', [graph.node('Div', ['x', graph.floats([Math.SQRT2])])]);
      const half = graph.node('Mul', ['x', graph.floats([0.5])]);
      return graph.node('Mul', [graph.node('Add', [graph.floats([1]), erf]), half]);
    },
    'GELU by tanh': (graph) => {
      const cube = graph.node('Mul', [graph.node('Pow', ['x', graph.floats([3])]), graph.floats([0.044715])]);
      const inner = graph.node('Mul', [graph.node('Add', ['x', cube]), graph.floats([Math.sqrt(2 / Math.PI)])]);
      const gate = graph.node('Add', [graph.node('Tanh', [inner]), graph.floats([1])]);
      return graph.node('Mul', [graph.node('Mul', ['x', graph.floats([0.5])]), gate]);
    },
    'hard swish: x clip(x + 3, 0, 6) / 6': (graph) => {
      const clip = graph.node('Clip', [
        graph.node('Add', ['x', graph.floats([3])]),
        graph.floats([0]),
        graph.floats([6]),
      ]);
      return graph.node('Div', [graph.node('Mul', ['x', clip]), graph.floats([6])]);
    },
  };
  test.each(Object.entries(written))('%s written out is an activation: relevance passes', async (_, write) => {
    const model = modelWith({ x: dims }, dims, write);
    const x = signed(random, dims, 2);
    const { relevance } = await explained(model, { x }, target);
    expect(deviation(relevance.x!.data, target.data)).toBeLessThan(1e-6);
    const step = 1e-2;
    const chained = await explained(model, { x }, target, gradient);
    const up = await explained(
      model,
      {
        x: dense(
          x.data.map((v) => v + step),
          dims,
        ),
      },
      target,
    );
    const down = await explained(
      model,
      {
        x: dense(
          x.data.map((v) => v - step),
          dims,
        ),
      },
      target,
    );
    const slope = target.data.map((r, i) => (r * (up.y.data[i]! - down.y.data[i]!)) / (2 * step));
    expect(deviation(chained.relevance.x!.data, slope)).toBeLessThan(2e-3);
  });
});

/** Self-attention with one head over [1, tokens, width], and what stands around it in a transformer. */
function attentionHead(graph: GraphBuilder, x: string, width: number, random: () => number): string {
  const project = (name: string): string =>
    graph.node('MatMul', [x, weight(graph, name, signed(random, [width, width], 0.7))]);
  const keys = graph.node('Transpose', [project('keys')], { perm: ints([0, 2, 1]) });
  const scores = graph.node('Div', [
    graph.node('MatMul', [project('queries'), keys]),
    graph.floats([Math.sqrt(width)]),
  ]);
  return graph.node('MatMul', [graph.node('Softmax', [scores], { axis: int(-1) }), project('values')]);
}

test('a head of self-attention: finite, and all relevance is accounted for', async () => {
  const dims = [1, 5, 6];
  const random = seeded(21);
  const model = modelWith({ x: dims }, dims, (graph) => graph.node('Add', [attentionHead(graph, 'x', 6, random), 'x']));
  const target = signed(random, dims);
  const { relevance, all } = await explained(model, { x: signed(random, dims) }, target, rest);
  expect(relevance.x!.data.every(Number.isFinite)).toBe(true);
  const accounted = sum(relevance.x!.data) + all.absorbed!.data.at(-1)!;
  expect(accounted / sum(target.data)).toBeCloseTo(1, 2);
});

test('attn-lrp on a transformer block: normalisation passes, and all relevance is accounted for', async () => {
  const dims = [1, 5, 6];
  const random = seeded(23);
  const model = modelWith({ x: dims }, dims, (graph) => {
    const normalized = (x: string, name: string): string =>
      graph.node('LayerNormalization', [
        x,
        weight(graph, `${name}.scale`, signed(random, [6])),
        weight(graph, `${name}.shift`, signed(random, [6])),
      ]);
    const attended = graph.node('Add', [attentionHead(graph, normalized('x', 'before'), 6, random), 'x']);
    const up = graph.node('MatMul', [normalized(attended, 'after'), weight(graph, 'up', signed(random, [6, 8]))]);
    const erf = graph.node('Erf', [graph.node('Div', [up, graph.floats([Math.SQRT2])])]);
    const gelu = graph.node('Mul', [
      graph.node('Mul', [up, graph.node('Add', [erf, graph.floats([1])])]),
      graph.floats([0.5]),
    ]);
    return graph.node('Add', [graph.node('MatMul', [gelu, weight(graph, 'down', signed(random, [8, 6]))]), attended]);
  });
  const composite = { method: 'attn-lrp', init: 'one' } as const;
  const { layers } = compileExplanation(model, { composite }).report;
  const rulesOf = (operator: string) => layers.filter((layer) => layer.operator === operator).map(({ rule }) => rule);
  expect(rulesOf('LayerNormalization')).toEqual(['pass', 'pass']);
  expect(new Set(rulesOf('MatMul'))).toEqual(new Set(['epsilon']));
  expect(rulesOf('Softmax')).toEqual(['norm']);
  const target = dense(signed(random, dims).data.map(Math.abs), dims);
  const { relevance, all } = await explained(model, { x: signed(random, dims) }, target, composite);
  expect(relevance.x!.data.every(Number.isFinite)).toBe(true);
  // what the ε of the ε-rule takes is neither at the inputs nor in biases
  const accounted = sum(relevance.x!.data) + all.absorbed!.data.at(-1)!;
  expect(Math.abs(accounted / sum(target.data) - 1)).toBeLessThan(0.1);
});

test('a mask of −∞ leaves relevance and what is absorbed finite', async () => {
  const mask = [0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0, Number.NEGATIVE_INFINITY, 0, 0, 0];
  const bytes = modelWith({ x: [1, 3, 3] }, [1, 3, 3], (graph) => {
    const scores = graph.node('Add', ['x', graph.initializer('mask', floatTensor(mask, [3, 3]))]);
    return graph.node('MatMul', [graph.node('Softmax', [scores], { axis: int(-1) }), 'x']);
  });
  const x = signed(seeded(2), [1, 3, 3]);
  const expected = (await runModel(bytes, { x })).y!.data;
  for (const bias of ['absorb', 'ignore', 'distribute'] as const) {
    const { model } = compileExplanation(bytes, { composite: { bias, rules: [] }, audit: true });
    const found = await runModel(model, { x, target: filled([1, 3, 3], 1) });
    expect(deviation(found.y!.data, expected)).toBeLessThan(1e-6);
    for (const name of ['relevance/x', 'conservation', 'absorbed']) {
      expect(found[name]!.data.every(Number.isFinite), `${bias}: ${name}`).toBe(true);
    }
  }
});
