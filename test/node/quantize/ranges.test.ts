import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countAbove,
  countValues,
  emptyHistogram,
  filledBins,
  type Histogram,
} from '../../../sdk/quantize/histogram.js';
import { type CalibrationMethod, divergenceOf, rangeOf, saturation } from '../../../sdk/quantize/ranges.js';
import {
  activationSteps,
  quantizeBias,
  quantizeWeights,
  roundHalfToEven,
  stepTo,
} from '../../../sdk/quantize/steps.js';
import { seeded } from '../../reference/random.js';

/** Values as activations have them: many small, few large, a share of exact zeros; of one or both signs. */
function activations(seed: number, count: number, twoSided: boolean, scale = 1): Float32Array {
  const random = seeded(seed);
  return Float32Array.from({ length: count }, () => {
    if (random() < 0.3) return 0;
    const value = -Math.log(1 - random()) * scale;
    return twoSided && random() < 0.4 ? -value / 2 : value;
  });
}

function histogramOf(...frames: readonly Float32Array[]): Histogram {
  const histogram = emptyHistogram();
  for (const frame of frames) expect(countValues(histogram, frame)).toBe(true);
  return histogram;
}

/** Σ (x − x̂)² by the definition of quantization, value by value. */
function errorOf(values: Float32Array, { low, high }: { low: number; high: number }): number {
  const scale = (high - low) / 255;
  const zero = Math.round(-low / scale);
  return values.reduce((sum, value) => {
    const integer = Math.min(255, Math.max(0, Math.round(value / scale) + zero));
    return sum + (value - (integer - zero) * scale) ** 2;
  }, 0);
}

const frames = fc
  .array(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 }), {
    minLength: 1,
    maxLength: 6,
  })
  .map((lists) => lists.map((list) => Float32Array.from(list)));

describe('a histogram', () => {
  it('holds every value once, whatever the order of the frames', () => {
    fc.assert(
      fc.property(frames, (all) => {
        const histogram = histogramOf(...all);
        const backwards = histogramOf(...[...all].reverse());
        const values = all.flatMap((frame) => [...frame]);
        expect(histogram).toEqual(backwards);
        const inBins = filledBins(histogram).counts.reduce((sum, count) => sum + count, 0);
        expect(inBins + histogram.zeros).toBe(values.length);
        expect(histogram.total).toBe(values.length);
        expect(histogram.low).toBe(Math.min(...values));
        expect(histogram.high).toBe(Math.max(...values));
      }),
    );
  });

  it('puts every value into the bin that covers it', () => {
    fc.assert(
      fc.property(frames, (all) => {
        const histogram = histogramOf(...all);
        if (histogram.width === 0) return;
        const { middles, counts } = filledBins(histogram);
        const values = all.flatMap((frame) => [...frame]).filter((value) => value !== 0);
        for (const [k, middle] of middles.entries()) {
          const inside = values.filter(
            (value) => Math.floor(value / histogram.width) + 0.5 === middle / histogram.width,
          );
          expect(inside.length).toBe(counts[k]);
        }
        expect(Number.isInteger(Math.log2(histogram.width))).toBe(true);
      }),
    );
  });

  it('counts what lies above a value', () => {
    const values = activations(5, 20_000, true);
    const histogram = histogramOf(values);
    for (const value of [-0.5, -0.01, 0.003, 0.5, 1, 4]) {
      const above = values.filter((other) => other > value).length;
      expect(Math.abs(countAbove(histogram, value) - above)).toBeLessThan(40);
    }
  });

  it.each([NaN, Infinity, -Infinity])('refuses %s and counts nothing of that frame', (wrong) => {
    const histogram = histogramOf(Float32Array.of(1, 2));
    expect(countValues(histogram, Float32Array.of(3, wrong))).toBe(false);
    expect(histogram.total).toBe(2);
  });
});

