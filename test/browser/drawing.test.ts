import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DrawOptions, Explanation } from '../../sdk/index.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { side } from './explainer-model.js';
import { openExplainerPage } from './explainer-page.js';

declare global {
  interface Window {
    /** the pixels of an explanation's drawing over grey, which is closed */
    pixelsOf: (explanation: Explanation) => { width: number; height: number; data: number[] };
    /** a frame of a video of one picture */
    videoPicture: () => Promise<import('../../sdk/index.js').Frame>;
    drawn: { device: string; pixels: number[] }[];
  }
}

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium({ composed: true });
});
afterAll(() => browser.close());

async function open(own = browser): Promise<TestPage> {
  const opened = await openExplainerPage(own);
  await opened.page.evaluate(() => {
    window.pixelsOf = ({ drawing }) => {
      const { width, height } = drawing!;
      const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
      context.fillStyle = 'grey';
      context.fillRect(0, 0, width, height);
      context.drawImage(drawing!, 0, 0);
      drawing!.close();
      return { width, height, data: [...context.getImageData(0, 0, width, height).data] };
    };
    window.videoPicture = async () => {
      const still = await window.picture(96, 64);
      const image = new VideoFrame(still.image, { timestamp: 40_000 });
      still.close();
      return { ...still, image, close: () => image.close() };
    };
  });
  return opened;
}

/** The largest difference, and how many values differ by more than rounding explains. */
function apart(a: readonly number[], b: readonly number[]): { readonly most: number; readonly beyond: number } {
  const differences = a.map((value, index) => Math.abs(value - b[index]!));
  return {
    most: Math.max(...differences),
    beyond: differences.filter((value) => value > 3).length / differences.length,
  };
}

test('the worker draws what the page would draw from the numbers, on the GPU and on the CPU', async () => {
  const { page, complaints, close } = await open();
  const looks: DrawOptions[] = [
    { longest: 192 },
    { mode: 'tint', scale: { percentile: 99 } },
    { mode: 'heatmap', smooth: false },
  ];
  for (const device of ['webgpu', 'wasm'] as const) {
    const results = await page.evaluate(
      async ([device, looks]) => {
        const { drawOverlay, normalizer, sumChannels } = window.whylight;
        const explainer = await window.start({ device });
        const pairs = [];
        for (const look of looks) {
          const explanation = await explainer.explainFrame(await window.picture(96, 64), { draw: look });
          const drawn = window.pixelsOf(explanation);
          const reference = new OffscreenCanvas(drawn.width, drawn.height);
          const { data, dims } = explanation.relevance.picture!;
          const [map] = normalizer({ scale: look.scale ?? 'maximum' })([sumChannels(data, dims)], 0);
          const { fit, frame } = explanation;
          const { image } = await window.picture(96, 64);
          drawOverlay(reference.getContext('2d')!, image, { map: map!, fit, frame }, look);
          image.close();
          const drawing = await createImageBitmap(reference);
          pairs.push({ drawn, expected: window.pixelsOf({ ...explanation, drawing }) });
        }
        const { open } = explainer;
        await explainer.dispose();
        return { pairs, open };
      },
      [device, looks] as const,
    );
    // on a GPU one on WASM stands by
    expect(results.open).toEqual({ frames: 0, tensors: 0, sessions: device === 'webgpu' ? 2 : 1 });
    results.pairs.forEach(({ drawn, expected }, index) => {
      const { longest = 96 } = looks[index]!;
      expect([drawn.width, drawn.height]).toEqual([longest, longest / 1.5]);
      const difference = apart(drawn.data, expected.data);
      // where the map is not enlarged by a whole number, a canvas interpolates colours and the GPU relevance
      expect(difference.beyond, `${device} ${index} ${JSON.stringify(difference)}`).toBeLessThan(0.02);
    });
  }
  expect(complaints()).toEqual([]);
  await close();
});

