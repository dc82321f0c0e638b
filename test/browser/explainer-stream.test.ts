import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Explainer, Explanation, Frame } from '../../sdk/index.js';
import { openChromium, type TestBrowser } from './chromium.js';
import { smallModel } from './explainer-model.js';

declare global {
  interface Window {
    /** a source of `count` VideoFrames; every frame records how often it is closed */
    video: (kind: 'live' | 'file', count: number) => { source: VideoSource; closes: number[]; readonly pulled: number };
    small: () => Promise<Explainer>;
  }
}

/** What `framesOf` needs of a source. */
interface VideoSource {
  readonly info: { readonly kind: 'live' | 'file'; readonly decoder: 'images' };
  frames(options?: { readonly signal?: AbortSignal }): AsyncIterable<Frame>;
}

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

async function open() {
  const opened = await browser.open();
  await opened.page.evaluate(
    (bytes) => {
      window.small = () => window.whylight.createExplainer({ model: Uint8Array.from(bytes), device: 'wasm' });
      window.video = (kind, count) => {
        const closes: number[] = [];
        const canvas = new OffscreenCanvas(64, 48);
        const context = canvas.getContext('2d')!;
        let pulled = 0;
        const source: VideoSource = {
          info: { kind, decoder: 'images' },
          async *frames() {
            for (let index = 0; index < count; index++) {
              context.fillStyle = `hsl(${index * 20} 80% 50%)`;
              context.fillRect(0, 0, 64, 48);
              context.clearRect(index % 32, 8, 16, 16);
              const timestamp = index * 40_000;
              const image = new VideoFrame(canvas, { timestamp, duration: 40_000 });
              closes[index] = 0;
              pulled++;
              yield {
                timestamp,
                duration: 40_000,
                captured: performance.now(),
                width: 64,
                height: 48,
                rotation: 0,
                dropped: 0,
                image,
                close() {
                  closes[index]!++;
                  image.close();
                },
              };
              if (kind === 'live') await new Promise((resolve) => setTimeout(resolve, 1));
            }
          },
        };
        return {
          source,
          closes,
          get pulled() {
            return pulled;
          },
        };
      };
    },
    [...smallModel()],
  );
  return opened;
}

test('a file is explained without a gap, in order, and nothing stays open', async () => {
  const { page, complaints, close } = await open();
  const result = await page.evaluate(async () => {
    const { explain, framesOf } = window.whylight;
    const explainer = await window.small();
    const { source, closes } = window.video('file', 40);
    const seen: { timestamp: number; dropped: number; age: number; total: number }[] = [];
    let most = 0;
    await new Promise<void>((resolve, reject) => {
      framesOf(source)
        .pipe(explain(explainer))
        .subscribe({
          next: ({ timestamp, dropped, age, timing }) => {
            most = Math.max(most, explainer.open.frames);
            seen.push({ timestamp, dropped, age, total: timing.total });
          },
          error: reject,
          complete: resolve,
        });
    });
    return { seen, closes, most, open: explainer.open };
  });
  expect(result.seen.map(({ timestamp }) => timestamp)).toEqual(Array.from({ length: 40 }, (_, i) => i * 40_000));
  expect(result.seen.every(({ dropped }) => dropped === 0)).toBe(true);
  expect(result.seen.every(({ age, total }) => total > 0 && age >= total - 1)).toBe(true);
  expect(result.closes).toEqual(Array.from({ length: 40 }, () => 1));
  expect(result.most).toBeLessThanOrEqual(1);
  expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  expect(complaints()).toEqual([]);
  await close();
});

test('live frames that come too fast are dropped, counted and closed', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(async () => {
    const { explain, framesOf } = window.whylight;
    const explainer = await window.small();
    const { source, closes } = window.video('live', 60);
    const seen: { index: number; dropped: number }[] = [];
    await new Promise<void>((resolve, reject) => {
      framesOf(source)
        .pipe(explain(explainer, { keepFrame: true }))
        .subscribe({
          next: ({ timestamp, dropped, picture }: Explanation) => {
            seen.push({ index: timestamp / 40_000, dropped });
            picture?.close();
          },
          error: reject,
          complete: resolve,
        });
    });
    return { seen, closes, open: explainer.open };
  });
  // every frame is either explained or told of as dropped by the next one that is
  expect(result.seen.at(-1)?.index).toBe(59);
  expect(result.seen.reduce((sum, { dropped }) => sum + dropped + 1, 0)).toBe(60);
  expect(result.closes).toEqual(Array.from({ length: 60 }, () => 1));
  expect(result.open.frames).toBe(0);
  await close();
});

