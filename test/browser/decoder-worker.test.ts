import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';

const clip = '/samples/media/glyphs.mp4';

let browser: TestBrowser;
let opened: TestPage;
let page: Page;
beforeAll(async () => {
  browser = await openChromium({ webgpu: false });
  opened = await browser.open();
  page = opened.page;
});
afterAll(() => browser.close());

const workers = () => page.workers().map((worker) => new URL(worker.url()).pathname);

test('a file has a worker of its own, which ends with its source', async () => {
  expect(workers()).toEqual([]);
  const first = await page.evaluateHandle((clip) => window.whylight.videoFile(clip), clip);
  expect(workers()).toEqual(['/dist/workers/decoder.js']);
  const second = await page.evaluateHandle((clip) => window.whylight.videoFile(clip), clip);
  expect(workers()).toHaveLength(2);
  await first.evaluate((source) => source.close());
  await second.evaluate((source) => source.close());
  await expect.poll(workers).toEqual([]);
  expect(opened.complaints()).toEqual([]);
});

test('what cannot be decoded, and what is aborted, leaves no worker behind', async () => {
  const codes = await page.evaluate(async (clip) => {
    const codeOf = (promise: Promise<unknown>) =>
      promise.then(
        () => 'none',
        (error: { code: string }) => error.code,
      );
    const abort = new AbortController();
    // before the worker can have answered, however fast it is
    const worker = () => {
      queueMicrotask(() => abort.abort());
      return new Worker('/dist/workers/decoder.js', { type: 'module' });
    };
    const opening = codeOf(window.whylight.videoFile(clip, { signal: abort.signal, worker }));
    return [await codeOf(window.whylight.videoFile('/test/media/glyphs-mpeg2.avi')), await opening];
  }, clip);
  expect(codes).toEqual(['MEDIA_UNSUPPORTED', 'ABORTED']);
  await expect.poll(workers).toEqual([]);
});

test('the worker gives the frames that this thread would decode, pixel by pixel', async () => {
  const [there, here] = await page.evaluate(async (clip) => {
    const all: object[] = [];
    for (const worker of [undefined, false] as const) {
      const before = performance.now();
      const source = await window.whylight.videoFile(clip, { end: 2, fps: 5, ...(worker === false ? { worker } : {}) });
      const frames: object[] = [];
      const context = new OffscreenCanvas(source.info.width!, source.info.height!).getContext('2d')!;
      for await (const {
        timestamp,
        duration,
        captured,
        width,
        height,
        rotation,
        dropped,
        image,
        close,
      } of source.frames()) {
        context.drawImage(image, 0, 0);
        const { data } = context.getImageData(0, 0, width, height);
        close();
        const digest = new Uint32Array(await crypto.subtle.digest('SHA-256', data));
        const isOfNow = captured >= before && captured <= performance.now();
        frames.push({ timestamp, duration, isOfNow, width, height, rotation, dropped, digest: [...digest] });
      }
      await source.close();
      all.push({ info: source.info, frames });
    }
    return all as [{ frames: object[] }, object];
  }, clip);
  expect(there.frames).toHaveLength(10);
  expect(there.frames[0]).toMatchObject({ timestamp: 0, isOfNow: true });
  expect(there).toEqual(here);
});

test('four frames are on their way at most, and the next come when they are taken', async () => {
  const { sent, open } = await page.evaluate(async (clip) => {
    let sent = 0;
    const Original = window.MessageChannel;
    window.MessageChannel = class extends Original {
      constructor() {
        super();
        this.port1.addEventListener('message', ({ data }) => {
          if ('image' in data) sent++;
        });
      }
    };
    const source = await window.whylight.videoFile(clip);
    const iterator = source.frames()[Symbol.asyncIterator]();
    const counts: [taken: number, sent: number][] = [];
    let taken = 0;
    for (const count of [1, 7, 1, 20]) {
      for (let i = 0; i < count; i++, taken++) (await iterator.next()).value.close();
      for (let before = -1; before !== sent; ) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
      counts.push([taken, sent]);
    }
    window.MessageChannel = Original;
    await iterator.return?.();
    await source.close();
    return { sent: counts, open: window.whylight.openFrames() };
  }, clip);
  for (const [taken, count] of sent) {
    expect(count).toBeGreaterThan(taken);
    expect(count).toBeLessThanOrEqual(taken + 4);
  }
  expect(open).toBe(0);
});

