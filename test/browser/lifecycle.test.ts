import { readdirSync, readFileSync } from 'node:fs';
import type { CDPSession, Page } from 'playwright-core';
import { afterEach, expect, test } from 'vitest';
import type { Explainer, Frame } from '../../sdk/index.js';
import { allowCamera, type BrowserOptions, openChromium, type TestBrowser } from './chromium.js';
import { labels, openExplainerPage } from './explainer-page.js';
import { openRecordedExplainer, type Row as Recorded, record, stop, taken } from './stream-run.js';

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

const camera = 'test/media/glyphs-camera.mjpeg';

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
    while (explainer.memory.workers < 2) {
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

test.each([
  { device: 'wasm', order: [1, 0, 1] },
  // a GPU in software is slow: the small model follows itself
  { device: 'webgpu', order: [0] },
] as const)(
  'a model is swapped in mid-stream on $device: the camera stays on, and only one explainer’s worth is held',
  async ({ device, order }) => {
    const { page, complaints } = await open({ camera, webgpu: device === 'webgpu' });
    const swaps = await page.evaluate(
      async ([device, order]) => {
        const { camera, explain, openFrames } = window.whylight;
        let opened = 0;
        const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (constraints) => {
          opened++;
          return original(constraints);
        };
        const source = await camera();
        const models = ['/models/small.onnx', '/samples/models/glyphs/glyphs.onnx'];
        const ended: string[] = [];

        /** A stream of the camera on one model, and its results so far. */
        const play = (explainer: Explainer) => {
          const seen: { timestamp: number; top: string; dims: readonly number[] }[] = [];
          const subscription = source.frames$.pipe(explain(explainer, { budgetMs: 5000 })).subscribe({
            next: ({ timestamp, topK, relevance }) =>
              seen.push({ timestamp, top: topK[0]!.label, dims: Object.values(relevance)[0]!.dims }),
            error: (error: Error) => ended.push(error.message),
            complete: () => ended.push('complete'),
          });
          return { explainer, seen, subscription };
        };
        const until = async (what: () => boolean) => {
          while (!what() && ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
        };

        let playing = play(await window.start({ model: models[0]!, device }));
        await until(() => playing.seen.length >= 3);
        const swaps = [];
        for (const model of order.map((index) => models[index]!)) {
          const before = playing;
          const had = before.seen.length;
          const held = before.explainer.memory.gpu;
          const explainer = await window.start({ model, device });
          const meanwhile = before.seen.length - had;
          // the newcomer shares the camera before the other one lets go of it
          playing = play(explainer);
          await until(() => playing.seen.length >= 1);
          before.subscription.unsubscribe();
          await before.explainer.dispose();
          const stood = before.seen.length;
          await until(() => playing.seen.length >= 5);
          swaps.push({
            meanwhile,
            held,
            labels: [...explainer.labels],
            input: explainer.metadata.input.shape,
            seen: playing.seen.slice(),
            late: before.seen.length - stood,
            left: { ...before.explainer.open, ...before.explainer.memory },
            workers: explainer.memory.workers,
            sessions: explainer.open.sessions,
            frames: openFrames(),
          });
        }
        playing.subscription.unsubscribe();
        await playing.explainer.dispose();
        await source.close();
        const { open, memory } = playing.explainer;
        return { swaps, opened, ended, open, gpu: memory.gpu };
      },
      [device, order] as const,
    );
    const input = { small: [1, 3, 32, 32], glyphs: swaps.swaps[0]!.input };
    expect(swaps.ended).toEqual([]);
    for (const [
      index,
      { meanwhile, held, labels: own, seen, late, left, workers, sessions, frames },
    ] of swaps.swaps.entries()) {
      const isSmall = order[index] === 0;
      // the former model goes on until the next one is ready, and gives nothing after that
      expect(meanwhile).toBeGreaterThan(0);
      expect(late).toBe(0);
      expect(own).toEqual(isSmall ? labels : expect.not.arrayContaining([...labels]));
      for (const { top, dims } of seen) {
        expect(own).toContain(top);
        expect(dims).toEqual(isSmall ? input.small : input.glyphs);
      }
      const times = seen.map(({ timestamp }) => timestamp);
      expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
      expect(held > 0).toBe(device === 'webgpu');
      expect(left).toMatchObject({ frames: 0, tensors: 0, sessions: 0, workers: 0, wasm: 0, gpu: 0 });
      // beside a GPU's session one on WASM stands by
      expect([workers, sessions]).toEqual([1, device === 'webgpu' ? 2 : 1]);
      expect(frames).toBeLessThanOrEqual(3);
    }
    expect(input.glyphs).toEqual(device === 'wasm' ? expect.not.arrayContaining([32]) : input.small);
    expect(swaps.opened).toBe(1);
    expect(swaps.open).toEqual({ frames: 0, tensors: 0, sessions: 0 });
    expect(swaps.gpu).toBe(0);
    await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
    await expect.poll(() => page.workers().length).toBe(0);
    expect(complaints()).toEqual([]);
  },
);

/** The process of this test's own browser that reads its cameras. */
function captureProcess(): number {
  const parentOf = (pid: number) => Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const isOwn = (pid: number): boolean => pid === process.pid || (pid > 1 && isOwn(parentOf(pid)));
  const found = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      return command.includes('video_capture.mojom.VideoCaptureService') && isOwn(Number(name));
    } catch {
      // it has ended meanwhile
      return false;
    }
  });
  if (found.length !== 1) throw new Error(`${found.length} processes read the camera.`);
  return Number(found[0]);
}

