import { describe, expect, test } from 'vitest';
import type { Composite, CompositeEntry } from '../../../sdk/lrp/composite.js';
import { gaussian } from '../../../sdk/lrp/sampled.js';
import { count, type Dense, dense, filled } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { evaluate } from '../../reference/oracle.js';
import { nonNegative, seeded, signed } from '../../reference/random.js';
import { compiledRun } from './agreement.js';

const random = seeded(61);
/** Weights that are mostly positive, so that every unit with relevance has something that excites it. */
const weights = (...dims: number[]): Dense =>
  dense(
    signed(random, dims).data.map((weight) => Math.fround(weight + 0.4)),
    dims,
  );

/** Two convolutions with an activation and a pool between them, and a linear layer. */
const network = (activation: 'Relu' | 'Softplus', pool: 'MaxPool' | 'AveragePool', biased: boolean): Network => ({
  inputs: [{ name: 'x', dims: [1, 3, 6, 6] }],
  layers: [
    {
      name: 'one',
      inputs: ['x'],
      op: 'Conv',
      weight: weights(4, 3, 3, 3),
      pads: [1, 1, 1, 1],
      ...(biased ? { bias: weights(4) } : {}),
    },
    { name: 'active', inputs: ['one'], op: activation },
    { name: 'pool', inputs: ['active'], op: pool, kernel: [2, 2], strides: [2, 2] },
    { name: 'two', inputs: ['pool'], op: 'Conv', weight: weights(4, 4, 2, 2), ...(biased ? { bias: weights(4) } : {}) },
    { name: 'two_active', inputs: ['two'], op: activation },
    { name: 'flat', inputs: ['two_active'], op: 'Flatten', axis: 1 },
    { name: 'logits', inputs: ['flat'], op: 'Gemm', weight: weights(16, 3), ...(biased ? { bias: weights(3) } : {}) },
  ],
  logits: 'logits',
});
const smooth = network('Softplus', 'AveragePool', true);
const bent = network('Relu', 'MaxPool', true);
const target = dense([0, 1, 0], [1, 3]);
const x = signed(seeded(8), [1, 3, 6, 6]);

const relevanceOf = async (of: Network, composite: Composite, at = x): Promise<Float64Array> =>
  (await compiledRun(of, { x: at }, target, { composite }))['relevance/x']!.data;

/** The gradient of the target by central differences of the float64 forward pass. */
function differences(of: Network, at: Dense): Float64Array {
  const step = 1e-5;
  const explained = (index: number, by: number): number => {
    const moved = Float64Array.from(at.data, (value, k) => (k === index ? value + by : value));
    const { data } = evaluate(of, { x: dense(moved, at.dims) }).get(of.logits)!;
    return target.data.reduce((total, weight, k) => total + weight * data[k]!, 0);
  };
  return at.data.map((_, index) => (explained(index, step) - explained(index, -step)) / (2 * step));
}
const moved = (by: (value: number, index: number) => number): Dense => dense(x.data.map(by), x.dims);

describe('methods of the gradient against differences of a float64 forward pass', () => {
  test.each([
    ['smooth', smooth],
    ['bent', bent],
  ] as const)('gradient, sensitivity and gradient × input, %s', async (_, of) => {
    const gradient = differences(of, x);
    expect(deviation(await relevanceOf(of, 'gradient'), gradient)).toBeLessThan(1e-5);
    expect(
      deviation(
        await relevanceOf(of, 'gradient-x-input'),
        gradient.map((g, k) => g * x.data[k]!),
      ),
    ).toBeLessThan(1e-5);
    const places = 36;
    const perPlace = (norm: (channels: number[]) => number): Float64Array =>
      gradient.map((__, k) => norm([0, 1, 2].map((channel) => gradient[channel * places + (k % places)]!)) / 3);
    const l2 = perPlace((channels) => Math.hypot(...channels));
    const largest = perPlace((channels) => Math.max(...channels.map(Math.abs)));
    expect(deviation(await relevanceOf(of, 'sensitivity-l2'), l2)).toBeLessThan(1e-5);
    expect(deviation(await relevanceOf(of, 'sensitivity-linf'), largest)).toBeLessThan(1e-5);
  });

  test('integrated gradients are their mean at the middles of the way, times the way', async () => {
    const steps = 5;
    const mean = new Float64Array(count(x.dims));
    for (let k = 0; k < steps; k++) {
      const there = moved((value) => 0.25 + ((k + 0.5) / steps) * (value - 0.25));
      differences(smooth, there).forEach((g, i) => {
        mean[i]! += g / steps;
      });
    }
    const expected = mean.map((g, i) => g * (x.data[i]! - 0.25));
    const composite = { method: 'integrated-gradients', steps, baseline: 0.25 };
    expect(deviation(await relevanceOf(smooth, composite), expected)).toBeLessThan(1e-5);
  });

  test('SmoothGrad is their mean over noisy inputs', async () => {
    const [steps, noise, seed] = [4, 0.3, 11];
    const deviationOfNoise = noise * (Math.max(...x.data) - Math.min(...x.data));
    const drawn = gaussian(seed, steps * x.data.length);
    const mean = new Float64Array(x.data.length);
    for (let k = 0; k < steps; k++) {
      const there = moved((value, i) => value + deviationOfNoise * drawn[k * x.data.length + i]!);
      differences(smooth, there).forEach((g, i) => {
        mean[i]! += g / steps;
      });
    }
    expect(deviation(await relevanceOf(smooth, { method: 'smoothgrad', steps, noise, seed }), mean)).toBeLessThan(1e-5);
  });

  test('the noise of SmoothGrad is normal', () => {
    const drawn = gaussian(3, 20_000);
    const mean = sum(drawn) / drawn.length;
    const variance = sum(drawn.map((value) => (value - mean) ** 2)) / drawn.length;
    const beyondTwo = drawn.filter((value) => Math.abs(value) > 2).length / drawn.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(variance).toBeCloseTo(1, 1);
    // 4.55 % of a normal distribution lies more than two deviations away
    expect(beyondTwo).toBeCloseTo(0.0455, 2);
  });
});

