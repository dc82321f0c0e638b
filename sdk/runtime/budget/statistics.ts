/** The value that a share `q` (0…1) of the list does not exceed, by nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  // for some dozens of numbers: a typed array compares numbers without a function
  return ofSorted(Float64Array.from(values).sort(), q);
}

function ofSorted(sorted: Float64Array, q: number): number {
  return sorted.length === 0 ? Number.NaN : sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
}

/** Median and 95th percentile of a stage, in milliseconds. */
export interface Spread {
  /** median */
  readonly p50: number;
  /** 95th percentile, by nearest rank */
  readonly p95: number;
}

/** {@link Spread} of the values, which it sorts where they lie; NaN of nothing. */
export function spreadOf(values: Float64Array): Spread {
  values.sort();
  return { p50: ofSorted(values, 0.5), p95: ofSorted(values, 0.95) };
}
