import { describe, expect, test } from 'vitest';
import { type Attribute, float, int, ints } from '../../../sdk/graph/graph.js';
import type { BiasPolicy, RuleName } from '../../../sdk/lrp/composite.js';
import { count, type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import {
  differences,
  explained,
  modelWith,
  quotient,
  stabilized,
  tabulated,
  transposedTimes,
  weight,
} from './one-node.js';

const gradient = { method: 'gradient', init: 'one' } as const;
const epsilon = 0.05;
const composite = (op: string, rule: RuleName, bias: BiasPolicy) =>
  ({ init: 'one', bias, rules: [{ match: { op }, rule, epsilon }] }) as const;

/** A layer y = γ(x − μ)/σ + β by its definition: `member` says which elements share their statistics, `parameter` whose γ and β they have. */
interface NormCase {
  readonly op: string;
  readonly dims: readonly number[];
  readonly parameters: readonly number[];
  readonly attributes: Record<string, Attribute>;
  readonly opset: number;
  readonly centred: boolean;
  readonly variance: number;
  group(...index: number[]): string;
  parameter(...index: number[]): number;
}

const indices = (dims: readonly number[]): number[][] => {
  const list: number[][] = [];
  tabulated(dims, (...index) => list.push(index));
  return list;
};

interface Parts {
  readonly groups: readonly (readonly number[])[];
  readonly gamma: readonly number[];
  readonly beta: readonly number[];
}

function partsOf(one: NormCase, gamma: Dense | undefined, beta: Dense | undefined): Parts {
  const all = indices(one.dims);
  const groups = new Map<string, number[]>();
  for (const [i, index] of all.entries())
    groups.set(one.group(...index), [...(groups.get(one.group(...index)) ?? []), i]);
  return {
    groups: [...groups.values()],
    gamma: all.map((index) => gamma?.data[one.parameter(...index)] ?? 1),
    beta: all.map((index) => beta?.data[one.parameter(...index)] ?? 0),
  };
}

const statistics = (one: NormCase, group: readonly number[], x: Dense): { mu: number; sigma: number } => {
  const mu = one.centred ? sum(group.map((i) => x.data[i]!)) / group.length : 0;
  return { mu, sigma: Math.sqrt(sum(group.map((i) => (x.data[i]! - mu) ** 2)) / group.length + one.variance) };
};

function forward(one: NormCase, parts: Parts, x: Dense): Dense {
  const y = new Float64Array(x.data.length);
  for (const group of parts.groups) {
    const { mu, sigma } = statistics(one, group, x);
    for (const i of group) y[i] = (parts.gamma[i]! * (x.data[i]! - mu)) / sigma + parts.beta[i]!;
  }
  return dense(y, x.dims);
}

/** R_i = x_i Σ_j ∂y_j/∂x_i · s_j with σ held, written as the double sum that it is. */
function shares(one: NormCase, parts: Parts, x: Dense, relevance: Dense, bias: BiasPolicy): Float64Array {
  const y = forward(one, parts, x).data;
  const s = quotient(relevance.data, bias === 'ignore' ? y.map((value, j) => value - parts.beta[j]!) : y, epsilon);
  const result = new Float64Array(y.length);
  for (const group of parts.groups) {
    const { sigma } = statistics(one, group, x);
    for (const i of group) {
      for (const j of group) {
        const derivative = (i === j ? 1 : 0) - (one.centred ? 1 / group.length : 0);
        result[i]! += (x.data[i]! * derivative * parts.gamma[j]! * s[j]!) / sigma;
        if (bias === 'distribute') result[i]! += (parts.beta[j]! * s[j]!) / group.length;
      }
    }
  }
  return result;
}

const cases: readonly NormCase[] = [
  {
    op: 'LayerNormalization',
    dims: [2, 3, 5],
    parameters: [5],
    attributes: { epsilon: float(0.125) },
    opset: 18,
    centred: true,
    variance: 0.125,
    group: (b, t) => `${b} ${t}`,
    parameter: (_b, _t, c) => c!,
  },
  {
    op: 'LayerNormalization',
    dims: [2, 3, 4],
    parameters: [3, 4],
    attributes: { axis: int(1) },
    opset: 18,
    centred: true,
    variance: 1e-5,
    group: (b) => `${b}`,
    parameter: (_b, t, c) => t! * 4 + c!,
  },
  {
    op: 'InstanceNormalization',
    dims: [2, 3, 4, 2],
    parameters: [3],
    attributes: { epsilon: float(0.01) },
    opset: 18,
    centred: true,
    variance: 0.01,
    group: (b, c) => `${b} ${c}`,
    parameter: (_b, c) => c!,
  },
  {
    op: 'GroupNormalization',
    dims: [2, 6, 3, 2],
    parameters: [3],
    attributes: { num_groups: int(3), epsilon: float(0.01) },
    opset: 18,
    centred: true,
    variance: 0.01,
    group: (b, c) => `${b} ${Math.floor(c! / 2)}`,
    parameter: (_b, c) => Math.floor(c! / 2),
  },
  {
    op: 'GroupNormalization',
    dims: [1, 6, 5],
    parameters: [6],
    attributes: { num_groups: int(2) },
    opset: 21,
    centred: true,
    variance: 1e-5,
    group: (b, c) => `${b} ${Math.floor(c! / 3)}`,
    parameter: (_b, c) => c!,
  },
  {
    op: 'RMSNormalization',
    dims: [2, 3, 5],
    parameters: [5],
    attributes: { epsilon: float(0.01) },
    opset: 23,
    centred: false,
    variance: 0.01,
    group: (b, t) => `${b} ${t}`,
    parameter: (_b, _t, c) => c!,
  },
  {
    op: 'MeanVarianceNormalization',
    dims: [2, 3, 4, 2],
    parameters: [],
    attributes: { axes: ints([0, 2, 3]) },
    opset: 18,
    centred: true,
    variance: 1e-9,
    group: (_b, c) => `${c}`,
    parameter: () => 0,
  },
];

describe('normalisers are linear while their deviation is held (Ali et al. 2022)', () => {
  test.each(cases.map((one) => [`${one.op} of [${one.dims.join()}], opset ${one.opset}`, one] as const))(
    '%s',
    async (_, one) => {
      const random = seeded(count(one.dims));
      const affine = one.parameters.length > 0;
      const biased = affine && one.centred;
      const gamma = affine ? signed(random, one.parameters) : undefined;
      const beta = biased ? signed(random, one.parameters) : undefined;
      const x = signed(random, one.dims, 2);
      const target = signed(random, one.dims);
      const parts = partsOf(one, gamma, beta);
      const model = modelWith(
        { x: one.dims },
        one.dims,
        (graph) =>
          graph.node(
            one.op,
            [
              'x',
              ...(gamma === undefined ? [] : [weight(graph, 'gamma', gamma)]),
              ...(beta === undefined ? [] : [weight(graph, 'beta', beta)]),
            ],
            one.attributes,
          ),
        one.opset,
      );
      for (const bias of ['absorb', 'ignore', 'distribute'] as const) {
        const { y, relevance, all } = await explained(model, { x }, target, composite(one.op, 'epsilon', bias));
        expect(deviation(y.data, forward(one, parts, x).data)).toBeLessThan(1e-5);
        const expected = shares(one, parts, x, target, bias);
        expect(deviation(relevance.x!.data, expected), bias).toBeLessThan(1e-4);
        const absorbed = all.absorbed!.data.at(-1)!;
        const exact = quotient(target.data, y.data, epsilon).map((s, j) => s * y.data[j]!);
        if (bias === 'absorb') expect(sum(relevance.x!.data) + absorbed).toBeCloseTo(sum(exact), 3);
      }
      const passed = await explained(model, { x }, target, composite(one.op, 'pass', 'absorb'));
      expect(deviation(passed.relevance.x!.data, target.data)).toBeLessThan(1e-6);
      const jacobian = differences((at) => forward(one, parts, at), x);
      const chained = await explained(model, { x }, target, gradient);
      expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-4);
    },
  );
});