test('unsubscribing in the middle closes what was pulled, and the explainer goes on with the next stream', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(async () => {
    const { explain, framesOf } = window.whylight;
    const explainer = await window.small();
    const first = window.video('file', 1000);
    await new Promise<void>((resolve) => {
      let count = 0;
      const subscription = framesOf(first.source)
        .pipe(explain(explainer))
        .subscribe(() => {
          if (++count < 5) return;
          subscription.unsubscribe();
          resolve();
        });
    });
    const second = window.video('file', 3);
    let explained = 0;
    await new Promise<void>((resolve) => {
      framesOf(second.source)
        .pipe(explain(explainer))
        .subscribe({ next: () => explained++, complete: resolve });
    });
    return { closes: first.closes, pulled: first.pulled, explained, open: explainer.open };
  });
  expect(result.pulled).toBeLessThan(12);
  expect(result.closes).toEqual(Array.from({ length: result.pulled }, () => 1));
  expect(result.explained).toBe(3);
  expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  await close();
});

test('one frame that cannot be drawn: a warning when live, an error in a file', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(async () => {
    const { explain, framesOf } = window.whylight;
    const explainer = await window.small();
    const warnings: string[] = [];
    explainer.warnings$.subscribe(({ code }) => warnings.push(code));
    const run = (kind: 'live' | 'file') =>
      new Promise<string[]>((resolve) => {
        const { source } = window.video(kind, 3);
        const broken: VideoSource = {
          info: source.info,
          async *frames() {
            for await (const frame of source.frames()) {
              // its image is gone before it arrives
              if (frame.timestamp === 40_000) frame.image.close();
              yield frame;
              await new Promise((resume) => setTimeout(resume, 200));
            }
          },
        };
        const seen: string[] = [];
        framesOf(broken)
          .pipe(explain(explainer))
          .subscribe({
            next: ({ timestamp, dropped }) => seen.push(`${timestamp / 40_000}+${dropped}`),
            error: ({ code }) => resolve([...seen, code]),
            complete: () => resolve([...seen, '|']),
          });
      });
    return { live: await run('live'), file: await run('file'), warnings, open: explainer.open };
  });
  expect(result.live).toEqual(['0+0', '2+1', '|']);
  expect(result.file).toEqual(['0+0', 'FRAME_FAILED']);
  expect(result.warnings).toEqual(['FRAME_FAILED']);
  expect(result.open.frames).toBe(0);
  await close();
});

test('a GPU that computes wrongly, or whose runtime does not load, is left for WASM with the figures', async () => {
  const { page, close } = await open();
  const bytes = [...smallModel()];
  const wrong = await page.evaluate(async (bytes) => {
    const explainer = await window.whylight.createExplainer({
      model: Uint8Array.from(bytes),
      worker: '/test/browser/faulty-gpu-worker.js',
      wasmPaths: '/dist/workers',
    });
    const { device, open } = explainer;
    await explainer.dispose();
    return { device, open };
  }, bytes);
  expect(wrong.device.device).toBe('wasm');
  expect(wrong.device.tried.map(({ device, outcome }) => `${device} ${outcome}`)).toEqual([
    'webgpu differs',
    'wasm chosen',
  ]);
  expect(wrong.device.reason).toMatch(/differs from WASM by 1\.0e\+0 of the largest output/);
  expect(wrong.open).toEqual({ frames: 0, tensors: 0, sessions: 1 });

  await page.route('**/*.asyncify.wasm', (route) => route.fulfill({ status: 404 }));
  const missing = await page.evaluate(async (bytes) => {
    const explainer = await window.whylight.createExplainer({
      model: Uint8Array.from(bytes),
      worker: '/test/browser/real-gpu-worker.js',
      wasmPaths: '/dist/workers/',
    });
    const { device } = explainer;
    await explainer.dispose();
    return device;
  }, bytes);
  expect(missing.device).toBe('wasm');
  expect(missing.tried.map(({ device, outcome }) => `${device} ${outcome}`)).toEqual(['webgpu failed', 'wasm chosen']);
  await close();
});
