import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

const pictures = ['01-star', '04-7', '05-heart'];

/** Pictures, explained on one device. */
async function explained(model: string, device: 'webgpu' | 'wasm') {
  const { page, complaints, close } = await browser.open();
  try {
    const result = await page.evaluate(
      async ([name, where, pictures]) => {
        const { createExplainer, images, openFrames } = window.whylight;
        const explainer = await createExplainer({
          model: new URL(`/samples/models/glyphs/${name}.onnx`, location.href),
          composite: 'epsilon-plus-flat',
          worker: '/dist/workers/explainer.js',
          device: where,
        });
        const source = images(pictures.map((picture) => new URL(`/test/media/glyphs/${picture}.png`, location.href)));
        const explained = [];
        for await (const frame of source.frames()) {
          const { relevance, outputs, topK, device } = await explainer.explainFrame(frame);
          explained.push({
            device,
            top: topK[0]!.label,
            relevance: [...relevance.image!.data],
            logits: [...outputs.logits!.data],
          });
        }
        const { reason } = explainer.device;
        await source.close();
        await explainer.dispose();
        return { explained, reason, open: { ...explainer.open, all: openFrames() } };
      },
      [model, device, pictures] as const,
    );
    expect(complaints()).toEqual([]);
    expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 0, all: 0 });
    expect(result.explained.map((one) => one.device)).toEqual(pictures.map(() => device));
    return result;
  } finally {
    await close();
  }
}

const largest = (list: readonly number[]): number => list.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
const apart = (a: readonly number[], b: readonly number[]): number =>
  largest(a.map((value, index) => value - b[index]!)) / largest(a);

// a software GPU needs seconds for a frame, and three of them for start and check
const timeout = 300_000;

test('the model glyphs gives the same relevance on WebGPU and on WASM', { timeout }, async () => {
  const [wasm, webgpu] = [await explained('glyphs', 'wasm'), await explained('glyphs', 'webgpu')];
  const differences = differencesOf(wasm, webgpu);
  console.log(`glyphs on WebGPU against WASM: ${figures(differences)}; ${webgpu.reason}`);
  for (const difference of differences) expect(difference).toBeLessThan(1e-3);
});

// sums differ in their last bits, and a number that lies between two integers is rounded either way then: what follows moves with it
test('the model glyphs-int8 gives the same relevance on both, as far as rounding decides it', { timeout }, async () => {
  const [wasm, webgpu] = [await explained('glyphs-int8', 'wasm'), await explained('glyphs-int8', 'webgpu')];
  const differences = differencesOf(wasm, webgpu);
  const ofQuantization = differencesOf(await explained('glyphs', 'wasm'), wasm);
  console.log(
    `glyphs-int8 on WebGPU against WASM: ${figures(differences)}, WASM against float32: ${figures(ofQuantization)}; ${webgpu.reason}`,
  );
  // a quarter is 12 dB below the noise of quantization
  for (const [index, difference] of differences.entries()) {
    expect(difference).toBeLessThan(ofQuantization[index]! / 4);
  }
});

type Explained = Awaited<ReturnType<typeof explained>>;

function differencesOf(a: Explained, b: Explained): readonly number[] {
  return a.explained.map((one, index) => {
    const other = b.explained[index]!;
    expect(other.top).toBe(one.top);
    return Math.max(apart(one.logits, other.logits), apart(one.relevance, other.relevance));
  });
}

const figures = (differences: readonly number[]): string => differences.map((one) => one.toExponential(1)).join(' ');
