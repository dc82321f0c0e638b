import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Explainer, Metrics } from '../../sdk/index.js';
import { filterBankModel } from '../reference/filter-bank.js';
import { tone, wav } from '../reference/wav.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { inWords, secondsOf, verdictsOf } from './promise.js';
import { serveFile } from './real-media.js';
import { openRecordedExplainer, type Row, record, stop, taken } from './stream-run.js';

declare global {
  interface Window {
    listener: Explainer;
    listenerMetrics: Metrics | undefined;
    heard: string[];
  }
}

const folder = mkdtempSync(join(tmpdir(), 'whylight-heard-'));
const heard = join(folder, 'heard.wav');
// played over and over: a second of one pitch, and a second of another
writeFileSync(heard, wav([Float32Array.of(...tone(44_100, 1000, 1), ...tone(44_100, 4000, 1))], 44_100));
const windowSamples = 4096;

let browser: TestBrowser;
let opened: TestPage | undefined;
beforeAll(async () => {
  browser = await openChromium({
    camera: 'test/media/glyphs-camera.mjpeg',
    webgpu: false,
    args: [`--use-file-for-fake-audio-capture=${heard}`],
  });
});
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});
afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

/**
 * A second explainer, of a model that hears, and the microphone: 25 windows a second, each of them captured when it ends. Gives the
 * stream's number.
 */
async function listen(page: TestPage['page'], budgetMs: number): Promise<number> {
  const { model, metadata } = filterBankModel(windowSamples);
  await serveFile(page, '/models/bank.onnx', Buffer.from(model));
  return page.evaluate(
    async ([budgetMs, windowSamples, metadata]) => {
      const { createExplainer, explain, microphone, openFrames } = window.whylight;
      window.listener = await createExplainer({
        model: '/models/bank.onnx',
        metadata,
        worker: '/dist/workers/explainer.js',
        device: 'wasm',
        numThreads: 1,
      });
      window.listener.metrics$.subscribe((metrics) => {
        window.listenerMetrics = metrics;
      });
      const source = await microphone({
        sampleRate: 16_000,
        windowSamples,
        hopSeconds: 0.04,
        worklet: '/dist/workers/microphone.js',
      });
      window.heard = [];
      const rows: Row[] = [];
      const subscription = source.frames$
        .pipe(explain(window.listener, { budgetMs }))
        .subscribe(({ age, quality, dropped, timing, device, topK }) => {
          const { index: rung, rungs, rung: name } = quality!;
          const { queue: wait, inference } = timing;
          rows.push({ at: performance.now(), age, rung, rungs, name, dropped, wait, inference, device, bytes: 0 });
          window.heard.push(topK[0]!.label);
        });
      const stop = async () => {
        subscription.unsubscribe();
        await source.close();
      };
      const frames = {
        get open() {
          return openFrames();
        },
      };
      return window.recordings.push({ rows, frames, stop }) - 1;
    },
    [budgetMs, windowSamples, metadata] as const,
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

  const { eye, ear, labels } = await page.evaluate(() => ({
    eye: window.metrics!,
    ear: window.listenerMetrics!,
    labels: [...new Set(window.heard)],
  }));
  for (const { streams, memory } of [eye, ear]) {
    expect(streams.at(-1)!.fpsOut).toBeGreaterThan(0);
    expect(streams.at(-1)!.rung).toMatchObject({ budgetMs });
    expect(memory.workers).toBeGreaterThanOrEqual(1);
  }
  // it was what was played that was heard
  expect(labels).toEqual(expect.arrayContaining(['1000 Hz', '4000 Hz']));
  for (const stream of [sees, hears]) await stop(page, stream);
  const open = () =>
    page.evaluate(() => [window.explainer.open.frames, window.listener.open.frames, window.whylight.openFrames()]);
  await expect.poll(open).toEqual([0, 0, 0]);
  expect(complaints()).toEqual([]);
});
