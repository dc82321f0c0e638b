import { mkdirSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../sdk/lrp/report.js';
import { modelFile, modelsAbsent } from '../node/graph/models.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import type { Feed } from './gpu-only-page.js';

interface RealModel {
  readonly name: string;
  readonly options?: CompileOptions;
  /** largest absolute value of what it is fed */
  readonly scale?: number;
  /** an explanation of it takes SwiftShader minutes: it is opened on the GPU and not run, unless WHYLIGHT_GPU=all */
  readonly slow?: true;
}

const speech = { inputShapes: { input: [1, 576] }, inputValues: { sr: 16000 } };
const models: readonly RealModel[] = [
  { name: 'blazeface/face_detection_front_128x128_barracuda.onnx', slow: true },
  { name: 'cifar10_resnets/resnet20.onnx', slow: true },
  { name: 'deeplab_v3/deeplab_v3_1_default_1.onnx', slow: true },
  { name: 'mnist_cntk/mnist.onnx', scale: 255 },
  { name: 'silero_vad/silero_vad_16k_op15.onnx', options: speech, slow: true },
  { name: 'silero_vad/silero_vad_op18_ifless.onnx', options: speech, slow: true },
  { name: 'stm32_mobilenet_v2_035_128/mobilenet_v2_0.35_128_tfs_channel_first.onnx', slow: true },
  { name: 'stm32_yamnet256_esc10/yamnet_256_64x96_tl.onnx' },
  { name: 'ultraface/version-slim-320.onnx', slow: true },
  { name: 'yolox_nano/yolox_nano.onnx', slow: true },
  { name: 'yunet/face_detection_yunet_120x160.onnx', scale: 100, slow: true },
];

describe.skipIf(modelsAbsent)('real models in Chromium', () => {
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
    mkdirSync('dist/test/real', { recursive: true });
    browser = await openChromium();
    opened = await browser.open({ path: '/test/browser/gpu-only.html' });
    await opened.page.waitForFunction(() => window.compareFiles !== undefined);
  });
  afterAll(() => browser.close());

  const served = (name: string, bytes: Uint8Array): string => {
    writeFileSync(`dist/test/real/${name}.onnx`, bytes);
    return `/dist/test/real/${name}.onnx`;
  };

  test.each(models.map((one) => [one.name, one] as const))('%s', { timeout: 600_000 }, async (_, one) => {
    const bytes = new Uint8Array(modelFile(one.name).read());
    const compiled = (target: 'wasm' | 'webgpu') =>
      compileExplanation(bytes, { composite: 'epsilon-plus', ...one.options, target });
    const [onCpu, onGpu] = [compiled('wasm'), compiled('webgpu')];
    expect(onGpu.report.offGpu).toEqual([]);
    const feeds: Feed[] = [
      ...onGpu.report.inputs.map(({ name, shape }) => ({ name, dims: [...shape], scale: one.scale ?? 1 })),
      { name: 'sr', dims: [], type: 'int64', scale: 16000 },
      { name: 'target', dims: [...onGpu.report.explained.shape] },
    ];
    const original = served('original', bytes);
    const [wasm, webgpu] = [served('wasm', onCpu.model), served('webgpu', onGpu.model)];
    const compare = (file: string, reference: string, device: 'webgpu' | 'wasm') =>
      opened.page.evaluate((all) => window.compareFiles(...all), [file, reference, feeds, device] as const);
    for (const { name, difference, largest } of await compare(wasm, original, 'wasm')) {
      expect(difference, `${name} on WebAssembly`).toBeLessThanOrEqual(1e-5 * largest);
    }
    if (one.slow === true && process.env.WHYLIGHT_GPU !== 'all') {
      await opened.page.evaluate(async (file) => {
        const model = new Uint8Array(await (await fetch(file)).arrayBuffer());
        return await window.runGraph(model as unknown as number[], [], 'webgpu');
      }, webgpu);
      return;
    }
    for (const { name, difference, largest } of await compare(webgpu, original, 'webgpu')) {
      expect(difference, `${name} on WebGPU`).toBeLessThanOrEqual(1e-5 * largest);
    }
    for (const { name, difference, largest } of await compare(webgpu, wasm, 'webgpu')) {
      // relevance is a quotient of sums: rounding counts for more in it than in the outputs
      expect(difference, `${name} on WebGPU and WebAssembly`).toBeLessThanOrEqual(1e-3 * largest);
    }
  });
});
