import { describe, expect, test } from 'vitest';
import { pageClock } from '../../../sdk/sources/page-clock.js';
import { resampler } from '../../../sdk/sources/resample.js';
import { cutterOf, type Decoded, type SoundSelection } from '../../../sdk/sources/sound-track.js';
import { checkWindows, type WindowOptions } from '../../../sdk/sources/sound-window.js';
import { type Cut, windowing } from '../../../sdk/sources/windowing.js';

/** Samples that are their own places. */
const places = (from: number, to: number) => Float32Array.from({ length: to - from }, (_, index) => from + index);
const shown = (cuts: readonly Cut[]) => cuts.map(({ start, samples }) => [start, ...samples]);
const make = (size: number, hop: number) => windowing(size, hop, () => new Float32Array(size));

describe('windows', () => {
  test.each([
    { size: 128, hop: 128 },
    { size: 400, hop: 160 },
    { size: 5, hop: 3 },
    { size: 100, hop: 250 },
  ])('of $size samples every $hop have the samples of their places, whatever pieces these come in', ({ size, hop }) => {
    const windows = make(size, hop);
    const cuts: Cut[] = [];
    let at = 37;
    for (let piece = 0; at < 2000; piece++) {
      const length = 1 + ((piece * 61) % 128);
      cuts.push(...windows.push(places(at, at + length), at));
      at += length;
    }
    expect(cuts).toHaveLength(Math.floor((at - 37 - size) / hop) + 1);
    for (const [index, { start, samples }] of cuts.entries()) {
      expect(start).toBe(37 + index * hop);
      expect([...samples]).toEqual([...places(start, start + size)]);
    }
  });

  test('a window is there with its last sample', () => {
    const windows = make(4, 2);
    expect(windows.push(places(0, 3), 0)).toEqual([]);
    expect(shown(windows.push(places(3, 4), 3))).toEqual([[0, 0, 1, 2, 3]]);
    expect(shown(windows.push(places(4, 8), 4))).toEqual([
      [2, 2, 3, 4, 5],
      [4, 4, 5, 6, 7],
    ]);
  });

  test('none spans a gap, and what comes twice is heard once', () => {
    const windows = make(4, 4);
    windows.push(places(0, 6), 0);
    expect(shown(windows.push(places(10, 15), 10))).toEqual([[10, 10, 11, 12, 13]]);
    expect(shown(windows.push(places(12, 18), 12))).toEqual([[14, 14, 15, 16, 17]]);
  });

  test('the end fills up with silence what no window holds, and nothing else', () => {
    const windows = make(4, 2);
    windows.push(places(1, 6), 1);
    expect(shown(windows.end())).toEqual([[3, 3, 4, 5, 0]]);
    expect(windows.end()).toEqual([]);
    windows.push(places(0, 4), 0);
    expect(windows.end()).toEqual([]);
  });
});

describe('another rate', () => {
  const tone = (rate: number, frequency: number, from: number, length: number) =>
    Float32Array.from({ length }, (_, index) => Math.sin((2 * Math.PI * frequency * (from + index)) / rate));

  test.each([
    [44_100, 16_000, 0],
    [48_000, 16_000, 1234],
    [8000, 16_000, 7],
    [11_025, 22_050, 0],
    [22_050, 16_000, 99_999],
  ])('of %i brought to %i a tone is the same tone, to a thousandth', (from, to, at) => {
    const seconds = 0.25;
    for (const share of [0.01, 0.3, 0.85]) {
      const frequency = (share * Math.min(from, to)) / 2;
      const { first, push, end } = resampler(from, to, at);
      const given: number[] = [];
      const samples = tone(from, frequency, at, seconds * from);
      for (let start = 0; start < samples.length; start += 1000)
        given.push(...push(samples.subarray(start, start + 1000)));
      given.push(...end());
      expect(first).toBe(Math.ceil((at * to) / from));
      expect(Math.abs(given.length - seconds * to)).toBeLessThanOrEqual(1);
      const expected = tone(to, frequency, first, given.length);
      // at both ends there is the silence around
      const inner = given.slice(200, -200);
      const off = inner.map((value, index) => Math.abs(value - expected[index + 200]!));
      expect(Math.max(...off)).toBeLessThan(1e-3);
    }
  });

  test('what the new rate cannot hold is not mirrored into it', () => {
    const { push } = resampler(44_100, 16_000, 0);
    const given = [...push(tone(44_100, 8500, 0, 44_100))].slice(200);
    expect(Math.max(...given.map(Math.abs))).toBeLessThan(1e-3);
  });
});