test('without numbers a frame goes through the GPU with no copy in and nothing read back', async () => {
  const { page, output, complaints, close } = await open();
  const first = await page.evaluate(async () => {
    window.explainer = await window.start({
      device: 'webgpu',
      wasmPaths: '/dist/workers/',
      worker: () => new Worker('/test/browser/counting-gpu-worker.js', { type: 'module' }),
    });
    // the first frames make shaders and buffers
    for (const numbers of [false, true]) {
      window.pixelsOf(await window.explainer.explainFrame(await window.videoPicture(), { draw: {}, numbers }));
    }
    return window.explainer.memory.gpu;
  });
  const counted = (name: string) => output().filter((line) => line.includes(`gpu ${name} `)).length;
  const before = ['importExternalTexture', 'copyExternalImageToTexture', 'mapAsync'].map(counted);
  const seen = await page.evaluate(async () => {
    const explanation = await window.explainer.explainFrame(await window.videoPicture(), { draw: {}, numbers: false });
    const { outputs, relevance, topK } = explanation;
    const colours = new Set(window.pixelsOf(explanation).data).size;
    const forward = await window.explainer.explainFrame(await window.videoPicture(), { draw: {}, relevance: false });
    const plain = new Set(window.pixelsOf(forward).data).size;
    return {
      outputs,
      relevance,
      topK,
      colours,
      plain,
      more: Object.keys(forward.outputs),
      open: window.explainer.open,
      memory: window.explainer.memory,
    };
  });
  const [imports, copies, reads] = ['importExternalTexture', 'copyExternalImageToTexture', 'mapAsync'].map(counted);
  // each of the two frames is looked at where it is fitted and where it is drawn; the second one's outputs are read
  expect([imports! - before[0]!, copies! - before[1]!]).toEqual([4, 0]);
  expect(seen.more.length).toBeGreaterThan(0);
  expect(reads! - before[2]!).toBe(1);
  // ONNX Runtime's, and the pictures' and drawings': one and the same
  expect(counted('requestDevice')).toBe(1);
  expect(seen).toMatchObject({ outputs: {}, relevance: {}, topK: [], open: { frames: 0, tensors: 0, sessions: 2 } });
  // an independent count of what the worker has on the GPU, ONNX Runtime's and ours; further frames need no more
  const weighed = (what: string) =>
    output().reduce((sum, line) => sum + Number(new RegExp(`gpu ${what} (\\d+)`).exec(line)?.[1] ?? 0), 0);
  expect(seen.memory.gpu).toBe(weighed('made') - weighed('freed'));
  expect(seen.memory.gpu).toBe(first);
  expect(first).toBeGreaterThan(2 * 4 * 3 * side * side);
  expect(seen.colours).toBeGreaterThan(10);
  expect(seen.plain).toBeGreaterThan(10);
  expect(complaints()).toEqual([]);
  await close();
});

test('arrays that are given back are read into again on a GPU, and are empty on every device', async () => {
  const { page, output, complaints, close } = await open();
  const made = () => output().filter((line) => line.includes(`array made ${4 * 3 * side * side}`)).length;
  for (const device of ['webgpu', 'wasm'] as const) {
    await page.evaluate(async (device) => {
      window.explainer = await window.start({
        device,
        wasmPaths: '/dist/workers/',
        worker: () => new Worker('/test/browser/counting-gpu-worker.js', { type: 'module' }),
      });
    }, device);
    const run = (count: number, isReleased: boolean) =>
      page.evaluate(
        async ([count, isReleased]) => {
          const sums: number[] = [];
          const lengths: number[] = [];
          for (let index = 0; index < count; index++) {
            const explanation = await window.explainer.explainFrame(await window.picture(96, 64));
            const { data } = explanation.relevance.picture!;
            sums.push(data.reduce((sum, value) => sum + Math.abs(value), 0));
            if (isReleased) explanation.release();
            lengths.push(data.length, ...Object.values(explanation.outputs).map((output) => output.data.length));
          }
          return { sums, lengths };
        },
        [count, isReleased] as const,
      );
    const kept = await run(4, false);
    const before = made();
    const released = await run(12, true);
    const after = made();
    const keptAgain = await run(4, false);
    expect(new Set([...kept.sums, ...released.sums, ...keptAgain.sums]).size, device).toBe(1);
    expect(kept.sums[0]).toBeGreaterThan(0);
    expect(Math.min(...kept.lengths), device).toBeGreaterThan(0);
    expect(Math.max(...released.lengths), device).toBe(0);
    if (device === 'webgpu') {
      expect(before).toBeGreaterThanOrEqual(4);
      expect(after - before).toBe(1);
      // the last one of before is there to be written over
      expect(made() - after).toBe(3);
    }
    await page.evaluate(() => window.explainer.dispose());
  }
  expect(complaints()).toEqual([]);
  await close();
});