/** Explains a new camera in `window.rows` until it ends, which `window.ended` says. */
async function playCamera(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const { camera, explain } = window.whylight;
    Object.assign(window, { rows: [], ended: '' });
    const source = await camera();
    source.frames$.pipe(explain(window.explainer, { budgetMs: 5000 })).subscribe({
      next: ({ timestamp, device, dropped }) => window.rows.push({ timestamp, device, dropped, relevance: [] }),
      error: ({ code, message }) => {
        window.ended = `${code}: ${message}`;
      },
      complete: () => {
        window.ended = 'complete';
      },
    });
  });
}

// which process reads the camera is only found in Linux's /proc
test.skipIf(process.platform !== 'linux')('a camera that goes away ends its stream, and is there again', async () => {
  const { page, complaints } = await open({ camera, webgpu: false });
  await page.evaluate(async () => {
    window.explainer = await window.start();
  });
  for (let round = 0; round < 2; round++) {
    await playCamera(page);
    await page.waitForFunction(() => window.ended || window.rows.length >= 5);
    // all that a page sees of a camera that is pulled out: its track ends
    process.kill(captureProcess(), 'SIGKILL');
    await page.waitForFunction(() => window.ended);
    const { ended, explained } = await page.evaluate(() => ({ ended: window.ended, explained: window.rows.length }));
    expect(ended).toMatch(/^SOURCE_ENDED: The camera ended: it was unplugged/);
    expect(explained).toBeGreaterThanOrEqual(5);
    await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
    expect(await page.evaluate(() => window.explainer.open)).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  }
  await page.evaluate(() => window.explainer.dispose());
  expect(complaints()).toEqual([]);
});

test('permission that is withdrawn in mid-stream is an error with its code, and once it is given again the camera goes on', async () => {
  const { page, complaints } = await open({ camera, webgpu: false });
  await page.evaluate(async () => {
    window.explainer = await window.start();
  });
  await playCamera(page);
  await page.waitForFunction(() => window.ended || window.rows.length >= 5);
  await allowCamera(page, false);
  await page.waitForFunction(() => window.ended);
  // Chromium does not always tell the page, when its track ends, that permission is gone: then it looks as if it had been unplugged
  expect(await page.evaluate(() => window.ended)).toMatch(
    /^(SOURCE_PERMISSION: The camera ended: its permission was withdrawn|SOURCE_ENDED: The camera ended: )/,
  );
  expect(await page.evaluate(() => window.rows.length)).toBeGreaterThanOrEqual(5);
  await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
  expect(await page.evaluate(() => window.explainer.open)).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  await allowCamera(page, true);
  await playCamera(page);
  await page.waitForFunction(() => window.ended || window.rows.length >= 5);
  expect(await page.evaluate(() => window.ended)).toBe('');
  await page.evaluate(() => window.explainer.dispose());
  expect(complaints()).toEqual([]);
});