describe('LRN shares by Taylor weights (thesis 2.45–2.46)', () => {
  const dims = [2, 7, 3, 1];
  const settings = { alpha: 0.9, beta: 0.75, bias: 1.5 };
  const response = (x: Dense, size: number): Dense => {
    const [before, after] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
    const [, channels, columns] = dims as [number, number, number, number];
    return tabulated(dims, (b, k, p) => {
      let d = settings.bias;
      for (let j = Math.max(0, k! - before); j <= Math.min(channels - 1, k! + after); j++) {
        d += (settings.alpha / size) * x.data[(b! * channels + j) * columns + p!]! ** 2;
      }
      return x.data[(b! * channels + k!) * columns + p!]! / d ** settings.beta;
    });
  };

  test.each([3, 5])('size %i', async (size) => {
    const random = seeded(size);
    const x = dense(
      signed(random, dims, 1.5).data.map((value) => value + 0.05),
      dims,
    );
    const target = signed(random, dims);
    const model = modelWith({ x: dims }, dims, (graph) =>
      graph.node('LRN', ['x'], {
        size: int(size),
        alpha: float(settings.alpha),
        beta: float(settings.beta),
        bias: float(settings.bias),
      }),
    );
    const jacobian = differences((at) => response(at, size), x);
    const chained = await explained(model, { x }, target, gradient);
    expect(deviation(chained.y.data, response(x, size).data)).toBeLessThan(1e-5);
    expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-4);

    // the Taylor terms from finite differences: z_jk = x_j ∂y_k/∂x_j for j ≠ k, z_kk = y_k where x_k alone is left
    const n = x.data.length;
    const expected = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      const alone = dense(
        x.data.map((value, i) => (i === k ? value : 0)),
        dims,
      );
      const z = Float64Array.from({ length: n }, (_, j) =>
        j === k ? response(alone, size).data[k]! : x.data[j]! * jacobian.data[k * n + j]!,
      );
      for (let j = 0; j < n; j++) expected[j]! += (z[j]! * target.data[k]!) / stabilized(sum(z));
    }
    const { relevance } = await explained(model, { x }, target);
    expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-4);
    expect(sum(relevance.x!.data)).toBeCloseTo(sum(target.data), 3);
    const passed = await explained(model, { x }, target, {
      init: 'one',
      rules: [{ match: { op: 'LRN' }, rule: 'pass' }],
    });
    expect(deviation(passed.relevance.x!.data, target.data)).toBe(0);
  });
});
