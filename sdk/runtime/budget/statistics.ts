/** The value that a share `q` (0…1) of the list does not exceed, by nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  // for some dozens of numbers: a typed array compares numbers without a function
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
}

/** Median and 95th percentile of a stage, in milliseconds. */
export interface Spread {
  /** median */
  readonly p50: number;
  /** 95th percentile, by nearest rank */
  readonly p95: number;
}

/** {@link Spread} of the list; NaN of nothing. */
export function spreadOf(values: readonly number[]): Spread {
  return { p50: quantile(values, 0.5), p95: quantile(values, 0.95) };
}
