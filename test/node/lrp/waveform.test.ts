import { expect, test } from 'vitest';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { presets } from '../../../sdk/lrp/presets.js';
import { dense } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import { filterBank, pitches } from '../../reference/filter-bank.js';
import { onnxOf } from '../../reference/network.js';
import { explain } from '../../reference/oracle.js';
import { seeded } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { tone } from '../../reference/wav.js';
import { tolerance } from './agreement.js';

const size = 400;
const random = seeded(16);
/** A tone in a little noise. */
const heard = (pitch: number) => tone(16_000, pitch, size / 16_000).map((sample) => sample + 0.1 * (random() - 0.5));

test.each([
  { dims: [1, size], target: 'any' as const },
  { dims: [1, 1, size], target: 'any' as const },
  { dims: [1, size], target: 'wasm' as const },
  { dims: [1, size], target: 'webgpu' as const },
])('samples have the oracle’s relevance, as $dims for $target', async ({ dims, target }) => {
  const network = filterBank(dims);
  const { model } = compileExplanation(onnxOf(network), {
    target,
    inputRanges: { wave: [-1, 1] },
    composite: { rules: [{ match: {}, rule: 'epsilon' }] },
  });
  for (const [index, pitch] of pitches.entries()) {
    const wave = dense(heard(pitch), dims);
    const chosen = dense(
      pitches.map((_, at) => (at === index ? 1 : 0)),
      [1, pitches.length],
    );
    const reference = explain(network, { wave }, chosen);
    const result = await runModel(model, { wave, target: chosen });
    expect(result['relevance/wave']!.dims).toEqual(dims);
    expect(deviation(result['relevance/wave']!.data, reference.relevance.get('wave')!.data)).toBeLessThan(tolerance);
    // the model hears which tone it is
    const { data } = result.logits!;
    expect(data.indexOf(Math.max(...data))).toBe(index);
  }
});

test('the range of the samples is known behind the node that gives them their channel', async () => {
  const network = filterBank([1, size]);
  const wave = dense(heard(500), [1, size]);
  const target = dense([1, 0, 0, 0], [1, pitches.length]);
  const box = { rule: 'z-box', low: -1, high: 1 } as const;
  const reference = explain(network, { wave }, target, {
    rule: (layer) => (layer.name === 'bank' ? box : undefined),
  });
  const { model } = compileExplanation(onnxOf(network), {
    inputRanges: { wave: [-1, 1] },
    composite: {
      rules: [
        { match: { first: true }, rule: 'z-box' },
        { match: {}, rule: 'epsilon' },
      ],
    },
  });
  const result = await runModel(model, { wave, target });
  expect(deviation(result['relevance/wave']!.data, reference.relevance.get('wave')!.data)).toBeLessThan(tolerance);
});

test('every preset explains samples', async () => {
  for (const composite of Object.keys(presets) as (keyof typeof presets)[]) {
    const { model, report } = compileExplanation(onnxOf(filterBank([1, size])), {
      composite,
      inputRanges: { wave: [-1, 1] },
    });
    const wave = dense(heard(1000), [1, size]);
    const result = await runModel(model, { wave, target: dense([0, 0, 0, 0], report.explained.shape) });
    const { dims, data } = result['relevance/wave']!;
    expect(dims, composite).toEqual([1, size]);
    expect(data.every(Number.isFinite), composite).toBe(true);
    expect(
      data.some((value) => value !== 0),
      composite,
    ).toBe(true);
  }
});
