import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBuilder, modelOf } from '../../sdk/graph/builder.js';
import { decodeModel } from '../../sdk/graph/decode.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { tensorOf } from '../../sdk/graph/tensors.js';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import { forWebgpu } from '../../sdk/lrp/webgpu/lower.js';
import { integerForms } from '../reference/integer-forms.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { openScripted } from './scripted-page.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  browser = await openChromium();
  opened = await openScripted(browser, 'gpu-only-page');
});
afterAll(() => browser.close());

const largest = (list: readonly number[]): number => list.reduce((max, value) => Math.max(max, Math.abs(value)), 0);

const run = (
  model: Uint8Array,
  feeds: readonly { name: string; dims: number[] }[],
  device: 'webgpu' | 'wasm',
): Promise<Readonly<Record<string, number[]>>> =>
  opened.page.evaluate((all) => window.runGraph(...all), [[...model], [...feeds], device] as const);

test.each(Object.keys(integerForms))('%s: on the GPU alone, with the values of integer kernels', async (form) => {
  const feeds = [
    { name: 'x', dims: [1, 3, 8, 8] },
    { name: 'target', dims: [1, 4] },
  ];
  // in software every run takes seconds
  const composites = [form === 'QDQ' ? 'epsilon-alpha2-beta1-flat' : 'epsilon'];
  for (const composite of composites) {
    const bytes = integerForms[form]!;
    const onGpu = compileExplanation(bytes, { composite, target: 'webgpu' });
    expect(onGpu.report.offGpu).toEqual([]);
    // weights are integers in the GPU's memory too
    expect(decodeModel(onGpu.model).graph.nodes.map(({ op }) => op)).toContain('DequantizeLinear');
    const values = await run(onGpu.model, feeds, 'webgpu');
    const expected = await run(compileExplanation(bytes, { composite, target: 'wasm' }).model, feeds, 'wasm');
    for (const [output, list] of Object.entries(expected)) {
      const apart = largest(list.map((value, index) => value - values[output]![index]!)) / largest(list);
      expect(apart, `${composite}: ${output}`).toBeLessThan(1e-3);
    }
  }
});

/** Integers of QuantizeLinear over the page's values of x, as float32. */
function quantizer(scale: number): Uint8Array {
  const g = createBuilder();
  g.input('x', 'float32', [64, 64]);
  const zero = (value: number): string => g.initializer(g.name('zero'), tensorOf('uint8', [], [value]));
  const integers = g.node('QuantizeLinear', ['x', g.floats([scale]), zero(97)]);
  g.node('DequantizeLinear', [integers, g.floats([1]), zero(0)], {}, { outputs: ['integers'] });
  g.output('integers', 'float32', [64, 64]);
  return encodeModel(modelOf(g.graph));
}

test('Floor and Clip find the integers of the CPU', async () => {
  let different = 0;
  let total = 0;
  for (const scale of [0.0078, 0.011, 0.004]) {
    const model = quantizer(scale);
    const feeds = [{ name: 'x', dims: [64, 64] }];
    const lowered = encodeModel(forWebgpu(decodeModel(model)).model);
    const [onGpu, onCpu] = [await run(lowered, feeds, 'webgpu'), await run(model, feeds, 'wasm')];
    expect(new Set(onCpu.integers).size).toBeGreaterThan(150);
    total += onCpu.integers!.length;
    different += onCpu.integers!.filter((integer, index) => integer !== onGpu.integers![index]).length;
  }
  console.log(`${different} of ${total} integers differ from the CPU's`);
  expect(different).toBeLessThanOrEqual(total / 4096);
});
