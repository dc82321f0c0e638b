/** Bins on each side of 0. */
const SIDE = 4096;

/**
 * How often a tensor had which values. The width of a bin is a power of two, so a wider range joins bins in pairs, exactly: the
 * histogram does not depend on the order of its frames.
 */
export interface Histogram {
  /** Width of a bin, a power of two; bin k covers [(k − 4096) · width, (k − 4095) · width). 0 while all values were 0. */
  width: number;
  /** Counts of values other than 0, which every range holds exactly. */
  readonly bins: Float64Array;
  /** How many values were 0. */
  zeros: number;
  /** How many values there were, zeros included. */
  total: number;
  /** Smallest and greatest value; Infinity and −Infinity while there was none. */
  low: number;
  high: number;
}

/** A histogram without values. */
export function emptyHistogram(): Histogram {
  return { width: 0, bins: new Float64Array(2 * SIDE), zeros: 0, total: 0, low: Infinity, high: -Infinity };
}

/** Counts values in. Gives false, and counts none of them, where one is not finite. */
export function countValues(histogram: Histogram, values: Float32Array): boolean {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    // the difference is NaN for infinities and NaN
    if (value - value !== 0) return false;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  histogram.low = Math.min(histogram.low, low);
  histogram.high = Math.max(histogram.high, high);
  histogram.total += values.length;
  const reach = Math.max(-low, high, 0);
  if (values.length === 0 || (reach === 0 && histogram.width === 0)) {
    histogram.zeros += values.length;
    return true;
  }
  widen(histogram, reach);
  const { bins, width } = histogram;
  const perUnit = 1 / width;
  let zeros = 0;
  for (const value of values) {
    if (value === 0) zeros++;
    else bins[Math.floor(value * perUnit) + SIDE]!++;
  }
  histogram.zeros += zeros;
  return true;
}

/** Widens the bins until a value of size `reach` has one. */
function widen(histogram: Histogram, reach: number): void {
  // float32's smallest steps would make 1 / width infinite
  if (histogram.width === 0) histogram.width = 2 ** Math.max(-140, Math.floor(Math.log2(reach / SIDE)));
  let doublings = 0;
  while (reach >= SIDE * histogram.width * 2 ** doublings) doublings++;
  if (doublings === 0) return;
  const { bins } = histogram;
  const old = bins.slice();
  bins.fill(0);
  for (let k = 0; k < old.length; k++) bins[Math.floor((k - SIDE) / 2 ** doublings) + SIDE]! += old[k]!;
  histogram.width *= 2 ** doublings;
}

/** The bins that have counts, from low to high: the middle of each and its count. */
export function filledBins({ bins, width }: Histogram): {
  readonly middles: Float64Array;
  readonly counts: Float64Array;
} {
  const filled: number[] = [];
  for (let k = 0; k < bins.length; k++) if (bins[k]! > 0) filled.push(k);
  return {
    middles: Float64Array.from(filled, (k) => (k - SIDE + 0.5) * width),
    counts: Float64Array.from(filled, (k) => bins[k]!),
  };
}

/** Counts over the bins [from, to), in units of the bin width with 0 in the middle. */
export function binsBetween({ bins }: Histogram, from: number, to: number): Float64Array {
  return bins.slice(Math.max(0, from + SIDE), Math.min(bins.length, to + SIDE));
}

/** Number of values above `value`, those of its bin in proportion. */
export function countAbove({ bins, width, zeros }: Histogram, value: number): number {
  if (width === 0) return value < 0 ? zeros : 0;
  const at = value / width + SIDE;
  const bin = Math.floor(at);
  let count = value < 0 ? zeros : 0;
  for (let k = Math.max(0, bin + 1); k < bins.length; k++) count += bins[k]!;
  if (bin >= 0 && bin < bins.length) count += bins[bin]! * (bin + 1 - at);
  return count;
}
