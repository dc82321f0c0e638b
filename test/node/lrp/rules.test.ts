import { describe, expect, test } from 'vitest';
import type { BiasPolicy } from '../../../sdk/lrp/composite.js';
import { layerAlone, type WeightedCase, weightedCases } from '../../reference/cases.js';
import { count, filled } from '../../reference/dense.js';
import { evaluate, type OracleOptions } from '../../reference/oracle.js';
import { seeded } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { byName, compiledRun, compositeOf, tolerance, wellConditioned, worstDeviation } from './agreement.js';

const allBiases: readonly BiasPolicy[] = ['absorb', 'ignore', 'distribute'];

/** Every rule, with the bias policies that make a difference to it. */
const variants: readonly { readonly rule: LayerRule; readonly biases: readonly BiasPolicy[] }[] = [
  { rule: { rule: 'z' }, biases: allBiases },
  { rule: { rule: 'epsilon' }, biases: ['absorb'] },
  { rule: { rule: 'epsilon', epsilon: 0.25 }, biases: allBiases },
  { rule: { rule: 'alpha-beta', alpha: 2, beta: -1 }, biases: allBiases },
  { rule: { rule: 'alpha-beta', alpha: 1.5, beta: -0.5, stabilizer: 0.01 }, biases: ['absorb'] },
  { rule: { rule: 'z-plus' }, biases: allBiases },
  { rule: { rule: 'gamma', gamma: 0.25 }, biases: allBiases },
  { rule: { rule: 'gamma', gamma: 2 }, biases: ['absorb'] },
  { rule: { rule: 'flat' }, biases: allBiases },
  { rule: { rule: 'w-square' }, biases: allBiases },
  { rule: { rule: 'z-box', low: -1, high: 1.5 }, biases: allBiases },
  { rule: { rule: 'gradient' }, biases: ['absorb'] },
];

const named = variants.flatMap(({ rule, biases }) =>
  biases.map((bias) => {
    const { rule: name, ...parameters } = rule;
    return [`${name} ${JSON.stringify(parameters)}, bias: ${bias}`.replace(' {}', ''), rule, bias] as const;
  }),
);

/** Explains the layer alone from arbitrary relevance of its output, compiled and dense. */
async function disagreement(
  weighted: WeightedCase,
  rectified: boolean,
  rule: LayerRule,
  options: OracleOptions,
): Promise<number> {
  const network = layerAlone(weighted, rectified);
  const rules = { layer: rule };
  const settings: OracleOptions = { init: 'one', ...options };
  const zeros = Object.fromEntries(network.inputs.map(({ name, dims }) => [name, filled(dims, 0)]));
  const { dims } = evaluate(network, zeros).get('logits')!;
  const random = seeded(count(dims) * 31 + count(weighted.dims));
  const drawn = wellConditioned(network, random, dims, { ...settings, rule: byName(rules) });
  const composite = compositeOf(rules, settings);
  const outputs = await compiledRun(network, drawn.inputs, drawn.target, { composite });
  expect(outputs['relevance/x']?.dims).toEqual(weighted.dims);
  return worstDeviation(network, outputs, drawn.reference);
}

describe.each(weightedCases.map((weighted) => [weighted.title, weighted] as const))('%s', (_, weighted) => {
  test.each(named)('%s', async (_, rule, bias) => {
    expect(await disagreement(weighted, false, rule, { bias }), 'signed inputs').toBeLessThan(tolerance);
    expect(await disagreement(weighted, true, rule, { bias }), 'inputs after a ReLU').toBeLessThan(tolerance);
  });
});

describe('z-box with a range per channel', () => {
  const perChannel = { rule: 'z-box', low: [-1, -2, -1.25], high: [1, 1.5, 3] } as const;
  const three = weightedCases.filter(({ dims, operation }) => dims[1] === 3 && operation.op !== 'MatMul');
  test.each(three.map((weighted) => [weighted.title, weighted] as const))('%s', async (_, weighted) => {
    expect(await disagreement(weighted, false, perChannel, {})).toBeLessThan(tolerance);
  });
});

describe('the stabilizer', () => {
  const rules: readonly LayerRule[] = [
    { rule: 'z' },
    { rule: 'epsilon' },
    { rule: 'alpha-beta', alpha: 2, beta: -1 },
    { rule: 'gamma', gamma: 0.25 },
    { rule: 'flat' },
    { rule: 'w-square' },
    { rule: 'z-box', low: -1, high: 1 },
  ];
  test.each(rules)('stands in the denominator of $rule', async (rule) => {
    for (const bias of ['absorb', 'ignore', 'distribute'] as const) {
      const options = { stabilizer: 0.5, bias };
      expect(await disagreement(weightedCases[0]!, false, rule, options)).toBeLessThan(tolerance);
      expect(await disagreement(weightedCases[0]!, true, rule, options)).toBeLessThan(tolerance);
    }
  });
});
