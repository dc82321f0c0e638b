import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../sdk/lrp/report.js';
import { modelFile, modelsAbsent } from '../node/graph/models.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import type { Feed } from './gpu-only-page.js';
import { openScripted } from './scripted-page.js';

interface RealModel {
  readonly name: string;
  readonly options?: CompileOptions;
  /** largest absolute value of what it is fed */
  readonly scale?: number;
  /** an explanation of it takes SwiftShader minutes: it is opened on the GPU and not run, unless WHYLIGHT_GPU=all */
  readonly slow?: true;
  /** it wants tensors that nobody here makes: compared with the original in test/node/graph/precision.test.ts alone */
  readonly halves?: true;
  /** how far apart values may be, as a share of the largest one */
  readonly bounds?: Bounds;
}

interface Bounds {
  /** outputs on WebAssembly against the original's */
  readonly wasm: number;
  /** outputs on WebGPU against the original's */
  readonly webgpu: number;
  /** relevance on WebGPU against WebAssembly */
  readonly relevance: number;
}

/** Measured, at most 1.4e-6 and 2.2e-5. Relevance is a quotient of sums: rounding counts for more in it than in the outputs. */
const float: Bounds = { wasm: 1e-5, webgpu: 1e-5, relevance: 1e-3 };
/**
 * Where an activation lies between two integers, sums in another order round it the other way, and all layers after it with it.
 * Measured on WebGPU: 0.024 in outputs, 0.064 in relevance.
 */
const integers: Bounds = { wasm: 1e-5, webgpu: 0.05, relevance: 0.1 };

const speech = { inputShapes: { input: [1, 576] }, inputValues: { sr: 16000 } };
const models: readonly RealModel[] = [
  { name: 'blazeface/face_detection_front_128x128_barracuda.onnx', slow: true },
  { name: 'cifar10_resnets/resnet20.onnx', slow: true },
  { name: 'deeplab_v3/deeplab_v3_1_default_1.onnx', slow: true },
  { name: 'mnist_cntk/mnist.onnx', scale: 255 },
  { name: 'mobilenetv2_int8_arm_autopilot/mobilenetv2_int8.onnx', slow: true, bounds: integers },
  // ONNX Runtime computes some of its layers in float32; as uint8, all of them are integer kernels (measured: 0.017)
  { name: 'mobilenetv2_int8_qdq/mobilenet_v2_int8.onnx', slow: true, bounds: { ...integers, wasm: 0.05 } },
  { name: 'silero_vad/silero_vad_16k_op15.onnx', options: speech, slow: true },
  { name: 'silero_vad/silero_vad_op18_ifless.onnx', options: speech, slow: true },
  { name: 'squeezenet_fp16/SqueezeNet_fp16.onnx', scale: 100, slow: true, halves: true },
  { name: 'stm32_mobilenet_v2_035_128/mobilenet_v2_0.35_128_tfs_channel_first.onnx', slow: true },
  { name: 'stm32_yamnet256_esc10/yamnet_256_64x96_tl.onnx' },
  { name: 'ultraface/version-slim-320.onnx', slow: true },
  // the original itself, on WebGPU, is 8.2e-5 from itself on WebAssembly: its many exponentials
  { name: 'yolox_nano/yolox_nano.onnx', slow: true, bounds: { ...float, webgpu: 1e-4 } },
  { name: 'yunet/face_detection_yunet_120x160.onnx', scale: 100, slow: true },
];

describe.skipIf(modelsAbsent)('real models in Chromium', () => {
  let browser: TestBrowser;
  let opened: TestPage;
  beforeAll(async () => {
    mkdirSync('dist/test/real', { recursive: true });
    browser = await openChromium();
    opened = await openScripted(browser, 'gpu-only-page');
  });
  afterAll(() => browser.close());

  const served = (name: string, bytes: Uint8Array): string => {
    writeFileSync(`dist/test/real/${name}.onnx`, bytes);
    return `/dist/test/real/${name}.onnx`;
  };

  test.each(models.map((one) => [one.name, one] as const))('%s', { timeout: 600_000 }, async (_, one) => {
    const bounds = one.bounds ?? float;
    const bytes = new Uint8Array(modelFile(one.name).read());
    const compiled = (target: 'wasm' | 'webgpu') =>
      compileExplanation(bytes, { composite: 'epsilon-plus', types: 'float32', ...one.options, target });
    const [onCpu, onGpu] = [compiled('wasm'), compiled('webgpu')];
    expect(onGpu.report.offGpu).toEqual([]);
    const feeds: Feed[] = [
      ...onGpu.report.inputs.map(({ name, shape }) => ({ name, dims: [...shape], scale: one.scale ?? 1 })),
      { name: 'sr', dims: [], type: 'int64', scale: 16000 },
      { name: 'target', dims: [...onGpu.report.explained.shape] },
    ];
    const original = one.halves === true ? served('original', onCpu.model) : served('original', bytes);
    const [wasm, webgpu] = [served('wasm', onCpu.model), served('webgpu', onGpu.model)];
    const compare = (file: string, reference: string, device: 'webgpu' | 'wasm') =>
      opened.page.evaluate((all) => window.compareFiles(...all), [file, reference, feeds, device] as const);
    for (const { name, difference, largest } of await compare(wasm, original, 'wasm')) {
      expect(difference, `${name} on WebAssembly`).toBeLessThanOrEqual(bounds.wasm * largest);
    }
    if (one.slow === true && process.env.WHYLIGHT_GPU !== 'all') {
      await opened.page.evaluate(async (file) => {
        const model = new Uint8Array(await (await fetch(file)).arrayBuffer());
        return await window.runGraph(model as unknown as number[], [], 'webgpu');
      }, webgpu);
      return;
    }
    for (const { name, difference, largest } of await compare(webgpu, original, 'webgpu')) {
      expect(difference, `${name} on WebGPU`).toBeLessThanOrEqual(bounds.webgpu * largest);
    }
    for (const { name, difference, largest } of await compare(webgpu, wasm, 'webgpu')) {
      expect(difference, `${name} on WebGPU and WebAssembly`).toBeLessThanOrEqual(bounds.relevance * largest);
    }
  });
});
