import type { Page } from 'playwright-core';
import type { Explainer, Metrics } from '../../sdk/index.js';

/** One explanation as it was handed over. */
export interface Row {
  /** `performance.now()` of the page */
  readonly at: number;
  readonly age: number;
  /** place in the ladder, 0 is the best; −1 without a budget */
  readonly rung: number;
  readonly rungs: number;
  readonly name: string;
  readonly dropped: number;
  /** arrival → start */
  readonly wait: number;
  readonly inference: number;
  /** where it was explained */
  readonly device: string;
  /** bytes of its outputs and relevance, which were given back */
  readonly bytes: number;
}

/** A stream that runs in the page and notes what it hands over. */
interface Recording {
  readonly rows: Row[];
  readonly frames: { readonly open: number };
  stop(): Promise<void>;
}

declare global {
  interface Window {
    explainer: Explainer;
    metrics: Metrics | undefined;
    recordings: Recording[];
    burners: Worker[];
  }
}

/** What a recorded stream runs on. */
export interface StreamRunOptions {
  readonly device?: 'wasm' | 'webgpu';
  /** default `/samples/models/glyphs/glyphs.onnx` */
  readonly model?: string;
}

/** Opens the explainer of the page's recorded streams, with one thread of WebAssembly. */
export async function openRecordedExplainer(page: Page, options: StreamRunOptions = {}): Promise<void> {
  await page.evaluate(async ({ device = 'wasm', model = '/samples/models/glyphs/glyphs.onnx' }) => {
    const { createExplainer } = window.whylight;
    window.recordings ??= [];
    window.burners ??= [];
    window.explainer = await createExplainer({
      model: new URL(model, location.href),
      worker: '/dist/workers/explainer.js',
      device,
      numThreads: 1,
    });
    window.explainer.metrics$.subscribe((metrics) => {
      window.metrics = metrics;
    });
  }, options);
}

/** Starts a stream of the fake camera, or of the clip played in real time over and over; gives its number. */
export async function record(
  page: Page,
  options: { readonly budgetMs?: number; readonly source?: 'camera' | 'clip' } = {},
): Promise<number> {
  return page.evaluate(async ({ budgetMs, source: kind = 'camera' }) => {
    const { camera, explain, paced, videoFile } = window.whylight;
    const rows: Row[] = [];
    const source =
      kind === 'camera' ? await camera() : await videoFile(new URL('/samples/media/glyphs.mp4', location.href));
    const stopped = new AbortController();
    const play = () => {
      const frames$ = kind === 'camera' ? source.frames$ : source.frames$.pipe(paced());
      const subscription = frames$
        .pipe(explain(window.explainer, budgetMs === undefined ? {} : { budgetMs }))
        .subscribe({
          next: ({ age, quality, dropped, timing, device, outputs, relevance, release }) => {
            const arrays = [...Object.values(outputs), ...Object.values(relevance)];
            const bytes = arrays.reduce((sum, { data }) => sum + data.byteLength, 0);
            release();
            rows.push({
              at: performance.now(),
              age,
              rung: quality?.index ?? -1,
              rungs: quality?.rungs ?? 0,
              name: quality?.rung ?? '',
              dropped,
              wait: timing.queue,
              inference: timing.inference,
              device,
              bytes,
            });
          },
          complete: () => {
            if (!stopped.signal.aborted && kind === 'clip') play();
          },
          error: (error: Error) => console.error(`the stream ended: ${error.message}`),
        });
      stopped.signal.addEventListener('abort', () => subscription.unsubscribe(), { once: true });
    };
    play();
    return (
      window.recordings.push({
        rows,
        get frames() {
          return { open: window.whylight.openFrames() };
        },
        async stop() {
          stopped.abort();
          await source.close();
        },
      }) - 1
    );
  }, options);
}

/** Takes what a stream has handed over since it was last asked. */
export async function taken(page: Page, stream: number): Promise<readonly Row[]> {
  return page.evaluate((index) => window.recordings[index]!.rows.splice(0), stream);
}

/** Ends a stream and closes its source. */
export async function stop(page: Page, stream: number): Promise<void> {
  await page.evaluate((index) => window.recordings[index]!.stop(), stream);
}

/** Workers that burn a core each, until there are so many. */
export async function burn(page: Page, count: number): Promise<void> {
  await page.evaluate((wanted) => {
    while (window.burners.length < wanted) window.burners.push(new Worker('/test/browser/burner.js'));
    for (const worker of window.burners.splice(wanted)) worker.terminate();
  }, count);
}

/** Slows the page's main thread through the DevTools protocol; workers it does not reach. */
export async function throttle(page: Page, rate: number): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Emulation.setCPUThrottlingRate', { rate });
}

/** What the page and its workers hold. */
export interface Holdings {
  /** seconds since the page began */
  readonly at: number;
  /** bytes of the page's heap after a collection; the browser is started with `--js-flags=--expose-gc` */
  readonly heap: number;
  /** bytes of WebAssembly memory */
  readonly wasm: number;
  /** bytes of buffers and textures on the GPU */
  readonly gpu: number;
  readonly workers: number;
  /** VideoFrames and bitmaps that a source gave and nobody has closed */
  readonly frames: number;
  /** of ONNX Runtime, those on the GPU included */
  readonly tensors: number;
  readonly explained: number;
}

/** Takes stock after a collection. */
export async function holdings(page: Page): Promise<Holdings> {
  return page.evaluate(async () => {
    const { gc } = globalThis as unknown as { gc(): void };
    gc();
    // finalizers run in a task of their own
    await new Promise((resolve) => setTimeout(resolve, 50));
    gc();
    const { memory } = performance as unknown as { memory: { usedJSHeapSize: number } };
    const { metrics } = window;
    return {
      at: performance.now() / 1000,
      heap: memory.usedJSHeapSize,
      wasm: metrics?.memory.wasm ?? 0,
      gpu: metrics?.memory.gpu ?? 0,
      workers: metrics?.memory.workers ?? 0,
      frames: window.whylight.openFrames(),
      tensors: window.explainer.open.tensors,
      explained: metrics?.streams.at(-1)?.explained ?? 0,
    };
  });
}
