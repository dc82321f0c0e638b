import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filterBankModel, pitches } from '../reference/filter-bank.js';
import { openModel } from '../reference/run.js';
import { tone, wav } from '../reference/wav.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { findMedia, serveFile } from './real-media.js';

/** What a window's explanation was, as plain data. */
interface Explained {
  readonly device: string;
  readonly pitch: number;
  readonly label: string;
  readonly dims: readonly number[];
  readonly relevance: readonly number[];
  /** ΣR at the samples, as the audit has it */
  readonly arrived: number;
  readonly logit: number;
  readonly timestamp: number;
  readonly frame: object;
  readonly fit: object;
  /** length and rate of the window that was kept */
  readonly kept: readonly number[];
  readonly dropped: number;
}

const samples = 1600;
const { model, metadata } = filterBankModel(samples);

let browser: TestBrowser;
let opened: TestPage;
let page: TestPage['page'];
beforeAll(async () => {
  browser = await openChromium();
  opened = await browser.open();
  page = opened.page;
  await serveFile(page, '/models/bank.onnx', Buffer.from(model));
  for (const pitch of pitches) {
    await serveFile(page, `/sounds/${pitch}.wav`, wav([tone(44_100, pitch, 0.35)], 44_100));
  }
});
afterAll(() => browser.close());

test('a model that hears explains a file’s windows, on the GPU as on the CPU', async () => {
  const { explained, counts } = await page.evaluate(
    async ({ metadata, samples, pitches }) => {
      const { createExplainer, explain, openFrames, soundFile } = window.whylight;
      const explained: Explained[] = [];
      const counts: { readonly frames: number; readonly open: number }[] = [];
      for (const device of ['wasm', 'webgpu'] as const) {
        const explainer = await createExplainer({
          model: '/models/bank.onnx',
          metadata,
          device,
          composite: 'epsilon',
          audit: true,
          worker: '/dist/workers/explainer.js',
        });
        for (const pitch of pitches) {
          const source = await soundFile(`/sounds/${pitch}.wav`, { sampleRate: 16_000, windowSamples: samples });
          await new Promise<void>((resolve, reject) => {
            source.frames$.pipe(explain(explainer, { keepFrame: true })).subscribe({
              next: (explanation) => {
                const { topK, relevance, timestamp, frame, fit, sound, logit, conservation, dropped } = explanation;
                const { dims, data } = relevance.wave!;
                explained.push({
                  device: explanation.device,
                  pitch,
                  label: topK[0]!.label,
                  dims,
                  relevance: [...data],
                  arrived: conservation!.sums.at(-1)!,
                  logit,
                  timestamp,
                  frame,
                  fit,
                  kept: [sound!.samples.length, sound!.sampleRate],
                  dropped,
                });
                sound!.close();
              },
              error: reject,
              complete: resolve,
            });
          });
          await source.close();
        }
        const { frames } = explainer.open;
        await explainer.dispose();
        counts.push({ frames, open: openFrames() });
      }
      return { explained, counts };
    },
    { metadata, samples, pitches },
  );
  expect(counts).toEqual([
    { frames: 0, open: 0 },
    { frames: 0, open: 0 },
  ]);
  const [cpu, gpu] = ['wasm', 'webgpu'].map((name) => explained.filter(({ device }) => device === name));
  // 0.35 s are three windows and a half
  expect(cpu).toHaveLength(4 * pitches.length);
  expect(gpu).toHaveLength(cpu!.length);
  for (const [index, run] of cpu!.entries()) {
    expect(run.label).toBe(`${run.pitch} Hz`);
    expect(run.dims).toEqual([1, samples]);
    expect(run.timestamp).toBe((index % 4) * 100_000);
    expect(run.frame).toEqual({ width: samples, height: 1, rotation: 0 });
    expect(run.fit).toEqual({ scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 });
    expect(run.kept).toEqual([samples, 16_000]);
    expect(run.dropped).toBe(0);
    const sum = run.relevance.reduce((sum, value) => sum + value, 0);
    expect(Math.abs(sum - run.arrived)).toBeLessThan(1e-3 * run.logit);
    const other = gpu![index]!;
    expect(other).toMatchObject({ label: run.label, timestamp: run.timestamp, dims: run.dims });
    const largest = Math.max(...run.relevance.map(Math.abs));
    const off = run.relevance.map((value, at) => Math.abs(value - other.relevance[at]!));
    expect(Math.max(...off)).toBeLessThan(1e-3 * largest);
  }
  expect(opened.complaints()).toEqual([]);
});