test('two iterations of one source do not know of each other', async () => {
  const outcome = await page.evaluate(async (clip) => {
    const { videoFile, openFrames } = window.whylight;
    const source = await videoFile(clip, { end: 1 });
    const timesOf = async (take: number) => {
      const times: number[] = [];
      for await (const frame of source.frames()) {
        times.push(frame.timestamp);
        frame.close();
        if (times.length === take) break;
      }
      return times;
    };
    const [all, some] = await Promise.all([timesOf(1000), timesOf(3)]);
    await source.close();
    return { all, some, open: openFrames() };
  }, clip);
  expect(outcome.all).toHaveLength(25);
  expect(outcome.some).toEqual(outcome.all.slice(0, 3));
  expect(outcome.open).toBe(0);
});

test('where the worker is not there, this thread decodes and a warning says so; a worker that was asked for is an error', async () => {
  const { page: other, close } = await browser.open();
  await other.route('**/workers/decoder.js', (route) => route.fulfill({ status: 404, body: '' }));
  const outcome = await other.evaluate(async (clip) => {
    const source = await window.whylight.videoFile(clip, { end: 1 });
    const warnings: string[] = [];
    source.warnings$?.subscribe(({ code, message }) => warnings.push(`${code}: ${message}`));
    let count = 0;
    for await (const frame of source.frames()) {
      count++;
      frame.close();
    }
    const code = await window.whylight.videoFile(clip, { worker: '/dist/nothing.js' }).catch((error) => error.code);
    return { count, warnings, code, open: window.whylight.openFrames() };
  }, clip);
  await close();
  expect(outcome).toEqual({
    count: 25,
    warnings: [expect.stringMatching(/^WORKER_FAILED: The decoder worker could not be loaded.*on this thread instead/)],
    code: 'WORKER_FAILED',
    open: 0,
  });
});

test('where workers have no WebCodecs, this thread decodes', async () => {
  const { page: other, complaints, close } = await browser.open();
  const headers = { 'Cross-Origin-Embedder-Policy': 'require-corp' };
  const script = (body: string) => ({ contentType: 'text/javascript', headers, body });
  await other.route('**/bare.js', (route) => route.fulfill(script('delete self.VideoDecoder;')));
  await other.route('**/bare-decoder.js', (route) =>
    route.fulfill(script("import '/bare.js'; import '/dist/workers/decoder.js';")),
  );
  const outcome = await other.evaluate(async (clip) => {
    const source = await window.whylight.videoFile(clip, { end: 1, worker: '/bare-decoder.js' });
    let count = 0;
    for await (const frame of source.frames()) {
      count++;
      frame.close();
    }
    return { count, warnings: source.warnings$, open: window.whylight.openFrames() };
  }, clip);
  expect(outcome).toEqual({ count: 25, open: 0 });
  expect(other.workers()).toEqual([]);
  expect(complaints()).toEqual([]);
  await close();
});

test('a worker that dies in the middle: what it has sent, then WORKER_FAILED', async () => {
  const outcome = await page.evaluate(async (clip) => {
    let worker: Worker | undefined;
    const source = await window.whylight.videoFile(clip, {
      worker() {
        worker = new Worker('/dist/workers/decoder.js', { type: 'module' });
        return worker;
      },
    });
    let count = 0;
    const failure = await (async () => {
      for await (const frame of source.frames()) {
        frame.close();
        // what the page hears of a worker that threw
        if (++count === 3) worker?.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }));
      }
    })().catch(({ code, message }: { code: string; message: string }) => `${code}: ${message}`);
    const again = await source
      .frames()
      [Symbol.asyncIterator]()
      .next()
      .catch(({ code }: { code: string }) => code);
    await source.close();
    return { count, failure, again, open: window.whylight.openFrames() };
  }, clip);
  expect(outcome.count).toBeGreaterThanOrEqual(3);
  expect(outcome).toMatchObject({
    failure: 'WORKER_FAILED: The decoder worker stopped: out of memory.',
    again: 'WORKER_FAILED',
    open: 0,
  });
  await expect.poll(workers).toEqual([]);
});

test('the worker of a source that nobody can reach any more ends', async () => {
  await page.evaluate(async (clip) => {
    // an iteration that runs to its end needs nobody to hold the source
    for await (const frame of (await window.whylight.videoFile(clip, { end: 0.2 })).frames()) frame.close();
  }, clip);
  expect(workers()).toHaveLength(1);
  const devtools = await page.context().newCDPSession(page);
  await expect
    .poll(
      async () => {
        await devtools.send('HeapProfiler.collectGarbage');
        return workers();
      },
      { timeout: 10_000 },
    )
    .toEqual([]);
});
