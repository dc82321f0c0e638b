import { describe, expect, test } from 'vitest';
import { balanceOf, type StepBalance } from '../../../sdk/lrp/balance.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { type Dense, dense, filled } from '../../reference/dense.js';
import { sum } from '../../reference/deviation.js';
import type { Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { audio, residual } from '../../reference/networks.js';
import { operatorModels, operatorVariants } from '../../reference/operator-models.js';
import { explain } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { modelWith } from './one-node.js';

async function balanced(
  model: Uint8Array,
  inputs: Readonly<Record<string, Dense>>,
  target: Dense,
  composite: Composite,
): Promise<{ steps: StepBalance[]; outputs: Awaited<ReturnType<typeof runModel>> }> {
  const compiled = compileExplanation(model, { composite, audit: true });
  const outputs = await runModel(compiled.model, { ...inputs, target });
  const steps = balanceOf(compiled.report, outputs.balance!.data);
  for (const { step, arrived, passedOn, absorbed, lost } of steps) {
    const parts = [passedOn, absorbed, lost.stabilizer, lost.silent, lost.elsewhere];
    const size = parts.reduce((all, part) => all + Math.abs(part), Math.abs(arrived));
    expect(Math.abs(arrived - sum(parts)), step).toBeLessThanOrEqual(1e-5 * size);
  }
  return { steps, outputs };
}

describe('by hand', () => {
  // z = (2 − 3 + ½, −4 + 1 − 1) = (−½, −4), as in the rules of oracle.test.ts
  const network: Network = {
    inputs: [{ name: 'x', dims: [1, 2] }],
    layers: [
      { name: 'y', inputs: ['x'], op: 'Gemm', weight: dense([1, -2, 3, -1], [2, 2]), bias: dense([0.5, -1], [2]) },
    ],
    logits: 'y',
  };
  const composite = { init: 'one', rules: [{ match: {}, rule: 'epsilon', epsilon: 0.5 }] } as const;
  const target = dense([1, 10], [1, 2]);
  test('ε takes ε/(|z| + ε) of what arrives, the bias b/(z + ε sign z)', async () => {
    const { steps } = await balanced(onnxOf(network), { x: dense([2, -1], [1, 2]) }, target, composite);
    const [start, layer] = steps as [StepBalance, StepBalance];
    expect([start.step, start.arrived, start.passedOn]).toEqual(['y', 11, 11]);
    expect(layer.arrived).toBeCloseTo(11, 5);
    // (2 − 3)/−1 · 1 + (−4 + 1)/−4½ · 10
    expect(layer.passedOn).toBeCloseTo(1 + 20 / 3, 5);
    expect(layer.absorbed).toBeCloseTo(-0.5 + 10 / 4.5, 5);
    expect(layer.lost.stabilizer).toBeCloseTo(0.5 + 5 / 4.5, 5);
    expect(layer.lost.silent).toBe(0);
    expect(layer.lost.elsewhere).toBeCloseTo(0, 5);
    expect(layer.lost.reason).toBeUndefined();
  });
  test('a silent unit has nobody to give its relevance to', async () => {
    const { steps } = await balanced(onnxOf(network), { x: dense([0, 0], [1, 2]) }, target, {
      ...composite,
      bias: 'ignore',
    });
    expect(steps[1]!.lost.silent).toBe(11);
    expect(steps[1]!.lost.stabilizer).toBe(0);
    expect(steps[1]!.passedOn).toBe(0);
  });
  test('with α = 2, β = −1 a side without contributions is silent alone', async () => {
    // z₁ = 2 + 3, z₂ = −4 − 1, without biases: 2 R₁ is shared out and −R₁ finds nobody, −R₂ is and 2 R₂ finds nobody
    const sided = { init: 'one', bias: 'ignore', rules: [{ match: {}, rule: 'alpha-beta' }] } as const;
    const { steps } = await balanced(onnxOf(network), { x: dense([2, 1], [1, 2]) }, target, sided);
    expect(steps[1]!.passedOn).toBeCloseTo(2 * 1 - 10, 4);
    expect(steps[1]!.lost.silent).toBeCloseTo(-1 + 2 * 10, 4);
  });
  test('numbers of another graph are refused', () => {
    const { report } = compileExplanation(onnxOf(network), { composite, audit: true });
    expect(() => balanceOf(report, [1, 2, 3])).toThrow(RangeError);
  });
});

describe('what arrives at every layer is what the dense oracle finds there, and all of it is accounted for', () => {
  const rules = [{ match: {}, rule: 'alpha-beta', alpha: 2, beta: -1 }] as const;
  test.each(Object.entries({ residual, audio }))('%s', async (_, network) => {
    const [{ name, dims }] = network.inputs as [Network['inputs'][number]];
    const x = signed(seeded(7), dims);
    const target = filled([dims[0]!, 4], 1);
    const stabilizer = 0.01;
    const { relevance } = explain(network, { [name]: x }, target, { stabilizer, rule: ({ op }) => ruleOf(op) });
    const { steps } = await balanced(onnxOf(network), { [name]: x }, target, { stabilizer, rules });
    const start = Math.abs(steps[0]!.arrived);
    const tensors = new Map(steps.map((step) => [step.step, step]));
    let compared = 0;
    for (const layer of network.layers) {
      const step = tensors.get(layer.name);
      if (step === undefined || ('batchNorm' in layer && layer.batchNorm !== undefined)) continue;
      compared++;
      const found = relevance.get(layer.name)!.data;
      const size = found.reduce((all, value) => all + Math.abs(value), start);
      expect(Math.abs(step.arrived - sum(found)), layer.name).toBeLessThan(1e-4 * size);
    }
    expect(compared).toBeGreaterThan(5);
    for (const { step, lost } of steps) expect(Math.abs(lost.elsewhere), step).toBeLessThan(1e-3 * start);
    // on its whole way from the output to the input, nothing is unaccounted for
    const gone = steps.reduce(
      (all, { absorbed, lost }) => all + absorbed + lost.stabilizer + lost.silent + lost.elsewhere,
      0,
    );
    const arrived = sum(relevance.get(name)!.data);
    expect(Math.abs(steps[0]!.arrived - gone - arrived)).toBeLessThan(1e-3 * (start + Math.abs(gone)));
  });
  const weighted = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'];
  const ruleOf = (op: string) =>
    weighted.includes(op) ? ({ rule: 'alpha-beta', alpha: 2, beta: -1 } as const) : undefined;
});

describe('whatever an operator loses has a reason', () => {
  test.each(Object.entries({ ...operatorModels, ...operatorVariants }))('%s', async (_, one) => {
    const model = modelWith(one.inputs, one.dims, one.write, one.opset);
    const inputs = Object.fromEntries(
      Object.entries(one.inputs).map(([name, dims], k) => {
        // no zeros: logarithms and quotients would have no value there
        const { data } = signed(seeded(3 + k), dims);
        return [
          name,
          dense(
            data.map((v) => Math.abs(v) + 0.125),
            dims,
          ),
        ];
      }),
    );
    const target = filled(one.dims, 1);
    for (const rules of [[], [{ match: {}, rule: 'gamma' }]] as const) {
      const { steps, outputs } = await balanced(model, inputs, target, { init: 'one', rules });
      // shares of both signs may be much larger than their sum
      const shares = Object.keys(inputs).flatMap((name) => [...outputs[`relevance/${name}`]!.data]);
      const size = shares.reduce((all, share) => all + Math.abs(share), 0);
      for (const { step, lost, arrived } of steps) {
        if (lost.reason !== undefined) continue;
        expect(Math.abs(lost.elsewhere), step).toBeLessThanOrEqual(1e-5 * (size + Math.abs(arrived)));
      }
    }
  });
});
