// Agreement of two relevance maps straight from the definitions, in float64 and without a sorted list: ranks by counting, sets by
// membership of every element.
import { pearson, sum } from './deviation.js';

/** 1 + how many are smaller + half of the others that are equal. */
export function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const smaller = values.filter((other) => other < value).length;
    const equal = values.filter((other) => other === value).length;
    return 1 + smaller + (equal - 1) / 2;
  });
}

export const spearman = (a: readonly number[], b: readonly number[]): number => pearson(ranks(a), ranks(b));

export const cosine = (a: readonly number[], b: readonly number[]): number =>
  sum(a.map((value, i) => value * b[i]!)) / Math.hypot(...a) / Math.hypot(...b);

/** How far every element belongs to the `count` highest positive ones; equals share the places that are left for them. */
export function memberships(values: readonly number[], count: number): number[] {
  return values.map((value) => {
    if (value <= 0) return 0;
    const higher = values.filter((other) => other > value).length;
    const equal = values.filter((other) => other === value).length;
    return Math.max(0, Math.min(1, (count - higher) / equal));
  });
}

export function topOverlap(a: readonly number[], b: readonly number[], share: number): number {
  const count = Math.ceil(share * a.length);
  const [inA, inB] = [memberships(a, count), memberships(b, count)];
  return sum(inA.map((member, i) => Math.min(member, inB[i]!))) / Math.max(sum(inA), sum(inB));
}
