import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

/** The first frame of the bundled clip, explained on one device. */
async function explained(model: string, device: 'webgpu' | 'wasm') {
  const { page, complaints, close } = await browser.open();
  try {
    const result = await page.evaluate(
      async ([name, where]) => {
        const { createExplainer, images, openFrames } = window.whylight;
        const explainer = await createExplainer({
          model: new URL(`/samples/models/glyphs/${name}.onnx`, location.href),
          composite: 'epsilon-plus-flat',
          worker: '/dist/workers/explainer.js',
          device: where,
        });
        const source = images([new URL('/test/media/glyphs/01-star.png', location.href)]);
        const { value: frame } = await source.frames()[Symbol.asyncIterator]().next();
        const { relevance, outputs, topK, device } = await explainer.explainFrame(frame!);
        const { reason } = explainer.device;
        await source.close();
        await explainer.dispose();
        return {
          device,
          reason,
          top: topK[0]!.label,
          relevance: [...relevance.image!.data],
          logits: [...outputs.logits!.data],
          open: { ...explainer.open, all: openFrames() },
        };
      },
      [model, device] as const,
    );
    expect(complaints()).toEqual([]);
    expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 0, all: 0 });
    expect(result.device).toBe(device);
    return result;
  } finally {
    await close();
  }
}

const largest = (list: readonly number[]): number => list.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
const apart = (a: readonly number[], b: readonly number[]): number =>
  largest(a.map((value, index) => value - b[index]!)) / largest(a);

// a software GPU needs seconds for a frame, and three of them for start and check
test.each(['glyphs', 'glyphs-int8'])(
  'the model %s gives the same relevance on WebGPU and on WASM',
  { timeout: 300_000 },
  async (model) => {
    const wasm = await explained(model, 'wasm');
    const webgpu = await explained(model, 'webgpu');
    const difference = {
      logits: apart(wasm.logits, webgpu.logits),
      relevance: apart(wasm.relevance, webgpu.relevance),
    };
    console.log(`${model} on WebGPU against WASM: ${JSON.stringify(difference)}; ${webgpu.reason}`);
    expect(webgpu.top).toBe(wasm.top);
    expect(difference.logits).toBeLessThan(1e-3);
    expect(difference.relevance).toBeLessThan(1e-3);
  },
);
