import { binsBetween, countAbove, filledBins, type Histogram } from './histogram.js';
import { activationSteps, largestActivation, type Range, stepTo } from './steps.js';

/** How the range of an activation is found from the values that calibration saw. */
export type CalibrationMethod = 'min-max' | 'percentile' | 'entropy' | 'mse';

/** Settings of {@link rangeOf}. */
export interface RangeOptions {
  readonly method: CalibrationMethod;
  /** Per cent of the values that `percentile` keeps inside, in (0, 100]. */
  readonly percentile: number;
}

/**
 * The range that an activation is quantized over. It always contains 0, so that zero padding and ReLU are exact.
 * - `min-max`: all values
 * - `percentile`: all but (100 − percentile) per cent, half of them on each side where values have both signs
 * - `entropy`: least Kullback–Leibler divergence between the values and their quantization to 256 levels (Migacz 2017)
 * - `mse`: least mean squared error of the quantized values, clipped ones included
 */
export function rangeOf(histogram: Histogram, { method, percentile }: RangeOptions): Range {
  const full = fullRange(histogram);
  if (histogram.width === 0 || method === 'min-max') return full;
  switch (method) {
    case 'percentile':
      return percentileRange(histogram, full, percentile);
    case 'entropy':
      return entropyRange(histogram, full);
    case 'mse':
      return leastErrorRange(histogram, full);
  }
}

/** Smallest to greatest value, 0 included. */
export function fullRange({ low, high }: Histogram): Range {
  return { low: Math.min(0, low), high: Math.max(0, high) };
}

/** Share of the values, 0…1, that lie outside of a range and are clipped. */
export function saturation(histogram: Histogram, { low, high }: Range): number {
  if (histogram.total === 0) return 0;
  const above = histogram.high > high ? countAbove(histogram, high) : 0;
  const below = histogram.low < low ? histogram.total - countAbove(histogram, low) : 0;
  return (above + below) / histogram.total;
}

function percentileRange(histogram: Histogram, full: Range, percentile: number): Range {
  const twoSided = full.low < 0 && full.high > 0;
  const outside = (histogram.total * (100 - percentile)) / 100 / (twoSided ? 2 : 1);
  return {
    low: full.low === 0 ? 0 : Math.min(0, valueAbove(histogram, histogram.total - outside, full)),
    high: full.high === 0 ? 0 : Math.max(0, valueAbove(histogram, outside, full)),
  };
}

/** The value that `count` values lie above, by bisection: {@link countAbove} falls. */
function valueAbove(histogram: Histogram, count: number, { low, high }: Range): number {
  let [from, to] = [low, high];
  for (let step = 0; step < 60; step++) {
    const middle = (from + to) / 2;
    if (countAbove(histogram, middle) > count) from = middle;
    else to = middle;
  }
  return to;
}

/** Ranges that `entropy` compares, from the full one down to 256 bins. */
const ENTROPY_CANDIDATES = 128;

function entropyRange(histogram: Histogram, full: Range): Range {
  const { width } = histogram;
  const levels = largestActivation + 1;
  const [from, to] = [Math.floor(full.low / width), Math.ceil(full.high / width)];
  const least = Math.min(1, levels / (to - from));
  let best = { divergence: Infinity, range: full };
  for (let k = 0; k < ENTROPY_CANDIDATES; k++) {
    const share = 1 - ((1 - least) * k) / (ENTROPY_CANDIDATES - 1);
    const [low, high] = [Math.floor(from * share), Math.ceil(to * share)];
    const divergence = divergenceOf(histogram, low, high, levels);
    if (divergence < best.divergence) {
      best = { divergence, range: { low: Math.max(full.low, low * width), high: Math.min(full.high, high * width) } };
    }
  }
  return best.range;
}

/**
 * Kullback–Leibler divergence of the values, those outside of the bins [from, to) moved to the outermost, from the same values in
 * `levels` equal groups of bins, each group's count spread over those of its bins that have any (Migacz 2017).
 */
export function divergenceOf(histogram: Histogram, from: number, to: number, levels: number): number {
  const inside = binsBetween(histogram, from, to);
  const count = inside.length;
  const reference = inside.slice();
  const all = histogram.total - histogram.zeros;
  const above = to * histogram.width >= histogram.high ? 0 : countAbove(histogram, to * histogram.width);
  let sum = 0;
  for (const value of inside) sum += value;
  reference[count - 1]! += above;
  // what remains lies below, and rounding keeps nothing negative
  if (from < 0) reference[0]! += Math.max(0, all - sum - above);
  const groups = Math.min(levels, count);
  const total = reference.reduce((a, b) => a + b, 0);
  let divergence = 0;
  for (let group = 0; group < groups; group++) {
    const [start, end] = [Math.ceil((group * count) / groups), Math.ceil(((group + 1) * count) / groups)];
    let mass = 0;
    let filled = 0;
    for (let k = start; k < end; k++) {
      mass += inside[k]!;
      if (reference[k]! > 0) filled++;
    }
    // a bin that only clipped values fall into has next to nothing on the other side
    const spread = Math.max(mass / Math.max(1, filled), 1e-9 * total) / Math.max(sum, 1e-9 * total);
    for (let k = start; k < end; k++) {
      if (reference[k]! > 0) divergence += (reference[k]! / total) * Math.log(reference[k]! / total / spread);
    }
  }
  return divergence;
}

/** Shares of the full range that `mse` tries: on both sides at once, then on each. */
const SHARES = Array.from({ length: 76 }, (_, k) => 1 - k / 100);

function leastErrorRange(histogram: Histogram, full: Range): Range {
  const filled = filledBins(histogram);
  let best = { error: Infinity, range: full };
  const consider = (range: Range): void => {
    const error = squaredError(filled, range);
    if (error < best.error) best = { error, range };
  };
  for (const share of SHARES) consider({ low: full.low * share, high: full.high * share });
  if (full.low < 0 && full.high > 0) {
    for (const share of SHARES) consider({ low: best.range.low, high: full.high * share });
    for (const share of SHARES) consider({ low: full.low * share, high: best.range.high });
  }
  return best.range;
}

/** Sum over all values of (value − quantized value)². */
export function squaredError(
  { middles, counts }: { readonly middles: Float64Array; readonly counts: Float64Array },
  range: Range,
): number {
  const steps = activationSteps(range);
  let error = 0;
  for (let k = 0; k < middles.length; k++) error += counts[k]! * (middles[k]! - stepTo(middles[k]!, steps)) ** 2;
  return error;
}
