import { describe, expect, test } from 'vitest';
import { balanceOf } from '../../../sdk/lrp/balance.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { presets } from '../../../sdk/lrp/presets.js';
import { type Dense, dense } from '../../reference/dense.js';
import { sum } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { nonNegative, seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';

const random = seeded(50);
const shifted = (value: Dense, by: number): Dense =>
  dense(
    value.data.map((v) => Math.fround(v + by)),
    value.dims,
  );

const BLOCKS = 26;

function convolution(name: string, from: string, filters: number, channels: number, gain: number): Layer {
  const spread = gain * Math.sqrt(6 / (channels * 9));
  const bias = signed(random, [filters], 0.02);
  return {
    name,
    inputs: [from],
    op: 'Conv',
    weight: shifted(signed(random, [filters, channels, 3, 3], spread), spread / 4),
    // no unit is active by its bias alone, so that there is always somebody to hand its relevance to
    bias: dense(
      bias.data.map((value) => -Math.abs(value)),
      bias.dims,
    ),
    pads: [1, 1, 1, 1],
  };
}
const relu = (name: string, from: string): Layer => ({ name, inputs: [from], op: 'Relu' });

/** 26 residual blocks of two convolutions; with a `gain` of the branches well above zero, values grow by powers of ten. */
const residuals = (gain: number): Network => ({
  inputs: [{ name: 'x', dims: [1, 3, 12, 12] }],
  layers: [
    convolution('stem', 'x', 6, 3, 1),
    relu('relu', 'stem'),
    ...Array.from({ length: BLOCKS }, (_, k): Layer[] => {
      const from = k === 0 ? 'relu' : `out${k - 1}`;
      return [
        convolution(`a${k}`, from, 6, 6, 0.6),
        relu(`a${k}_relu`, `a${k}`),
        convolution(`b${k}`, `a${k}_relu`, 6, 6, gain),
        { name: `sum${k}`, inputs: [`b${k}`, from], op: 'Add' },
        relu(`out${k}`, `sum${k}`),
      ];
    }).flat(),
    { name: 'pooled', inputs: [`out${BLOCKS - 1}`], op: 'GlobalAveragePool' },
    { name: 'flat', inputs: ['pooled'], op: 'Flatten', axis: 1 },
    { name: 'logits', inputs: ['flat'], op: 'Gemm', weight: shifted(signed(random, [6, 4]), 0.5) },
  ],
  logits: 'logits',
});
const [calm, loud] = [onnxOf(residuals(0.02)), onnxOf(residuals(0.15))];
// values that the ε of the ε-rule is small against: its share is lost by design (thesis 2.22) and in no audit
const x = nonNegative(seeded(51), [1, 3, 12, 12], 100);
const target = dense([0, 1, 0, 0], [1, 4]);

async function explained(network: Uint8Array, composite: Composite) {
  const { model, report } = compileExplanation(network, { composite, audit: true, inputRanges: { x: [0, 100] } });
  const outputs = await runModel(model, { x, target });
  const [{ data }, alive, absorbed] = [outputs['relevance/x']!, outputs.conservation!.data, outputs.absorbed!.data];
  const logit = outputs.logits!.data[1]!;
  const balance = balanceOf(report, outputs.balance!.data);
  return { data, logit, balance, steps: report.steps.map((name, k) => ({ name, total: alive[k]! + absorbed[k]! })) };
}

describe('54 layers with weights, in float32', () => {
  test('are as many', () => {
    const { layers } = compileExplanation(calm, {}).report;
    expect(layers.filter(({ depth }) => depth !== undefined)).toHaveLength(54);
  });
  test.each(Object.keys(presets))('%s is finite and not zero', async (name) => {
    for (const network of [calm, loud]) {
      const { data } = await explained(network, name);
      expect(data.every(Number.isFinite)).toBe(true);
      expect(data.some((value) => value !== 0)).toBe(true);
    }
  });

  const conserving = Object.keys(presets).filter((name) => name.startsWith('epsilon'));
  test.each([...conserving, { method: 'epsilon-plus', flatBelow: 20 }, 'excitation-backprop'])(
    '%s: alive and absorbed relevance add up to the start, at every step',
    async (composite) => {
      for (const network of [calm, loud]) {
        const { steps, balance, logit } = await explained(network, composite);
        const start = composite === 'excitation-backprop' ? 1 : logit;
        expect(steps.length).toBeGreaterThan(130);
        for (const { name, total } of steps) expect(Math.abs(total - start), name).toBeLessThan(1e-3 * Math.abs(start));
        for (const { step, lost } of balance) {
          expect(Math.abs(lost.elsewhere), step).toBeLessThan(1e-4 * Math.abs(start));
          expect(Math.abs(lost.silent) + Math.abs(lost.stabilizer), step).toBeLessThan(1e-3 * Math.abs(start));
        }
      }
    },
  );

  test('cam adds up to the logit, too', async () => {
    const { data, logit } = await explained(calm, 'cam');
    // an enlargement by linear interpolation keeps the sum where it enlarges nothing
    expect(Math.abs(sum(data) - logit)).toBeLessThan(1e-3 * Math.abs(logit));
  });
});