describe('the range of an activation', () => {
  const methods: readonly CalibrationMethod[] = ['min-max', 'percentile', 'entropy', 'mse'];

  it.each(methods)('by %s lies within the values and contains 0', (method) => {
    fc.assert(
      fc.property(frames, (all) => {
        const histogram = histogramOf(...all);
        const { low, high } = rangeOf(histogram, { method, percentile: 99 });
        expect(low).toBeLessThanOrEqual(0);
        expect(high).toBeGreaterThanOrEqual(0);
        expect(low).toBeGreaterThanOrEqual(Math.min(0, histogram.low));
        expect(high).toBeLessThanOrEqual(Math.max(0, histogram.high));
      }),
      { numRuns: 15 },
    );
  });

  it.each([false, true])('by percentile keeps that share of the values (both signs: %s)', (twoSided) => {
    for (const [seed, percentile] of [99.9, 99, 90].entries()) {
      const values = activations(seed, 50_000, twoSided);
      const histogram = histogramOf(values.subarray(0, 20_000), values.subarray(20_000));
      const range = rangeOf(histogram, { method: 'percentile', percentile });
      const outside = values.filter((value) => value < range.low || value > range.high).length;
      expect(Math.abs(outside / values.length - (100 - percentile) / 100)).toBeLessThan(5e-4);
      expect(saturation(histogram, range)).toBeCloseTo(outside / values.length, 3);
      if (twoSided) {
        const below = values.filter((value) => value < range.low).length;
        expect(Math.abs(below / values.length - (100 - percentile) / 200)).toBeLessThan(5e-4);
      }
    }
  });

  it.each([false, true])('by mse has the least squared error of all ranges on a grid (both signs: %s)', (twoSided) => {
    const values = activations(11, 8000, twoSided);
    const found = errorOf(values, rangeOf(histogramOf(values), { method: 'mse', percentile: 100 }));
    const [low, high] = [Math.min(0, ...values), Math.max(...values)];
    let least = Infinity;
    for (let a = 10; a <= 40; a++) {
      for (let b = twoSided ? 10 : 40; b <= 40; b++) {
        least = Math.min(least, errorOf(values, { low: (low * b) / 40, high: (high * a) / 40 }));
      }
    }
    expect(found).toBeLessThan(least * 1.03);
    expect(found).toBeLessThan(errorOf(values, { low, high }));
  });

  it('by entropy minimizes the divergence that its definition gives, and the divergence is that of plain loops', () => {
    for (const twoSided of [false, true]) {
      const values = activations(twoSided ? 3 : 4, 4000, twoSided).filter((value) => value !== 0);
      const histogram = histogramOf(values);
      const { width } = histogram;
      const range = rangeOf(histogram, { method: 'entropy', percentile: 100 });
      const bins = (from: number, to: number) => [Math.floor(from / width), Math.ceil(to / width)] as const;
      const [from, to] = bins(range.low, range.high);
      const chosen = plainDivergence(values, width, from, to);
      expect(divergenceOf(histogram, from, to, 256)).toBeCloseTo(chosen, 6);
      for (const share of [1, 0.9, 0.75, 0.6, 0.5, 0.4]) {
        const [a, b] = bins(histogram.low * share, histogram.high * share);
        const candidate = twoSided ? ([a, b] as const) : ([0, b] as const);
        expect(divergenceOf(histogram, ...candidate, 256)).toBeCloseTo(plainDivergence(values, width, ...candidate), 6);
        // the search looks at 128 shares: another one may be a little better
        expect(chosen).toBeLessThan(plainDivergence(values, width, ...candidate) + 2e-3);
      }
    }
  });

  it('of nothing but zeros is a point, whose steps are usable', () => {
    const range = rangeOf(histogramOf(new Float32Array(9)), { method: 'mse', percentile: 100 });
    expect(range).toEqual({ low: 0, high: 0 });
    expect(activationSteps(range)).toEqual({ scale: 1, zeroPoint: 0 });
  });
});

/** Kullback–Leibler divergence after Migacz 2017, from the values themselves. */
function plainDivergence(values: Float32Array, width: number, from: number, to: number): number {
  const count = to - from;
  const inside = new Array<number>(count).fill(0);
  const reference = new Array<number>(count).fill(0);
  for (const value of values) {
    const bin = Math.floor(value / width) - from;
    if (bin >= 0 && bin < count) inside[bin]!++;
    if (bin < 0 && from >= 0) continue;
    reference[Math.min(count - 1, Math.max(0, bin))]!++;
  }
  const kept = inside.reduce((a, b) => a + b, 0);
  const all = reference.reduce((a, b) => a + b, 0);
  const levels = Math.min(256, count);
  let divergence = 0;
  for (let level = 0; level < levels; level++) {
    const bins: number[] = [];
    for (let k = 0; k < count; k++) if (Math.floor((k * levels) / count) === level) bins.push(k);
    const filled = bins.filter((k) => reference[k]! > 0);
    const mass = bins.reduce((sum, k) => sum + inside[k]!, 0);
    for (const k of filled) {
      const p = reference[k]! / all;
      const q = Math.max(mass / filled.length, 1e-9 * all) / kept;
      divergence += p * Math.log(p / q);
    }
  }
  return divergence;
}

describe('steps', () => {
  const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 });

  it('stand for 0 exactly, start at 0 where nothing is negative, and end within the range', () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        const range = { low: Math.min(a, b, 0), high: Math.max(a, b, 0) };
        const steps = activationSteps(range);
        expect(stepTo(0, steps)).toBe(0);
        expect(steps.scale).toBe(Math.fround(steps.scale));
        expect(steps.scale).toBeGreaterThan(0);
        if (range.low < 0) return;
        expect(steps.zeroPoint).toBe(0);
        if (range.high > 1e-10) expect(Math.fround(255 * steps.scale)).toBeLessThanOrEqual(range.high);
      }),
    );
  });

  it('round halves to even', () => {
    expect([-2.5, -1.5, 0, 0.5, 1.5, 2.5, 2.4999].map(roundHalfToEven)).toEqual([-2, -2, 0, 0, 2, 2, 2]);
  });

  it('of weights are one per output channel, and no weight is further than half a step away', () => {
    const random = seeded(2);
    const weights = Float64Array.from({ length: 60 }, (_, at) => (random() * 2 - 1) * 10 ** Math.floor(at / 12));
    const { integers, scales } = quantizeWeights(weights, 5, (at) => Math.floor(at / 12));
    for (const [at, weight] of weights.entries()) {
      const scale = scales[Math.floor(at / 12)]!;
      expect(Math.abs(integers[at]! * scale - weight)).toBeLessThanOrEqual(scale * 0.5000001);
    }
    for (let channel = 0; channel < 5; channel++) {
      expect(Math.max(...integers.subarray(channel * 12, channel * 12 + 12).map(Math.abs))).toBe(127);
    }
  });

  it('of tiny weights beside a large bias are coarse enough for the bias to fit int32', () => {
    const { scales } = quantizeWeights([1e-12, 1], 2, (at) => at, [1e3 / (0.1 * 2 ** 30), 0]);
    const bias = quantizeBias([1e3, 1], 0.1, scales);
    expect(bias[0]! * Math.fround(scales[0]! * 0.1)).toBeCloseTo(1e3, 3);
    expect(Math.abs(bias[0]!)).toBeLessThanOrEqual(2 ** 30 * 1.001);
  });
});
