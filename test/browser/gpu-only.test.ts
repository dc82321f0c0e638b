import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { int, ints } from '../../sdk/graph/graph.js';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import { onnxOf } from '../reference/network.js';
import { smallNetworks } from '../reference/networks.js';
import { seeded } from '../reference/random.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  await build({
    entryPoints: ['test/browser/gpu-only-page.ts'],
    outdir: 'dist/test',
    bundle: true,
    format: 'esm',
    conditions: ['onnxruntime-web-use-extern-wasm'],
  });
  browser = await openChromium();
  opened = await browser.open({ path: '/test/browser/gpu-only.html' });
  await opened.page.waitForFunction(() => window.runGraph !== undefined);
});
afterAll(() => browser.close());

/** Two strided convolutions and an overlapping pool over [time, height, width]. */
function clipNetwork(): Uint8Array {
  const random = seeded(5);
  const net = createBuilder();
  const weights = (...dims: number[]): string =>
    net.initializer(
      net.name('w'),
      floatTensor(
        Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random() - 0.45),
        dims,
      ),
    );
  const cube = (value: number) => ints([value, value, value]);
  let x = net.input('x', 'float32', [1, 2, 6, 8, 8]);
  x = net.node('Relu', [
    net.node('Conv', [x, weights(4, 2, 3, 3, 3), weights(4)], { strides: cube(2), pads: ints([1, 1, 1, 1, 1, 1]) }),
  ]);
  x = net.node('MaxPool', [x], { kernel_shape: cube(2), strides: cube(1) });
  x = net.node('Relu', [net.node('Conv', [x, weights(6, 4, 1, 2, 2), weights(6)], { strides: ints([1, 1, 1]) })]);
  x = net.node('Flatten', [net.node('GlobalAveragePool', [x])], { axis: int(1) });
  net.node('Gemm', [x, weights(3, 6)], { transB: int(1) }, { outputs: ['logits'] });
  net.output('logits', 'float32', [1, 3]);
  return encodeModel(modelOf(net.graph));
}

const models: Readonly<Record<string, Uint8Array>> = {
  ...Object.fromEntries(Object.entries(smallNetworks).map(([name, network]) => [name, onnxOf(network)])),
  clip: clipNetwork(),
};
const composites = ['epsilon-alpha2-beta1-flat', 'epsilon-gamma-box', 'guided-backprop'];

const largest = (list: readonly number[]): number => list.reduce((max, value) => Math.max(max, Math.abs(value)), 0);

test.each(Object.keys(models))('%s runs on the GPU alone, with the relevance of the CPU', async (name) => {
  for (const composite of composites) {
    const { model, report } = compileExplanation(models[name]!, {
      composite,
      target: 'webgpu',
      inputRanges: { x: [-1, 1] },
      audit: true,
    });
    const feeds = [
      ...report.inputs.map((input) => ({ name: input.name, dims: [...input.shape] })),
      { name: 'target', dims: [...report.explained.shape] },
    ];
    const [onGpu, onCpu] = [
      await opened.page.evaluate((all) => window.runGraph(...all), [[...model], feeds, 'webgpu'] as const),
      await opened.page.evaluate((all) => window.runGraph(...all), [[...model], feeds, 'wasm'] as const),
    ];
    for (const [output, expected] of Object.entries(onCpu)) {
      const difference = largest(expected.map((value, index) => value - onGpu[output]![index]!));
      expect(difference, `${composite}: ${output}`).toBeLessThanOrEqual(1e-3 * largest(expected));
    }
  }
});
