import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Comparison, Explanation } from '../../sdk/index.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';

/** What the page compared in one frame. */
interface Compared {
  readonly timestamps: readonly [float32: number, own: number];
  readonly targets: readonly [float32: readonly number[], own: readonly number[]];
  readonly cosine: number;
  readonly change: number;
}

declare global {
  interface Window {
    compared: Compared[];
    clones: VideoFrame[];
  }
}

let browser: TestBrowser;
let opened: TestPage | undefined;
beforeAll(async () => {
  browser = await openChromium();
});
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});
afterAll(() => browser.close());

async function openLive(): Promise<TestPage> {
  opened = await browser.open({ path: '/dist/live/index.html?device=wasm' });
  const { page } = opened;
  await page.evaluate(() => {
    window.compared = [];
    window.clones = [];
    document.addEventListener('explanation', (event) => {
      const { comparison } = (event as CustomEvent<{ comparison?: Comparison<Explanation> }>).detail;
      if (comparison === undefined) return;
      const { reference, compared, drift } = comparison;
      window.compared.push({
        timestamps: [reference.timestamp, compared.timestamp],
        targets: [reference.target.indices, compared.target.indices],
        cosine: drift.map.cosine,
        change: drift.logit.change,
      });
    });
    const clone = VideoFrame.prototype.clone;
    VideoFrame.prototype.clone = function () {
      const copy = clone.call(this);
      window.clones.push(copy);
      return copy;
    };
  });
  return opened;
}

/** Waits until `count` more frames were compared, and gives them. */
async function compare(page: Page, count: number): Promise<readonly Compared[]> {
  await page.evaluate(() => window.compared.splice(0));
  await page.waitForFunction((wanted) => window.compared.length >= wanted, count, { timeout: 60_000, polling: 100 });
  return page.evaluate(() => window.compared);
}

/** The workers with a model; the clip is decoded in another one. */
const explainersOf = (page: Page) => page.workers().filter((worker) => worker.url().endsWith('/explainer.js'));

const figureOf = (page: Page, name: string) => page.locator(`#comparison [data-figure="${name}"]`).textContent();

test('a quantized model and the float32 one explain the same frames side by side', async () => {
  const { page, complaints } = await openLive();
  await expect.poll(() => page.locator('#fps').textContent(), { timeout: 30_000 }).toMatch(/\d/);
  expect(explainersOf(page)).toHaveLength(1);
  expect(await page.locator('#comparison').isVisible()).toBe(false);

  await page.getByLabel('Compare with float32').check();
  const compared = await compare(page, 12);
  for (const { timestamps, targets, cosine, change } of compared) {
    expect(timestamps[0]).toBe(timestamps[1]);
    expect(targets[0]).toEqual(targets[1]);
    expect(cosine).toBeGreaterThan(0.9);
    // two models, not one twice
    expect(Math.abs(change)).toBeGreaterThan(0);
  }
  expect(explainersOf(page)).toHaveLength(2);

  // one budget for both
  const budget = page.locator('#budget');
  await page.locator('#budget-ms').fill('400');
  await expect.poll(() => budget.textContent(), { timeout: 20_000 }).toMatch(/both .* of 3\)/);
  expect(await budget.textContent()).toContain('2 workers');
  await page.evaluate(() => document.querySelector('#budget-ms')!.setAttribute('min', '1'));
  await page.locator('#budget-ms').fill('1');
  await expect.poll(() => budget.textContent(), { timeout: 20_000 }).toContain('both forward only (3 of 3)');
  // what was left out of both is compared no more
  await expect.poll(() => figureOf(page, 'cosine')).toBe('–');
  await page.locator('#budget-on').uncheck();
  await compare(page, 3);

  // with other rules both explain by those
  await page.locator('#composite').selectOption('epsilon');
  await expect.poll(() => page.locator('#comparison').isVisible()).toBe(false);
  await compare(page, 3);

  await page.locator('#pause').click();
  await page.waitForTimeout(1000);
  const [last] = await page.evaluate(() => window.compared.slice(-1));
  expect(Number(await figureOf(page, 'cosine'))).toBeCloseTo(last!.cosine, 3);
  for (const name of ['top 1 % shared', 'top 10 % shared', 'relevance that changed sides']) {
    expect(await figureOf(page, name)).toMatch(/^\d+\.\d %$/);
  }
  expect(await page.locator('#comparison-decision').textContent()).toMatch(/decision: \w+/);

  // without relevance over it, it is three times the same picture
  await page.locator('[name="mode"][value="tint"]').check({ force: true });
  await page.locator('[name="opacity"]').fill('0');
  const pictures = await page.evaluate(() =>
    ['canvas', 'canvas-float32', 'canvas-difference'].map((id) => {
      const canvas = document.getElementById(id) as HTMLCanvasElement;
      return canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data.join();
    }),
  );
  expect(pictures[0]!.length).toBeGreaterThan(480 * 480 * 8);
  expect(pictures[1] === pictures[0] && pictures[2] === pictures[0]).toBe(true);

  await page.getByLabel('Compare with float32').uncheck();
  await expect.poll(() => explainersOf(page).length).toBe(1);
  expect(await page.locator('#comparison').isVisible()).toBe(false);
  const clones = await page.evaluate(() => ({
    made: window.clones.length,
    // a frame that is closed, or went to a worker, has no format any more
    open: window.clones.filter(({ format }) => format !== null).length,
  }));
  // one copy for each model of every frame that was compared, the frame itself is shown
  expect(clones.made).toBeGreaterThanOrEqual(2 * 15);
  expect(clones.open).toBe(0);
  expect(complaints()).toEqual([]);
});

test('where there is no float32 model, there is nothing to compare with', async () => {
  const { page, complaints } = await openLive();
  await page.locator('#model').selectOption('glyphs');
  expect(await page.getByLabel('Compare with float32').isEnabled()).toBe(false);
  await page.locator('#model').selectOption('glyphs-int8');
  await page.getByLabel('Compare with float32').check();
  await compare(page, 1);
  await page.locator('#model').selectOption('glyphs-hans');
  await expect.poll(() => page.locator('#comparison').isVisible()).toBe(false);
  await expect.poll(() => explainersOf(page).length).toBe(1);
  expect(complaints()).toEqual([]);
});
