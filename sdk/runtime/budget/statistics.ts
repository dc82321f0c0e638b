/** The value that a share `q` (0…1) of the list does not exceed, by nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  return quantileOf(values, itself, q);
}

/** {@link quantile} of what `of`, which asks for no quantile itself, says of each item. Takes no new memory: it is asked dozens of times a frame. */
export function quantileOf<T>(items: readonly T[], of: (item: T) => number, q: number): number {
  const values = room(items.length);
  for (let index = 0; index < values.length; index++) values[index] = of(items[index]!);
  return ofSorted(values.sort(), q);
}

const itself = (value: number) => value;

/** An array of a length for every length that was asked for, to be written over: a typed array sorts numbers without a function. */
function room(length: number): Float64Array {
  if (length > mostKept) return new Float64Array(length);
  rooms[length] ??= new Float64Array(length);
  return rooms[length];
}

const rooms: Float64Array[] = [];
const mostKept = 256;

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