/** A tab that the test framework does not keep visible: it is driven over the browser's own connection. */
async function openTab(devtools: CDPSession, browserContextId: string, url: string) {
  const { targetId } = await devtools.send('Target.createTarget', { url, browserContextId });
  const { sessionId } = await devtools.send('Target.attachToTarget', { targetId, flatten: false });
  const pending = new Map<number, (reply: { result: unknown }) => void>();
  devtools.on('Target.receivedMessageFromTarget', (event) => {
    if (event.sessionId !== sessionId) return;
    const reply = JSON.parse(event.message) as { id?: number; result: unknown };
    if (reply.id !== undefined) pending.get(reply.id)?.(reply);
  });
  let calls = 0;
  const send = (method: string, params: object): Promise<{ result: unknown }> =>
    new Promise((resolve, reject) => {
      const id = ++calls;
      pending.set(id, resolve);
      const message = JSON.stringify({ id, method, params });
      devtools.send('Target.sendMessageToTarget', { sessionId, message }).catch(reject);
    });
  const evaluate = async (call: (argument: never) => unknown, argument?: unknown): Promise<unknown> => {
    const expression = `(${call})(${argument === undefined ? '' : JSON.stringify(argument)})`;
    const { result } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    const { exceptionDetails, result: value } = result as {
      exceptionDetails?: { exception?: { description?: string } };
      result: { value?: unknown };
    };
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description);
    return value.value;
  };
  return {
    page: { evaluate } as unknown as Page,
    show: () => devtools.send('Target.activateTarget', { targetId }),
  };
}

test('a tab that is hidden, gets no time and is shown again goes on with what is new', async () => {
  browser = await openChromium({ camera, webgpu: false });
  const devtools = await browser.browser.newBrowserCDPSession();
  const { browserContextId } = await devtools.send('Target.createBrowserContext');
  const { page, show } = await openTab(devtools, browserContextId, `${browser.origin}/blank.html`);
  const polled = <T>(call: () => T) => expect.poll(() => page.evaluate(call), { timeout: 20_000 });
  await polled(() => window.whylight !== undefined).toBe(true);
  await openRecordedExplainer(page);
  const stream = await record(page, { budgetMs: 2000 });
  const next = async (count: number): Promise<readonly Recorded[]> => {
    await polled(() => window.recordings[0]!.rows.length).toBeGreaterThanOrEqual(count);
    return taken(page, stream);
  };
  const held = () =>
    page.evaluate(() => ({
      workers: window.explainer.memory.workers,
      sessions: window.explainer.open.sessions,
      wasm: window.explainer.memory.wasm,
      frames: window.whylight.openFrames(),
    }));
  await next(5);
  const before = await held();

  const other = await openTab(devtools, browserContextId, 'about:blank');
  await other.show();
  await polled(() => document.visibilityState).toBe('hidden');
  // it goes on as long as the browser lets it, and then gets no time at all
  await next(3);
  const back = await page.evaluate(() => {
    const until = performance.now() + 1500;
    while (performance.now() < until);
    return performance.now();
  });
  await show();
  await polled(() => document.visibilityState).toBe('visible');
  const shown = await page.evaluate(() => performance.now());
  const rows = await next((await page.evaluate(() => window.recordings[0]!.rows.length)) + 10);
  // one frame was being explained, one waited and one was held by the source: the rest of the time away is dropped
  expect(rows.filter(({ at, age }) => at >= back && at - age < back - 100).length).toBeLessThanOrEqual(3);
  expect(Math.min(...rows.slice(-5).map(({ at, age }) => at - age))).toBeGreaterThan(shown);
  const after = await held();
  expect({ ...after, frames: 0 }).toEqual({ ...before, frames: 0 });
  expect(Math.max(before.frames, after.frames)).toBeLessThanOrEqual(3);
  await stop(page, stream);
  await polled(() => window.whylight.openFrames()).toBe(0);
  await page.evaluate(() => window.explainer.dispose());
  expect(await page.evaluate(() => window.explainer.open)).toEqual({ frames: 0, tensors: 0, sessions: 0 });
});