describe('rules that are one', () => {
  const plain = network('Relu', 'MaxPool', false);
  const positive = nonNegative(seeded(9), x.dims);
  const rules = (rule: Omit<CompositeEntry, 'match'>, first = rule): Composite => ({
    stabilizer: 1e-9,
    bias: 'ignore',
    rules: [
      { match: { first: true }, ...first },
      { match: {}, ...rule },
    ],
  });
  const same = async (of: Network, a: Composite, b: Composite, within = 1e-5): Promise<void> => {
    const [one, other] = [await relevanceOf(of, a, positive), await relevanceOf(of, b, positive)];
    expect(one.some((value) => value !== 0)).toBe(true);
    expect(deviation(one, other)).toBeLessThan(within);
  };
  const z = { rule: 'z' } as const;
  const plus = { rule: 'z-plus' } as const;
  test('ε → 0 is z (thesis 2.22 and 2.10)', () => same(bent, rules({ rule: 'epsilon', epsilon: 1e-9 }), rules(z)));
  test('α = 1, β = 0 is z⁺ (thesis 2.24)', () =>
    same(bent, rules({ rule: 'alpha-beta', alpha: 1, beta: 0 }), rules(plus)));
  test('γ = 0 is z, γ → ∞ is z⁺ under units that are active (Montavon et al. 2019)', async () => {
    await same(plain, rules({ rule: 'gamma', gamma: 0 }), rules(z));
    // the explained logit may be negative, where γ favours the other sign: it stays with z
    const last = { match: { last: true }, rule: 'z' } as const;
    const under = (rule: Omit<CompositeEntry, 'match'>): Composite => ({
      stabilizer: 1e-9,
      rules: [last, { match: {}, ...rule }],
    });
    await same(plain, under({ rule: 'gamma', gamma: 1e5 }), under(plus), 1e-3);
  });
  test('a box without width is z (Montavon et al. 2017)', () =>
    same(bent, rules(z, { rule: 'z-box', low: 0, high: 0 }), rules(z)));
  test('w² is flat where all weights are one (thesis 2.28 and 2.27)', () => {
    const even: Network = {
      ...plain,
      layers: plain.layers.map(
        (layer): Layer => ('weight' in layer ? { ...layer, weight: filled(layer.weight.dims, 1) } : layer),
      ),
    };
    return same(even, rules({ rule: 'w-square' }), rules({ rule: 'flat' }));
  });
  test('deconvnet is guided where every unit is active (Springenberg et al. 2015)', () => {
    const active: Network = {
      ...bent,
      layers: bent.layers.map(
        (layer): Layer =>
          layer.op === 'Conv' ? { ...layer, weight: filled(layer.weight.dims, 0.3), bias: filled([4], 1) } : layer,
      ),
    };
    return same(active, 'deconvnet', 'guided-backprop');
  });
});

describe('excitation backprop', () => {
  const composite = { method: 'excitation-backprop', bias: 'ignore' } as const;
  test('by hand: P(x) = Σ P(x|h) P(h), each by activation times positive weight (Zhang et al. 2016)', async () => {
    // h = relu(3 − 2 − ½, 1 + 4) = (½, 5), y = 2·½ + 5: P(h) = (1, 5)/6
    // only x₁ excites h₁; h₂ is excited by (1, 4)/5: P(x₁) = 1/6 + 5/6 · 1/5, P(x₂) = 5/6 · 4/5
    const small: Network = {
      inputs: [{ name: 'x', dims: [1, 2] }],
      layers: [
        { name: 'h', inputs: ['x'], op: 'Gemm', weight: dense([3, 1, -1, 2], [2, 2]), bias: dense([-0.5, 0], [2]) },
        { name: 'active', inputs: ['h'], op: 'Relu' },
        { name: 'y', inputs: ['active'], op: 'Gemm', weight: dense([2, 1], [2, 1]), bias: dense([7], [1]) },
      ],
      logits: 'y',
    };
    const outputs = await compiledRun(small, { x: dense([1, 2], [1, 2]) }, filled([1, 1], 1), {
      composite,
    });
    const [first, second] = outputs['relevance/x']!.data;
    expect(first).toBeCloseTo(1 / 3, 5);
    expect(second).toBeCloseTo(2 / 3, 5);
  });
  test('stays a probability, with biases and pools', async () => {
    const relevance = await relevanceOf(bent, composite, nonNegative(seeded(9), x.dims));
    expect(relevance.every((value) => value >= 0)).toBe(true);
    expect(sum(relevance)).toBeCloseTo(1, 3);
  });
});
