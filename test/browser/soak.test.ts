import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';
import { processOf } from './slowdown.js';
import { type Holdings, holdings, openRecordedExplainer, type Row, record, stop, taken } from './stream-run.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium({
    camera: 'test/media/glyphs-camera.mjpeg',
    webgpu: false,
    args: ['--js-flags=--expose-gc', '--enable-precise-memory-info'],
  });
});
afterAll(() => browser.close());

/** `npm run soak` is the same for ten minutes, with a plot. */
test('a stream holds no more after hundreds of frames than after fifty, and survives what tabs, cameras and models do', async () => {
  const { page, complaints } = await browser.open();
  await openRecordedExplainer(page);
  const pageProcess = await processOf(browser.browser, page);
  // wide enough that other work on this machine brings no further graph
  const stream = await record(page, { budgetMs: 5000 });
  const explained = async (count: number): Promise<readonly Row[]> => {
    await page.waitForFunction(
      ([index, wanted]) => window.recordings[index!]!.rows.length >= wanted!,
      [stream, count] as const,
      { timeout: 60_000, polling: 50 },
    );
    // what the test itself notes is no part of it
    return taken(page, stream);
  };
  await explained(50);
  const stock: Holdings[] = [];
  for (let round = 0; round < 5; round++) {
    stock.push(await holdings(page));
    await explained(50);
  }
  stock.push(await holdings(page));
  console.log(
    stock
      .map(({ heap, wasm, frames }) => `${(heap / 1e6).toFixed(2)} MB, wasm ${(wasm / 1e6).toFixed(1)}, ${frames} open`)
      .join(' · '),
  );
  const [first, ...later] = stock;
  const last = later.slice(-2);
  // 250 frames of relevance alone are 49 MB
  expect(Math.min(...last.map(({ heap }) => heap))).toBeLessThan(first!.heap + 1e6);
  expect(new Set(stock.map(({ wasm }) => wasm)).size).toBe(1);
  expect(Math.max(...stock.map(({ frames }) => frames))).toBeLessThanOrEqual(3);
  expect(stock.map(({ tensors }) => tensors)).toEqual(stock.map(() => 0));

  const before = await explained(1);
  await pageProcess.freeze(1000);
  const times = [...before.slice(-1), ...(await explained(10))].map(({ at }) => at);
  // it did stand still
  expect(Math.max(...times.slice(1).map((at, index) => at - times[index]!))).toBeGreaterThan(900);

  await page.evaluate(() => window.explainer.setComposite('epsilon'));
  await explained(10);
  // the former worker has ended
  await expect.poll(async () => (await holdings(page)).workers).toBe(first!.workers);
  expect((await holdings(page)).frames).toBeLessThanOrEqual(3);

  // the camera is closed, the explainer stays, and a new camera goes on
  await stop(page, stream);
  await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
  const again = await record(page, { budgetMs: 5000 });
  await page.waitForFunction((index) => window.recordings[index]!.rows.length >= 10, again, { timeout: 60_000 });
  await stop(page, again);
  await page.evaluate(() => window.explainer.dispose());
  await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
  expect(await page.evaluate(() => window.explainer.open)).toEqual({ frames: 0, tensors: 0, sessions: 0 });
  expect(complaints()).toEqual([]);
});