test('what the model does not take ends its stream, by the names of both, and everything is closed', async () => {
  const failures = await page.evaluate(async (metadata) => {
    const { createExplainer, explain, images, openFrames, soundFile } = window.whylight;
    const worker = '/dist/workers/explainer.js';
    const hearing = await createExplainer({ model: '/models/bank.onnx', metadata, device: 'wasm', worker });
    const seeing = await createExplainer({
      model: '/samples/models/glyphs/glyphs.onnx',
      device: 'wasm',
      worker,
    });
    const picture = await createImageBitmap(new ImageData(8, 6));
    const sound = (windowSamples: number) => soundFile('/sounds/500.wav', { sampleRate: 16_000, windowSamples });
    const failures: [string, string][] = [];
    for (const [source, explainer, options] of [
      [images([picture]), hearing, {}],
      [await sound(1600), seeing, {}],
      [await sound(800), hearing, {}],
      [await sound(1600), hearing, { draw: {} }],
    ] as const) {
      await new Promise<void>((resolve) => {
        (source.frames$ as import('rxjs').Observable<import('../../sdk/index.js').MediaFrame>)
          .pipe(explain(explainer, options))
          .subscribe({
            error: (error) => {
              failures.push([error.code, error.message]);
              resolve();
            },
            complete: resolve,
          });
      });
      await source.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    const open = [hearing.open.frames, seeing.open.frames, openFrames()];
    await Promise.all([hearing.dispose(), seeing.dispose()]);
    return { failures, open };
  }, metadata);
  expect(failures.failures.map(([code]) => code)).toEqual([
    'INPUT_MISMATCH',
    'INPUT_MISMATCH',
    'INPUT_MISMATCH',
    'OPTION_INVALID',
  ]);
  expect(failures.failures[0]![1]).toMatch(/1600 samples at 16000 Hz as "wave".*picture/);
  expect(failures.failures[1]![1]).toMatch(/pictures of .* pixels.*1600 samples at 16000 Hz/);
  expect(failures.failures[2]![1]).toMatch(/1600 samples.*800 samples/);
  expect(failures.open).toEqual([0, 0, 0]);
});

const [voice, speech] = ['silero_vad_16k_op15.onnx', 'test_speech.wav'].map((name) => findMedia(`silero_vad/${name}`));
test.skipIf(voice === undefined || speech === undefined)(
  'a real model, which lies beside the project, tells voice in real speech as it does without an explanation',
  async () => {
    await serveFile(page, '/models/voice.onnx', readFileSync(voice!));
    await serveFile(page, '/sounds/speech.wav', readFileSync(speech!));
    const windows = await page.evaluate(async () => {
      const { createExplainer, explain, soundFile } = window.whylight;
      const explainer = await createExplainer({
        model: '/models/voice.onnx',
        metadata: {
          input: { name: 'input', shape: [1, 576], sampleRate: 16_000 },
          // every window by itself, as the first of a stream
          inputValues: { state: 0, sr: 16_000 },
        },
        composite: 'epsilon',
        device: 'wasm',
        worker: '/dist/workers/explainer.js',
      });
      // the model's 512 samples, after the last 64 of those before
      const options = { sampleRate: 16_000, windowSamples: 576, hopSamples: 512, end: 4 };
      const source = await soundFile('/sounds/speech.wav', options);
      const windows: { samples: number[]; voice: number; dims: readonly number[]; relevance: number[] }[] = [];
      await new Promise<void>((resolve, reject) => {
        source.frames$.pipe(explain(explainer, { keepFrame: true })).subscribe({
          next: ({ sound, outputs, relevance }) => {
            const { dims, data } = relevance.input!;
            windows.push({
              samples: [...sound!.samples],
              voice: outputs.output!.data[0]!,
              dims,
              relevance: [...data],
            });
            sound!.close();
          },
          error: reject,
          complete: resolve,
        });
      });
      await source.close();
      await explainer.dispose();
      return windows;
    });
    expect(windows).toHaveLength(125);
    const original = await openModel(readFileSync(voice!));
    for (const { samples, voice, dims, relevance } of windows) {
      const { output } = await original.run({
        input: { dims: [1, 576], data: samples },
        state: { dims: [2, 1, 128], data: new Array(256).fill(0) },
        sr: { dims: [], data: BigInt64Array.of(16_000n) },
      });
      expect(voice).toBeCloseTo(output!.data[0]!, 4);
      expect(dims).toEqual([1, 576]);
      expect(relevance.every(Number.isFinite)).toBe(true);
    }
    await original.release();
    // there are pauses and there is speech
    const voices = windows.map(({ voice }) => voice);
    expect(Math.min(...voices)).toBeLessThan(0.1);
    expect(Math.max(...voices)).toBeGreaterThan(0.5);
  },
);
