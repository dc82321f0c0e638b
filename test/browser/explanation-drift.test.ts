import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

test('two explainers are compared over a clip, frame by frame and layer by layer, and nothing stays open', async () => {
  const { page, complaints, close } = await browser.open();
  const found = await page.evaluate(async () => {
    const { createExplainer, explanationDrift, matchModels, openFrames, videoFile } = window.whylight;
    const open = (name: string, taps: readonly string[] = []) =>
      createExplainer({
        model: `/samples/models/glyphs/${name}.onnx`,
        device: 'wasm',
        worker: '/dist/workers/explainer.js',
        taps,
      });
    // which layers there are in both is in their reports
    const plain = [await open('glyphs'), await open('glyphs-hans')] as const;
    const { layers } = matchModels(plain[0].report, plain[1].report);
    const [first, last] = [layers[0]!, layers.at(-1)!];
    await Promise.all(plain.map((explainer) => explainer.dispose()));
    const taps = [first, last];
    const models = [
      await open(
        'glyphs',
        taps.map((layer) => layer.reference),
      ),
      await open(
        'glyphs-hans',
        taps.map((layer) => layer.compared),
      ),
    ] as const;
    const clip = await videoFile('/samples/media/glyphs.mp4');
    const progress: number[] = [];
    const drift = explanationDrift(...models, clip.frames(), {
      requireLayers: true,
      onProgress: ({ frames }) => progress.push(frames),
    });
    const frames: { timestamp: number; cosine: number; layers: number[]; same: boolean }[] = [];
    for await (const { drift: frame, reference, compared } of drift) {
      frames.push({
        timestamp: frame.timestamp,
        cosine: frame.map.cosine,
        layers: frame.layers.map(({ agreement }) => agreement.cosine),
        same:
          reference.timestamp === compared.timestamp && `${reference.target.indices}` === `${compared.target.indices}`,
      });
      // leaving the loop ends the decoder, with most of the clip to come
      if (frames.length === 15) break;
    }
    const { map, frames: count } = drift.soFar();
    const held = models.map(({ open: { frames, tensors } }) => frames + tensors);
    await Promise.all(models.map((explainer) => explainer.dispose()));
    await clip.close();
    return { frames, count, mean: map.cosine.mean, progress, held, open: openFrames(), tapped: layers.length };
  });
  expect(found.frames).toHaveLength(15);
  expect(new Set(found.frames.map(({ timestamp }) => timestamp)).size).toBe(15);
  for (const { cosine, layers, same } of found.frames) {
    expect(same).toBe(true);
    expect(cosine).toBeLessThan(1);
    expect(layers).toHaveLength(2);
  }
  expect(found.tapped).toBeGreaterThan(20);
  expect(found.count).toBe(15);
  expect(found.mean).toBeCloseTo(found.frames.reduce((sum, { cosine }) => sum + cosine, 0) / 15, 10);
  expect(found.progress).toEqual(Array.from({ length: 15 }, (_, index) => index + 1));
  expect(found.held).toEqual([0, 0]);
  expect(found.open).toBe(0);
  expect(complaints()).toEqual([]);
  await close();
});
