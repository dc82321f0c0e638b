import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tone, wav } from '../reference/wav.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { findMedia, serveFile } from './real-media.js';

const folder = mkdtempSync(join(tmpdir(), 'whylight-sound-'));
const heard = join(folder, 'heard.wav');
// it is played over and over: whole periods
writeFileSync(heard, wav([tone(44_100, 1000, 2)], 44_100));

let browser: TestBrowser;
let opened: TestPage;
let page: TestPage['page'];
beforeAll(async () => {
  browser = await openChromium({ webgpu: false, args: [`--use-file-for-fake-audio-capture=${heard}`] });
  opened = await browser.open();
  page = opened.page;
});
afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

interface Shown {
  readonly timestamp: number;
  readonly duration: number;
  readonly captured: number;
  readonly now: number;
  readonly dropped: number;
  readonly samples: number[];
}

/** All windows of a file, and with what it ended. */
const windowsOf = (address: string, options: { windowSamples: number; hopSamples?: number; start?: number }) =>
  page.evaluate(
    async ({ address, options }) => {
      const { soundFile, openFrames } = window.whylight;
      const windows: Shown[] = [];
      let most = 0;
      let failure = '';
      const source = await soundFile(address, { sampleRate: 16_000, ...options }).catch((error) => {
        failure = error.code;
      });
      if (source === undefined) return { windows, most, failure, open: openFrames(), info: undefined };
      await new Promise<void>((resolve) => {
        source.frames$.subscribe({
          next: (sound) => {
            most = Math.max(most, openFrames());
            const { timestamp, duration, captured, dropped, samples } = sound;
            windows.push({ timestamp, duration, captured, now: performance.now(), dropped, samples: [...samples] });
            setTimeout(() => sound.close());
          },
          error: (error) => {
            failure = error.code;
            resolve();
          },
          complete: resolve,
        });
      });
      // whatever is still to be closed
      await new Promise((resolve) => setTimeout(resolve, 20));
      await source.close();
      return { windows, most, failure, open: openFrames(), info: source.info };
    },
    { address, options },
  );

test('a file’s windows have its samples at the model’s rate, and come as they are closed', async () => {
  const [left, right] = [tone(44_100, 440, 1), tone(44_100, 3000, 1)];
  await serveFile(page, '/sounds/two.wav', wav([left, right], 44_100));
  const given = await windowsOf('/sounds/two.wav', { windowSamples: 4000, hopSamples: 1000, start: 0.25 });
  expect(given).toMatchObject({ failure: '', open: 0, most: 2 });
  expect(given.info).toMatchObject({ kind: 'file', sampleRate: 16_000 });
  expect(given.info!.duration).toBeCloseTo(1, 3);
  expect(given.windows.map(({ timestamp }) => timestamp)).toEqual(
    Array.from({ length: 9 }, (_, index) => 250_000 + index * 62_500),
  );
  const [low, high] = [tone(16_000, 440, 1), tone(16_000, 3000, 1)];
  const expected = low.map((value, index) => (value + high[index]!) / 2);
  for (const { timestamp, duration, samples } of given.windows) {
    expect(duration).toBe(250_000);
    const at = (timestamp * 16_000) / 1e6;
    const off = samples.map((value, index) => Math.abs(value - expected[at + index]!));
    // the file ends at one second, and its last samples are mixed with the silence behind
    expect(Math.max(...off.slice(0, 15_950 - at))).toBeLessThan(1e-3);
  }
});

for (const path of ['media_spoken_digits/7_theo_1.wav', 'media_mdn/friday.mp4']) {
  const file = findMedia(path);
  test.skipIf(file === undefined)(
    `of ${path}, which lies beside the project, it is what the browser’s own decoder gives`,
    async () => {
      await serveFile(page, '/sounds/real', readFileSync(file!));
      const given = await windowsOf('/sounds/real', { windowSamples: 1600 });
      expect(given).toMatchObject({ failure: '', open: 0 });
      const ours = given.windows.flatMap(({ samples }) => samples);
      const likeness = await page.evaluate(async (ours) => {
        const bytes = await (await fetch('/sounds/real')).arrayBuffer();
        const buffer = await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(bytes);
        const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
        const theirs = Float32Array.from(
          channels[0]!,
          (_, index) => channels.reduce((sum, channel) => sum + channel[index]!, 0) / channels.length,
        );
        /** cosine of both, theirs so many samples later */
        const cosine = (shift: number) => {
          let [ab, aa, bb] = [0, 0, 0];
          for (let index = 0; index < theirs.length; index++) {
            const [a, b] = [theirs[index]!, ours[index + shift] ?? 0];
            [ab, aa, bb] = [ab + a * b, aa + a * a, bb + b * b];
          }
          return ab / Math.sqrt(aa * bb);
        };
        const shifts = Array.from({ length: 5 }, (_, index) => index - 2);
        const best = shifts.reduce((a, b) => (cosine(a) >= cosine(b) ? a : b));
        return { best, cosine: cosine(best), lengths: [theirs.length, ours.length] };
      }, ours);
      expect(likeness.cosine).toBeGreaterThan(0.995);
      expect(likeness.best).toBe(0);
    },
  );
}