describe('decoded sound', () => {
  const decoded = (timestamp: number, channels: readonly Float32Array[], sampleRate = 8000) => {
    const state = { closes: 0 };
    const sample = {
      timestamp,
      sampleRate,
      numberOfFrames: channels[0]!.length,
      numberOfChannels: channels.length,
      copyTo: (into: Float32Array, { planeIndex }: { planeIndex: number }) => into.set(channels[planeIndex]!),
      close: () => {
        state.closes++;
      },
    } as unknown as Decoded;
    return { sample, state };
  };
  const whole: SoundSelection = { sampleRate: 8000, size: 100, hop: 100, start: 0, end: Number.POSITIVE_INFINITY };
  const cutter = (selection: Partial<SoundSelection> = {}) =>
    cutterOf({ ...whole, ...selection }, () => new Float32Array(100));

  test('is the mean of its channels, and closed', () => {
    const { sample, state } = decoded(0, [places(0, 100), places(100, 200)]);
    const [cut] = cutter().push(sample);
    expect([...cut!.samples]).toEqual([...places(50, 150)]);
    expect(state.closes).toBe(1);
  });

  test('begins at the sample that is asked for, and ends before the one that is not', () => {
    const cuts = cutter({ start: 0.01, end: 0.035 });
    const given = [...cuts.push(decoded(0, [places(0, 400)]).sample), ...cuts.end()];
    expect(given.map(({ start }) => start)).toEqual([80, 180]);
    expect([...given[0]!.samples]).toEqual([...places(80, 180)]);
    expect([...given[1]!.samples]).toEqual([...places(180, 280)]);
  });

  test('timestamps that are rounded leave no hole; a hole ends a window in silence and begins another', () => {
    const cuts = cutter();
    expect(cuts.push(decoded(0, [places(0, 60)]).sample)).toEqual([]);
    // 7.5 ms, as a container that counts milliseconds has it
    expect(cuts.push(decoded(0.008, [places(60, 120)]).sample).map(({ start }) => start)).toEqual([0]);
    const after = cuts.push(decoded(1, [places(8000, 8130)]).sample);
    expect(shown(after).map(([start, first]) => [start, first])).toEqual([
      [100, 100],
      [8000, 8000],
    ]);
    expect([...after[0]!.samples.subarray(20)]).toEqual(Array.from({ length: 80 }, () => 0));
    expect(cuts.end().map(({ start }) => start)).toEqual([8100]);
  });

  test('has its places in the new rate', () => {
    const cuts = cutter({ sampleRate: 4000 });
    const given = cuts.push(decoded(0.5, [places(0, 400)]).sample);
    expect(given.map(({ start }) => start)).toEqual([2000]);
  });
});

test('a sound card’s clock may be slower than the page’s, and a delay that stays is forgotten only as fast', () => {
  const clock = pageClock(2e-4);
  // every second of the device takes 1.0001 s, and what comes is 3 ms late, at times 40 ms
  const late = [3, 40, 3, 3, 40, 3];
  const off = late.map((delay, second) => {
    const now = 1000 + second * 1000.1;
    return clock(second * 1e6, now + delay) - now;
  });
  for (const error of off) expect(Math.abs(error - 3)).toBeLessThan(0.25);
});

describe('options', () => {
  const rate = { sampleRate: 16_000 };
  test('are in samples or in seconds', () => {
    expect(checkWindows({ ...rate, windowSeconds: 0.975 })).toEqual({ sampleRate: 16_000, size: 15_600, hop: 15_600 });
    expect(checkWindows({ ...rate, windowSamples: 512, hopSeconds: 0.01 })).toMatchObject({ size: 512, hop: 160 });
  });

  test.each<[Partial<WindowOptions>, string]>([
    [{}, 'sampleRate'],
    [{ sampleRate: 16_000.5, windowSamples: 1 }, 'sampleRate'],
    [rate, 'windowSamples'],
    [{ ...rate, windowSamples: 0 }, 'windowSamples'],
    [{ ...rate, windowSamples: 10, windowSeconds: 1 }, 'windowSamples'],
    [{ ...rate, windowSeconds: 1e-9 }, 'windowSeconds'],
    [{ ...rate, windowSeconds: 1, hopSamples: 1.5 }, 'hopSamples'],
  ])('%o is refused by its name', (options, field) => {
    expect(() => checkWindows(options as WindowOptions)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', details: { field } }),
    );
  });
});
