import { describe, expect, test } from 'vitest';
import { balanceOf } from '../../../sdk/lrp/balance.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { integerForms } from '../../reference/integer-forms.js';
import { kindOf, type Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { countOf, optimizedNodes } from '../../reference/optimized.js';
import { explain, type OracleOptions } from '../../reference/oracle.js';
import { quantizedNetwork } from '../../reference/quantized.js';
import { seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { runModel } from '../../reference/run.js';
import { byName, compositeOf, type Rules, tolerance } from './agreement.js';

const everywhere = (network: Network, rule: LayerRule): Rules =>
  Object.fromEntries(network.layers.filter(({ op }) => kindOf[op] === 'weighted').map(({ name }) => [name, rule]));

const ways: readonly [string, LayerRule, Omit<OracleOptions, 'rule'>][] = [
  ['epsilon', { rule: 'epsilon', epsilon: 0.05 }, {}],
  ['epsilon, bias: ignore', { rule: 'epsilon', epsilon: 0.05 }, { bias: 'ignore' }],
  ['epsilon, bias: distribute', { rule: 'epsilon', epsilon: 0.05 }, { bias: 'distribute' }],
  ['z-plus', { rule: 'z-plus' }, {}],
  ['alpha-beta', { rule: 'alpha-beta', alpha: 2, beta: -1 }, {}],
  ['alpha-beta, bias: ignore', { rule: 'alpha-beta', alpha: 2, beta: -1 }, { bias: 'ignore' }],
  ['gamma', { rule: 'gamma', gamma: 0.25 }, {}],
  ['w-square', { rule: 'w-square' }, {}],
];

describe('relevance of a quantized network, against the fake-quantized one in float64', () => {
  test.each(ways)('%s', async (_, rule, settings) => {
    let worst = 0;
    // for WebAssembly sums of integers are written out
    for (const [seed, device] of [1, 2, 3].flatMap((seed) => [[seed, 'any'] as const, [seed, 'wasm'] as const])) {
      const network = quantizedNetwork(seed);
      // flat on the first layer: relevance of any value, also where the layer above is clipped to 0
      const rules = { ...everywhere(network, rule), ...(seed === 3 ? { conv2: { rule: 'flat' } as const } : {}) };
      const options: OracleOptions = { stabilizer: 0.02, ...settings, rule: byName(rules) };
      const random = seeded(seed + 50);
      const x = signed(random, [1, 3, 8, 8]);
      const target = signed(random, [1, 4]);
      const reference = explain(network, { x }, target, options);
      const { model } = compileExplanation(onnxOf(network), {
        composite: compositeOf(rules, { stabilizer: 0.02, ...settings }),
        target: device,
      });
      const result = await runModel(model, { x, target });
      // a rounding that fell the other way would show here first
      expect(deviation(result.logits!.data, reference.values.get('logits')!.data)).toBeLessThan(1e-5);
      worst = Math.max(worst, deviation(result['relevance/x']!.data, reference.relevance.get('x')!.data));
    }
    expect(worst).toBeLessThan(tolerance);
  });
});

/** Share of a quantized tensor's places that hold its largest value, or its least where that is not 0. */
function saturated(network: Network, name: string, values: ReadonlyMap<string, Dense>): number {
  const layer = network.layers.find((candidate) => candidate.name === name);
  if (layer?.op !== 'Quantize' || layer.scale === undefined) throw new Error(`${name} is not quantized`);
  const { scale, zero = 0 } = layer;
  const ends = [(255 - zero) * scale, ...(zero === 0 ? [] : [-zero * scale])];
  const { data } = values.get(name)!;
  return data.filter((value) => ends.includes(value)).length / data.length;
}

describe('relevance where activations saturate', () => {
  // what clipping takes from z is one more bias, and it may be larger than z
  test.each<[string, LayerRule]>([
    ['epsilon', { rule: 'epsilon', epsilon: 0.05 }],
    ['z', { rule: 'z' }],
    ['alpha-beta', { rule: 'alpha-beta', alpha: 2, beta: -1 }],
  ])('%s: it is that of the clipped network, and with what is absorbed and stabilized the logit', async (_, rule) => {
    for (let seed = 1; seed <= 3; seed++) {
      const network = quantizedNetwork(seed, 0.3);
      const rules = everywhere(network, rule);
      const settings = { stabilizer: 0.02 };
      const random = seeded(seed + 70);
      const x = signed(random, [1, 3, 8, 8]);
      const target = signed(random, [1, 4]);
      const reference = explain(network, { x }, target, { ...settings, rule: byName(rules) });
      for (const name of ['q1', 'q3', 'q4']) {
        expect(saturated(network, name, reference.values), name).toBeGreaterThan(0.02);
      }
      const { model, report } = compileExplanation(onnxOf(network), {
        composite: compositeOf(rules, settings),
        audit: true,
      });
      const outputs = await runModel(model, { x, target });
      const relevance = outputs['relevance/x']!.data;
      expect(deviation(relevance, reference.relevance.get('x')!.data)).toBeLessThan(tolerance);
      const logits = reference.values.get('logits')!.data;
      const explained = target.data.reduce((total, weight, at) => total + weight * logits[at]!, 0);
      const steps = balanceOf(report, outputs.balance!.data);
      const stabilized = sum(steps.map(({ lost }) => lost.stabilizer + lost.silent));
      const absorbed = outputs.absorbed!.data.at(-1)!;
      const size = Math.max(...outputs.conservation!.data.map(Math.abs));
      expect(Math.abs(sum(relevance) + absorbed + stabilized - explained) / size).toBeLessThan(tolerance);
      for (const { step, lost } of steps) expect(Math.abs(lost.elsewhere) / size, step).toBeLessThan(tolerance);
    }
  });
});

const KERNELS = /^QLinear|^QGemm|MatMulIntegerToFloat|DynamicQuantizeMatMul|ConvInteger|^Nhwc/;

/** Kernels by operator; whether a product on integers also quantizes what it is given is not told apart. */
const kernelsOf = async (model: Uint8Array): Promise<Record<string, number>> => {
  const nodes = (await optimizedNodes(model)).map((node) =>
    node.op === 'DynamicQuantizeMatMul' ? { ...node, op: 'MatMulIntegerToFloat' } : node,
  );
  return countOf(nodes, KERNELS);
};

describe('integer kernels of the forward pass', () => {
  test.each<[string, Record<string, number>]>([
    ['QDQ', { QLinearConv: 3, QLinearAdd: 1, QLinearGlobalAveragePool: 1, QGemm: 1 }],
    ['QOperator', { QLinearConv: 2, QLinearAdd: 1, QLinearGlobalAveragePool: 1, QGemm: 1 }],
    ['dynamic', { ConvInteger: 1, MatMulIntegerToFloat: 2 }],
  ])('%s: they are those of the model alone', async (form, least) => {
    const own = await kernelsOf(integerForms[form]!);
    expect(own).toMatchObject(least);
    for (const composite of ['epsilon', 'epsilon-plus-flat', 'epsilon-alpha2-beta1-flat', 'gradient']) {
      for (const gated of [false, true]) {
        const kernels = await kernelsOf(compileExplanation(integerForms[form]!, { composite, gated }).model);
        // the backward pass may pick maxima once more, on integers too
        const others = Object.entries(own).filter(([op]) => op !== 'NhwcMaxPool');
        expect(kernels, `${composite}, gated: ${gated}`).toMatchObject(Object.fromEntries(others));
        expect(kernels.NhwcMaxPool ?? 0).toBeGreaterThanOrEqual(own.NhwcMaxPool ?? 0);
      }
    }
  });
});