test('what is damaged or no sound says so, after the windows that can be had', async () => {
  const whole = wav([tone(8000, 300, 1)], 8000);
  await serveFile(page, '/sounds/page.html', Buffer.from('<!doctype html><p>not found'));
  expect(await windowsOf('/sounds/page.html', { windowSamples: 800 })).toMatchObject({ failure: 'MEDIA_UNSUPPORTED' });
  expect(await windowsOf('/samples/media/glyphs.mp4', { windowSamples: 800 })).toMatchObject({
    failure: 'MEDIA_UNSUPPORTED',
  });
  expect(await windowsOf('/sounds/nowhere.wav', { windowSamples: 800 })).toMatchObject({
    failure: 'SOURCE_UNAVAILABLE',
  });
  const cut = await page.evaluate(
    async (bytes) => {
      const { openFrames, soundFile } = window.whylight;
      const source = await soundFile(new Blob([new Uint8Array(bytes)]), { sampleRate: 8000, windowSeconds: 0.1 });
      let count = 0;
      try {
        for await (const sound of source.frames()) {
          count++;
          sound.close();
        }
        return { count, code: 'none' };
      } catch (error) {
        return { count, code: (error as { code: string }).code, open: openFrames() };
      }
    },
    [...whole.subarray(0, whole.length / 2)],
  );
  expect(cut).toEqual({ count: 5, code: 'MEDIA_CORRUPT', open: 0 });
});

test('the microphone gives its newest windows, exact to a sample, captured when they end', async () => {
  const outcome = await page.evaluate(async () => {
    const { microphone, openFrames } = window.whylight;
    const tracks: MediaStreamTrack[] = [];
    const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints?: MediaStreamConstraints) => {
      const stream = await original(constraints);
      tracks.push(...stream.getTracks());
      return stream;
    };
    const source = await microphone({
      sampleRate: 16_000,
      windowSamples: 4000,
      hopSeconds: 0.04,
    });
    const windows: Shown[] = [];
    for await (const sound of source.frames()) {
      const { timestamp, duration, captured, dropped, samples } = sound;
      windows.push({ timestamp, duration, captured, now: performance.now(), dropped, samples: [...samples] });
      sound.close();
      // slower than windows come, from the eleventh on
      if (windows.length > 10) await new Promise((resolve) => setTimeout(resolve, 170));
      if (windows.length === 16) break;
    }
    // who hears ends its context before the track
    await new Promise((resolve) => setTimeout(resolve, 150));
    const left = { live: tracks.map((track) => track.readyState), open: openFrames() };
    let ended = { code: 'none', count: 0 };
    try {
      for await (const sound of source.frames()) {
        sound.close();
        if (++ended.count < 3) continue;
        // as when it is pulled out
        for (const track of tracks) {
          track.stop();
          track.dispatchEvent(new Event('ended'));
        }
      }
    } catch (error) {
      ended = { ...ended, code: (error as { code: string }).code };
    }
    await source.close();
    navigator.mediaDevices.getUserMedia = original;
    return {
      info: source.info,
      windows,
      left,
      ended,
      open: openFrames(),
      live: tracks.map((track) => track.readyState),
    };
  });
  expect(outcome.info).toEqual({ kind: 'live', decoder: 'microphone', sampleRate: 16_000 });
  expect(outcome.left).toEqual({ live: ['ended'], open: 0 });
  expect(outcome).toMatchObject({ ended: { code: 'SOURCE_ENDED' }, open: 0, live: ['ended', 'ended'] });
  const { windows } = outcome;
  expect(windows.slice(11).reduce((sum, { dropped }) => sum + dropped, 0)).toBeGreaterThan(10);
  for (const [index, { timestamp, duration, captured, now }] of windows.entries()) {
    expect(duration).toBe(250_000);
    expect(captured).toBeLessThanOrEqual(now);
    expect(captured).toBeGreaterThan(now - 2000);
    // by two ways to the page's clock: samples counted from the first window, and each window's own
    expect(Math.abs(timestamp / 1000 + 250 - captured)).toBeLessThan(60);
    const before = windows[index - 1];
    if (before === undefined) continue;
    const hops = (timestamp - before.timestamp) / 40_000;
    expect(hops).toBeCloseTo(Math.round(hops), 3);
    // what two windows share is the same to a bit, at the place that their timestamps say
    const shift = Math.round(hops) * 640;
    expect(windows[index]!.samples.slice(0, Math.max(0, 4000 - shift))).toEqual(before.samples.slice(shift));
  }
  // the tone that was played: two zero crossings a period
  const { samples } = windows.at(-1)!;
  const crossings = samples.slice(1).filter((value, index) => value >= 0 !== samples[index]! >= 0).length;
  expect(Math.abs(crossings - 500)).toBeLessThanOrEqual(2);
  expect(opened.complaints()).toEqual([
    // the address that does not answer
    expect.stringContaining('/sounds/nowhere.wav'),
  ]);
});

test('a worklet that is not there is WORKER_FAILED, a rate that is none OPTION_INVALID', async () => {
  const codes = await page.evaluate(async () => {
    const { microphone } = window.whylight;
    const code = (promise: Promise<unknown>) =>
      promise.then(
        () => 'none',
        (error) => error.code as string,
      );
    const source = await microphone({ sampleRate: 16_000, windowSeconds: 1, worklet: '/dist/workers/nowhere.js' });
    const missing = await code(source.frames()[Symbol.asyncIterator]().next());
    await source.close();
    return [missing, await code(microphone({ sampleRate: 0, windowSeconds: 1 }))];
  });
  expect(codes).toEqual(['WORKER_FAILED', 'OPTION_INVALID']);
});

test('a refusal is SOURCE_PERMISSION, and says that it is the microphone', async () => {
  const refusing = await openChromium({ webgpu: false, permission: false });
  try {
    const { page } = await refusing.open();
    const refusal = await page.evaluate(() =>
      window.whylight.microphone({ sampleRate: 16_000, windowSeconds: 1 }).then(
        () => undefined,
        ({ code, message }) => ({ code, message }),
      ),
    );
    expect(refusal).toMatchObject({ code: 'SOURCE_PERMISSION' });
    expect(refusal!.message).toMatch(/microphone was refused/);
  } finally {
    await refusing.close();
  }
});
