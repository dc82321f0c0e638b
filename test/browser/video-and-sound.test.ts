import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Explainer, Frame, Metrics } from '../../sdk/index.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { side, smallModel } from './explainer-model.js';
import { inWords, secondsOf, verdictsOf } from './promise.js';
import { openRecordedExplainer, type Row, record, stop, taken } from './stream-run.js';

declare global {
  interface Window {
    listener: Explainer;
    listenerMetrics: Metrics | undefined;
    spectrogram: ImageData;
  }
}

let browser: TestBrowser;
let opened: TestPage | undefined;
beforeAll(async () => {
  browser = await openChromium({
    camera: 'test/media/glyphs-camera.mjpeg',
    webgpu: false,
    args: ['--autoplay-policy=no-user-gesture-required'],
  });
});
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});
afterAll(() => browser.close());

/**
 * A second explainer, of a model that sees sound: an AnalyserNode hears a tone that climbs, and its last columns of decibels are a grey
 * picture, 25 times a second. A window is captured when it ends. Gives the stream's number.
 */
async function listen(page: TestPage['page'], budgetMs: number): Promise<number> {
  await page.route('**/models/sound.onnx', (route) =>
    route.fulfill({ body: Buffer.from(smallModel({ channels: 1 })), contentType: 'application/octet-stream' }),
  );
  return page.evaluate(
    async ([budgetMs, side]) => {
      const { createExplainer, explain, framesOf } = window.whylight;
      window.listener = await createExplainer({
        model: '/models/sound.onnx',
        metadata: { input: { shape: [1, 1, side, side] } },
        worker: '/dist/workers/explainer.js',
        device: 'wasm',
        numThreads: 1,
      });
      window.listener.metrics$.subscribe((metrics) => {
        window.listenerMetrics = metrics;
      });
      const audio = new AudioContext();
      const tone = new OscillatorNode(audio, { frequency: 500 });
      const analyser = new AnalyserNode(audio, { fftSize: 2 * side, smoothingTimeConstant: 0 });
      tone.connect(analyser);
      tone.frequency.linearRampToValueAtTime(audio.sampleRate / 3, audio.currentTime + 20);
      tone.start();

      window.spectrogram = new ImageData(side, side);
      const { data } = window.spectrogram;
      const bins = new Uint8Array(side);
      const hear = async (): Promise<Frame> => {
        const captured = performance.now();
        analyser.getByteFrequencyData(bins);
        data.copyWithin(0, 4);
        bins.forEach((loudness, bin) => {
          data.set([loudness, loudness, loudness, 255], 4 * (bin * side + side - 1));
        });
        const image = await createImageBitmap(window.spectrogram);
        const timestamp = Math.round(audio.currentTime * 1e6);
        const seen = { width: side, height: side, rotation: 0, dropped: 0 } as const;
        return { timestamp, captured, ...seen, image, close: () => image.close() };
      };
      const sound = {
        info: { kind: 'live', decoder: 'images' },
        async *frames({ signal }: { signal?: AbortSignal } = {}) {
          while (signal?.aborted !== true) {
            await new Promise((resolve) => setTimeout(resolve, 40));
            yield await hear();
          }
        },
      } as const;

      const rows: Row[] = [];
      const subscription = framesOf(sound)
        .pipe(explain(window.listener, { budgetMs }))
        .subscribe(({ age, quality, dropped, timing, device }) => {
          const { index: rung, rungs, rung: name } = quality!;
          const { queue: wait, inference } = timing;
          rows.push({ at: performance.now(), age, rung, rungs, name, dropped, wait, inference, device, bytes: 0 });
        });
      const stop = async () => {
        subscription.unsubscribe();
        await audio.close();
      };
      return window.recordings.push({ rows, frames: { open: 0 }, stop }) - 1;
    },
    [budgetMs, side] as const,
  );
}

test('a model that sees and one that hears share the page: neither starves, and each keeps its budget', async () => {
  opened = await browser.open();
  const { page, complaints } = opened;
  await openRecordedExplainer(page, { model: '/samples/models/glyphs/glyphs-int8.onnx' });
  // the promise is about this machine as it is now: other work may be going on beside it
  const alone = await record(page);
  const enough = (stream: number, count: number) =>
    page.waitForFunction(([index, wanted]) => window.recordings[index!]!.rows.length >= wanted!, [stream, count], {
      timeout: 60_000,
    });
  await enough(alone, 40);
  // the first frames have waited while everything warmed up
  const ages = (await taken(page, alone)).slice(15).map(({ age }) => age);
  const budgetMs = Math.max(100, 2 * Math.max(...ages));
  await stop(page, alone);

  const hears = await listen(page, budgetMs);
  const sees = await record(page, { budgetMs });
  for (const stream of [sees, hears]) await enough(stream, 5);
  await page.waitForTimeout(12_000);
  let [keptByBoth, judged] = [0, 0];
  for (const [name, stream] of Object.entries({ sees, hears })) {
    const rows = await taken(page, stream);
    const [from, to] = [rows[0]!.at + 1500, rows.at(-1)!.at];
    const seconds = secondsOf(rows, { from, to, budgetMs, steps: [], foreign: [] });
    const { kept, broken } = verdictsOf(seconds);
    keptByBoth += kept;
    judged += kept + broken;
    const gap = Math.max(...rows.slice(1).map(({ at }, index) => at - rows[index]!.at));
    const rungs = [...new Set(rows.map((row) => row.name))].join(', ');
    console.log(
      `${name}: ${rows.length} explanations, seconds in ${budgetMs.toFixed(0)} ms: ${inWords(verdictsOf(seconds))}, ` +
        `longest gap ${gap.toFixed(0)} ms (${rungs})`,
    );
    expect(seconds.length, name).toBeGreaterThanOrEqual(10);
    expect(Math.min(...seconds.map(({ explanations }) => explanations)), name).toBeGreaterThanOrEqual(3);
    expect(gap, name).toBeLessThan(1000);
  }
  expect(keptByBoth / judged, `${keptByBoth} of ${judged} seconds`).toBeGreaterThanOrEqual(0.95);

  const { eye, ear, shades } = await page.evaluate(() => ({
    eye: window.metrics!,
    ear: window.listenerMetrics!,
    shades: new Set(window.spectrogram.data).size,
  }));
  for (const { streams, memory } of [eye, ear]) {
    expect(streams.at(-1)!.fpsOut).toBeGreaterThan(0);
    expect(streams.at(-1)!.rung).toMatchObject({ budgetMs });
    expect(memory.workers).toBeGreaterThanOrEqual(1);
  }
  // it was a sound that was heard
  expect(shades).toBeGreaterThan(5);
  for (const stream of [sees, hears]) await stop(page, stream);
  const open = () => page.evaluate(() => [window.explainer.open.frames, window.listener.open.frames]);
  await expect.poll(open).toEqual([0, 0]);
  expect(complaints()).toEqual([]);
});