test('a GPU that is lost costs no drawing, not even that of the frame in which it is lost', async () => {
  // a browser of its own: the crash takes the GPU from every page
  const own = await openChromium({ composed: true });
  const { page, close } = await open(own);
  await page.evaluate(async () => {
    window.explainer = await window.start({ device: 'webgpu' });
    window.drawn = [];
    // pixels in memory, as a camera's are: what the GPU's process holds of a picture is gone with it
    const still = await window.picture(96, 64);
    const context = new OffscreenCanvas(96, 64).getContext('2d', { willReadFrequently: true })!;
    context.drawImage(still.image, 0, 0);
    still.close();
    const { data } = context.getImageData(0, 0, 96, 64);
    void (async () => {
      // a few on the GPU, then whatever the crash makes of it
      for (let after = 0; after < 3; ) {
        const image = new VideoFrame(data, { format: 'RGBA', codedWidth: 96, codedHeight: 64, timestamp: 40_000 });
        const frame = { ...still, captured: performance.now(), image, close: () => image.close() };
        const explanation = await window.explainer.explainFrame(frame, {
          draw: { mode: 'tint', longest: 96 },
          numbers: false,
        });
        window.drawn.push({ device: explanation.device, pixels: window.pixelsOf(explanation).data });
        if (explanation.device === 'wasm') after++;
      }
      window.drawn.push({ device: 'end', pixels: [] });
    })();
  });
  await page.waitForFunction(() => window.drawn.length >= 3);
  const session = await own.browser.newBrowserCDPSession();
  await session.send('Browser.crashGpuProcess' as 'Browser.getVersion').catch(() => undefined);
  await page.waitForFunction(() => window.drawn.at(-1)!.device === 'end');
  const { drawn, held } = await page.evaluate(() => ({
    drawn: window.drawn.slice(0, -1),
    held: window.explainer.open,
  }));
  expect(new Set(drawn[0]!.pixels).size).toBeGreaterThan(10);
  expect(drawn.map(({ device }) => device).filter((device, index, all) => device !== all[index - 1])).toEqual([
    'webgpu',
    'wasm',
  ]);
  for (const { pixels } of drawn) expect(apart(drawn[0]!.pixels, pixels).beyond).toBeLessThan(0.02);
  expect(held).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  await close();
  await own.close();
});

test('a look that is none is an error of its own, and the next frame is drawn', async () => {
  const { page, complaints, close } = await open();
  const result = await page.evaluate(async () => {
    const explainer = await window.start({ device: 'wasm' });
    const failed = [];
    for (const draw of [{ opacity: 2 }, { longest: 0.5 }, { scale: { percentile: 0 } }, { colormap: 'mud' as 'jet' }]) {
      failed.push(await window.failure(explainer.explainFrame(await window.picture(96, 64), { draw })));
    }
    const { drawing } = await explainer.explainFrame(await window.picture(96, 64), { draw: {} });
    drawing!.close();
    const { open } = explainer;
    await explainer.dispose();
    return { failed, open, width: drawing!.width };
  });
  expect(result.failed.map(({ code }) => code)).toEqual(Array(4).fill('OPTION_INVALID'));
  expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  expect(complaints()).toEqual([]);
  await close();
});
