import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { int, ints } from '../../sdk/graph/graph.js';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import { presets } from '../../sdk/lrp/presets.js';
import { type GpuNetwork, gpuNetworks } from '../reference/gpu-networks.js';
import { onnxOf } from '../reference/network.js';
import { smallNetworks } from '../reference/networks.js';
import { seeded } from '../reference/random.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import type { Feed, Outputs } from './gpu-only-page.js';
import { openScripted } from './scripted-page.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  browser = await openChromium();
  opened = await openScripted(browser, 'gpu-only-page');
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

const composites = ['epsilon-alpha2-beta1-flat', 'epsilon-gamma-box', 'guided-backprop'];
const small: readonly GpuNetwork[] = [
  ...Object.entries(smallNetworks).map(([name, network]) => ({ name, bytes: onnxOf(network) })),
  { name: 'clip', bytes: clipNetwork() },
].map((one) => ({
  ...one,
  explanations: composites.map((composite) => ({ composite, inputRanges: { x: [-1, 1] }, audit: true })),
}));
const networks = [...small, ...gpuNetworks(Object.keys(presets))];

/** Every explanation is opened on the GPU; in software each run takes seconds, so that only the first of a network is run. */
const runAll = process.env.WHYLIGHT_GPU === 'all';

const largest = (list: readonly number[]): number => list.reduce((max, value) => Math.max(max, Math.abs(value)), 0);

/**
 * Sums in another order, and a GPU's functions good to a few units in the last place: measured, at most 3e-6 of the largest value.
 * With β = −1 every layer takes the difference of two sums, each larger than the result, and so more of the rounding: 1.3e-5.
 */
const tolerance = ({ composite }: { readonly composite?: unknown }): number =>
  String(composite).includes('alpha2-beta1') ? 5e-5 : 1e-5;

test.each(networks.map((one) => [one.name, one] as const))(
  '%s: on the GPU alone, with the values of the CPU',
  {
    timeout: 600_000,
  },
  async (_, { bytes, explanations }) => {
    for (const [index, options] of explanations.entries()) {
      const { model, report } = compileExplanation(bytes, { ...options, target: 'webgpu' });
      expect(report.offGpu).toEqual([]);
      const run = (graph: Uint8Array, feeds: readonly Feed[], device: 'webgpu' | 'wasm'): Promise<Outputs> =>
        opened.page.evaluate((all) => window.runGraph(...all), [[...graph], [...feeds], device] as const);
      if (index > 0 && !runAll) {
        await run(model, [], 'webgpu');
        continue;
      }
      const feeds: Feed[] = [
        ...report.inputs.map((input) => ({ name: input.name, dims: [...input.shape] })),
        { name: 'target', dims: [...report.explained.shape] },
        ...(options.gated === true ? [{ name: 'explain', dims: [], type: 'bool' as const }] : []),
      ];
      const onGpu = await run(model, feeds, 'webgpu');
      const onCpu = await run(compileExplanation(bytes, { ...options, target: 'wasm' }).model, feeds, 'wasm');
      for (const [output, expected] of Object.entries(onCpu)) {
        const difference = largest(expected.map((value, k) => value - onGpu[output]![k]!));
        expect(difference, `${options.composite}: ${output}`).toBeLessThanOrEqual(
          tolerance(options) * largest(expected),
        );
      }
    }
  },
);
