import { afterEach, expect, test } from 'vitest';
import type { Frame } from '../../sdk/index.js';
import { type BrowserOptions, openChromium, type TestBrowser } from './chromium.js';
import { openExplainerPage } from './explainer-page.js';

/** One explanation of a stream that a page runs. */
interface Row {
  readonly timestamp: number;
  readonly device: string;
  readonly dropped: number;
  readonly relevance: number[];
}

declare global {
  interface Window {
    rows: Row[];
    warned: string[];
    /** how often each frame was closed */
    closes: number[];
    /** the source gives no further frame */
    enough: boolean;
    /** how the stream ended, '' until then */
    ended: string;
  }
}

let browser: TestBrowser | undefined;
afterEach(async () => {
  await browser?.close();
  browser = undefined;
});

/** A browser of its own: what happens here happens to all of its pages. */
async function open(options: BrowserOptions = {}) {
  browser = await openChromium(options);
  return { browser, ...(await openExplainerPage(browser)) };
}

const difference = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, index) => Math.abs(value - b[index]!))) / Math.max(...a.map(Math.abs));

test('a GPU that is lost in mid-stream costs one warning and no frame, and nothing is fetched for it', async () => {
  const { browser, page, complaints } = await open();
  const fetched: string[] = [];
  page.on('request', (request) => fetched.push(new URL(request.url()).pathname));
  await page.evaluate(async () => {
    const { explain, framesOf } = window.whylight;
    Object.assign(window, { rows: [], warned: [], closes: [], enough: false, ended: '' });
    const explainer = await window.start({
      device: 'webgpu',
      ladder: [{}, { composite: 'epsilon' }, { every: 'never' }],
    });
    window.explainer = explainer;
    explainer.warnings$.subscribe(({ code }) => window.warned.push(code));
    // a second worker on the GPU: a stream that was brought down by its budget builds what fits a wider one
    let budget = 1;
    const lane = explainer.openStream({ budgetMs: () => budget });
    while (explainer.open.sessions < 2) {
      const frame = await window.picture(96, 64);
      lane.arrived(frame);
      await lane.turn(frame.captured);
      const seen = await lane.explainFrame(frame, { arrived: performance.now(), lossless: false });
      if (seen !== 'stale' && seen.quality?.rung === 'forward only') budget = 60_000;
    }
    lane.close();
    const source = {
      info: { kind: 'file', decoder: 'images' } as const,
      async *frames(): AsyncGenerator<Frame> {
        for (let index = 0; !window.enough; index++) {
          const frame = await window.picture(96, 64);
          window.closes[index] = 0;
          yield {
            ...frame,
            timestamp: index * 40_000,
            close() {
              window.closes[index]!++;
              frame.image.close();
            },
          };
        }
      },
    };
    framesOf(source)
      .pipe(explain(explainer))
      .subscribe({
        next: ({ timestamp, device, dropped, relevance }) =>
          window.rows.push({ timestamp, device, dropped, relevance: [...relevance.picture!.data] }),
        error: (error: Error) => {
          window.ended = error.message;
        },
        complete: () => {
          window.ended = 'complete';
        },
      });
  });
  await page.waitForFunction(() => window.rows.length >= 5);
  expect(fetched.filter((path) => path.endsWith('.wasm'))).not.toEqual([]);
  fetched.length = 0;
  const devtools = await browser.browser.newBrowserCDPSession();
  await devtools.send('Browser.crashGpuProcess' as 'Browser.getVersion').catch(() => undefined);
  await page.waitForFunction(() => window.ended || window.rows.filter(({ device }) => device === 'wasm').length >= 5);
  await page.evaluate(() => {
    window.enough = true;
  });
  await page.waitForFunction(() => window.ended);
  const { rows, ended, closes } = await page.evaluate(() => ({
    rows: window.rows,
    ended: window.ended,
    closes: window.closes,
  }));
  expect(ended).toBe('complete');
  expect(rows.map(({ timestamp }) => timestamp)).toEqual(closes.map((_, index) => index * 40_000));
  expect(new Set(closes)).toEqual(new Set([1]));
  expect(rows.every(({ dropped }) => dropped === 0)).toBe(true);
  // from the GPU to the CPU once, and not back
  expect(rows.map(({ device }) => device).filter((device, index, all) => device !== all[index - 1])).toEqual([
    'webgpu',
    'wasm',
  ]);
  expect(difference(rows[0]!.relevance, rows.at(-1)!.relevance)).toBeLessThan(1e-2);

  const read = () =>
    page.evaluate(() => {
      const { device, open, memory } = window.explainer;
      return { device, open, workers: memory.workers, gpu: memory.gpu, warned: window.warned };
    });
  await expect.poll(async () => (await read()).gpu).toBe(0);
  const { device, open: held, workers, warned } = await read();
  expect(warned).toEqual(['DEVICE_LOST']);
  expect(device).toMatchObject({ device: 'wasm', reason: expect.stringContaining('the GPU was lost') });
  expect(device.tried.map(({ device, outcome }) => `${device} ${outcome}`)).toEqual(['webgpu lost', 'wasm chosen']);
  expect(held).toEqual({ frames: 0, tensors: 0, sessions: 2 });
  expect(workers).toBe(2);
  expect(fetched).toEqual([]);
  await page.evaluate(() => window.explainer.dispose());
  expect(await page.evaluate(() => window.explainer.open)).toEqual({ frames: 0, tensors: 0, sessions: 0 });
  expect(complaints()).toEqual([]);
});
