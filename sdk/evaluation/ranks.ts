/** A list of numbers in order: what ranks and upper sets are read from. */
export interface Ordered {
  /** the values as they were given */
  readonly values: Float32Array;
  /** where they stand in `values`, ascending */
  readonly order: Uint32Array;
  /** the values in that order */
  readonly ascending: Float32Array;
}

/** Bits of a key that are sorted at once: three passes for a float32. */
const digit = 11;
const digits = 2 ** digit;

/**
 * Sorts once for everything that asks for an order: by the digits of the values, without a comparison, since a map has tens of
 * thousands of them and a video tens of maps a second. No value is NaN.
 */
export function ordered(values: Float32Array): Ordered {
  const { length } = values;
  const keys = keysOf(values);
  let order = new Uint32Array(length);
  let other = new Uint32Array(length);
  for (let index = 0; index < length; index++) order[index] = index;
  for (let shift = 0; shift < 32; shift += digit) {
    const places = new Uint32Array(digits + 1);
    for (let index = 0; index < length; index++) places[((keys[index]! >>> shift) & (digits - 1)) + 1]!++;
    for (let value = 1; value <= digits; value++) places[value]! += places[value - 1]!;
    for (let place = 0; place < length; place++) {
      const index = order[place]!;
      const value = (keys[index]! >>> shift) & (digits - 1);
      other[places[value]!] = index;
      places[value]!++;
    }
    [order, other] = [other, order];
  }
  const ascending = new Float32Array(length);
  for (let place = 0; place < length; place++) ascending[place] = values[order[place]!]!;
  return { values, order, ascending };
}

/** Integers in the order of the values: a float's bits are, but for the sign, which turns negative ones around; −0 is 0. */
function keysOf(values: Float32Array): Uint32Array {
  const keys = new Uint32Array(values.length);
  const floats = new Float32Array(keys.buffer);
  for (let index = 0; index < keys.length; index++) {
    floats[index] = values[index]! + 0;
    const word = keys[index]!;
    keys[index] = word >>> 31 === 1 ? ~word : word ^ 0x8000_0000;
  }
  return keys;
}

/**
 * Ranks from 1 to n, in the order of the values; equal values have the mean of the ranks that they take together
 * (midranks, Kendall 1945), so that their sum is n (n + 1) / 2 whatever the ties.
 */
export function midranks({ order, ascending }: Ordered): Float64Array {
  const ranks = new Float64Array(order.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && ascending[to] === ascending[from]) to++;
    // ranks from + 1 … to
    for (let place = from; place < to; place++) ranks[order[place]!] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

/**
 * Spearman's ρ: Pearson's correlation of the midranks (Spearman 1904; with ties, Kendall 1945). −1…1; 0 where one of the two
 * has no order because all of its values are equal, and NaN where neither has.
 */
export function spearman(a: Ordered, b: Ordered): number {
  const [constantA, constantB] = [isConstant(a), isConstant(b)];
  if (constantA && constantB) return Number.NaN;
  if (constantA || constantB) return 0;
  const [ranksA, ranksB] = [midranks(a), midranks(b)];
  const mean = (ranksA.length + 1) / 2;
  let [covariance, varianceA, varianceB] = [0, 0, 0];
  for (let i = 0; i < ranksA.length; i++) {
    const fromMeanA = ranksA[i]! - mean;
    const fromMeanB = ranksB[i]! - mean;
    covariance += fromMeanA * fromMeanB;
    varianceA += fromMeanA * fromMeanA;
    varianceB += fromMeanB * fromMeanB;
  }
  return covariance / Math.sqrt(varianceA * varianceB);
}

function isConstant({ ascending }: Ordered): boolean {
  return ascending.length === 0 || ascending[0] === ascending.at(-1);
}

/** The set of the most relevant elements: each belongs to it wholly, in part or not at all. */
interface UpperSet {
  /** elements above it belong wholly */
  readonly threshold: number;
  /** 0…1: how far the elements that equal the threshold belong */
  readonly share: number;
  /** sum of all memberships */
  readonly size: number;
}

/**
 * The `count` highest positive values. Where several equal the lowest of them, they share the places that are left: none of
 * them is preferred for where it stands. Fewer positive values are a smaller set.
 */
function upperSet({ ascending }: Ordered, count: number): UpperSet {
  const { length } = ascending;
  const positive = length - firstAbove(ascending, 0);
  const size = Math.min(count, positive);
  if (size === 0) return { threshold: Number.POSITIVE_INFINITY, share: 0, size };
  const threshold = ascending[length - size]!;
  const above = length - firstAbove(ascending, threshold);
  const equal = firstAbove(ascending, threshold) - firstNotBelow(ascending, threshold);
  return { threshold, share: (size - above) / equal, size };
}

/**
 * How much the most relevant elements of two maps are the same ones: the top-k intersection (Ghorbani et al. 2019; the
 * feature agreement of Krishna et al. 2022) over positive relevance,
 *
 *   |T_a ∩ T_b| / max(|T_a|, |T_b|),  T the k = ⌈share · n⌉ elements with the highest R > 0.
 *
 * Elements tied for the last places of a set belong to it in equal part, and the intersection is the smaller of two memberships
 * (Zadeh 1965): the figure depends on no order of elements, and a map overlaps itself by 1. A map without positive
 * relevance overlaps another by 0, and NaN where neither has any.
 *
 * @param share 0 < share ≤ 1
 */
export function topOverlap(a: Ordered, b: Ordered, share: number): number {
  const count = Math.ceil(share * a.values.length);
  const [topA, topB] = [upperSet(a, count), upperSet(b, count)];
  let common = 0;
  for (let i = 0; i < a.values.length; i++) {
    common += Math.min(membership(topA, a.values[i]!), membership(topB, b.values[i]!));
  }
  return common / Math.max(topA.size, topB.size);
}

function membership({ threshold, share }: UpperSet, value: number): number {
  return value > threshold ? 1 : value === threshold ? share : 0;
}

function firstAbove(ascending: Float32Array, value: number): number {
  return partition(ascending, (element) => element <= value);
}

function firstNotBelow(ascending: Float32Array, value: number): number {
  return partition(ascending, (element) => element < value);
}

/** Index of the first element for which `before` no longer holds. */
function partition(ascending: Float32Array, before: (element: number) => boolean): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(ascending[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
