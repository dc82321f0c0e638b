import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  largest,
  normalize,
  normalizer,
  percentile,
  type RelevanceMap,
  runningMaximum,
  sumChannels,
} from '../../../sdk/render/normalize.js';

const map = (...values: number[]): RelevanceMap => ({
  width: values.length,
  height: 1,
  data: Float32Array.from(values),
});
const anyMap = fc
  .array(fc.oneof(fc.float({ noNaN: false }), fc.constantFrom(0, -0, Number.NaN, 1e-45, -3e38)), { maxLength: 40 })
  .map((values) => map(...values));

describe('sumChannels', () => {
  test('sums the channels of both layouts, so that the whole stays the logit', () => {
    const planes = Float32Array.from([1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60, -100, 0, 0, 0, 0, 100]);
    const pixels = new Float32Array(18);
    for (let c = 0; c < 3; c++) for (let p = 0; p < 6; p++) pixels[p * 3 + c] = planes[c * 6 + p]!;
    const expected = { width: 3, height: 2, data: Float32Array.from([-89, 22, 33, 44, 55, 166]) };
    expect(sumChannels(planes, [1, 3, 2, 3])).toEqual(expected);
    expect(sumChannels(planes, [3, 2, 3])).toEqual(expected);
    expect(sumChannels(pixels, [1, 2, 3, 3], 'NHWC')).toEqual(expected);
  });

  test('takes one channel, no channel, and one of a batch', () => {
    const values = Float32Array.from([1, -2, 3, -4]);
    expect(sumChannels(values, [2, 2]).data).toEqual(values);
    expect(sumChannels(values, [1, 1, 2, 2]).data).toEqual(values);
    expect(sumChannels(values, [2, 2, 1, 1], 'NCHW', 1)).toEqual({ width: 1, height: 1, data: Float32Array.of(-1) });
    expect(sumChannels(values, [2, 1, 1, 2], 'NHWC', 0)).toEqual({ width: 1, height: 1, data: Float32Array.of(-1) });
  });

  test('refuses shapes that are no picture, naming them', () => {
    expect(() => sumChannels(new Float32Array(8), [1, 1, 2, 2, 2])).toThrow(/\[1, 1, 2, 2, 2\]/);
    expect(() => sumChannels(new Float32Array(7), [1, 2, 2, 2])).toThrow(/has 7 values/);
    expect(() => sumChannels(new Float32Array(8), [1, 2, 2, 2], 'NCHW', 1)).toThrow(/sample is 1/);
  });
});

describe('normalize', () => {
  test('whatever comes in, −1…1 comes out, with zero at zero and signs kept', () => {
    fc.assert(
      fc.property(anyMap, (input) => {
        const [output] = normalizer()([input], 0);
        for (const [i, value] of output!.data.entries()) {
          expect(Math.abs(value)).toBeLessThanOrEqual(1);
          if (!Number.isFinite(input.data[i]!) || input.data[i] === 0) expect(Math.abs(value)).toBe(0);
          else if (value !== 0) expect(Math.sign(value)).toBe(Math.sign(input.data[i]!));
        }
        expect(Number.isFinite(output!.maximum)).toBe(true);
      }),
    );
  });

  test('the strongest pixel becomes ±1', () => {
    expect([...normalizer()([map(1, -4, 2)], 0)[0]!.data]).toEqual([0.25, -1, 0.5]);
    expect(normalizer()([map(1, -4, 2)], 0)[0]!.maximum).toBe(4);
  });

  test('zero, empty and NaN maps give zeros and a maximum of 0', () => {
    for (const input of [map(), map(0, -0), map(Number.NaN, Number.POSITIVE_INFINITY)]) {
      const [output] = normalizer({ scale: { percentile: 99 }, running: {} })([input], 0);
      expect([...output!.data].every((value) => value === 0)).toBe(true);
      expect(output!.maximum).toBe(0);
    }
    expect([...normalize(map(1, 2), 0).data]).toEqual([0, 0]);
    expect([...normalize(map(1, 2), Number.NaN).data]).toEqual([0, 0]);
  });

  test('a percentile lets one outlier be cut off instead of darkening all', () => {
    const values = Array.from({ length: 100 }, (_, i) => (i === 50 ? -1000 : i / 100));
    expect(percentile(map(...values), 99)).toBeCloseTo(0.99, 6);
    expect(percentile(map(...values), 100)).toBe(1000);
    const [output] = normalizer({ scale: { percentile: 99 } })([map(...values)], 0);
    expect(output!.data[50]).toBe(-1);
    expect(output!.data[99]).toBe(1);
    expect(output!.data[10]).toBeCloseTo(0.1 / 0.99, 5);
    expect(percentile(map(0, 0, 0, 7), 50)).toBe(7);
    expect(() => percentile(map(1), 0)).toThrow(/percentile is 0/);
  });

  test('joint maps share one scale, single ones do not', () => {
    const maps = [map(1, 2), map(-8, 4)];
    expect(normalizer({ joint: true })(maps, 0).map(({ maximum }) => maximum)).toEqual([8, 8]);
    expect([...normalizer({ joint: true })(maps, 0)[0]!.data]).toEqual([0.125, 0.25]);
    expect(normalizer()(maps, 0).map(({ maximum }) => maximum)).toEqual([2, 8]);
    expect(largest(map(-8, Number.NaN, 4))).toBe(8);
  });
});

describe('runningMaximum', () => {
  test('rises at once and loses half of the distance per half-life', () => {
    const follow = runningMaximum({ halfLife: 2 });
    expect(follow(1, 0)).toBe(1);
    expect(follow(9, 40_000)).toBe(9);
    expect(follow(1, 2_040_000)).toBeCloseTo(5, 12);
    expect(follow(1, 4_040_000)).toBeCloseTo(3, 12);
  });

  test('goes by time and not by calls: 60 frames a second end where 10 do', () => {
    const at = (fps: number) => {
      const follow = runningMaximum({ halfLife: 0.7 });
      follow(10, 0);
      let level = 0;
      for (let i = 1; i <= 3 * fps; i++) level = follow(2, (i * 1e6) / fps);
      return level;
    };
    expect(at(60)).toBeCloseTo(at(10), 9);
    expect(at(10)).toBeCloseTo(2 + 8 * 2 ** (-3 / 0.7), 9);
  });

  test('does not flicker: alternating frames change the scale by less than two percent', () => {
    const follow = runningMaximum({ halfLife: 2 });
    follow(1, 0);
    const levels = Array.from({ length: 100 }, (_, i) => follow(i % 2 === 0 ? 1 : 0.2, (i + 1) * 40_000));
    for (const level of levels) expect(level).toBeGreaterThan(0.98);
  });

  test('with an attack, half of a rise is done after it', () => {
    const follow = runningMaximum({ attack: 0.1 });
    follow(2, 0);
    expect(follow(4, 100_000)).toBeCloseTo(3, 12);
  });

  test('begins anew when time goes back, and after nothing at all', () => {
    const follow = runningMaximum();
    follow(100, 5_000_000);
    expect(follow(1, 1_000_000)).toBe(1);
    const silent = runningMaximum({ attack: 5 });
    expect(silent(Number.NaN, 0)).toBe(0);
    expect(silent(3, 40_000)).toBe(3);
  });

  test('checks its settings', () => {
    expect(() => runningMaximum({ halfLife: 0 })).toThrow(/halfLife is 0/);
    expect(() => runningMaximum({ attack: -1 })).toThrow(/attack is -1/);
  });
});
