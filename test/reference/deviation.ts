/** max|a − b| / max|b|. */
export function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    // a NaN must not lose against the maximum so far
    if (Number.isNaN(a[i]!)) return Number.NaN;
    difference = Math.max(difference, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(b[i]!));
  }
  return largest === 0 ? difference : difference / largest;
}

export const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((total, value) => total + value, 0);

/** Correlation of two fields. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [meanA, meanB] = [sum(a) / a.length, sum(b) / b.length];
  let [cross, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    cross += (a[i]! - meanA) * (b[i]! - meanB);
    squareA += (a[i]! - meanA) ** 2;
    squareB += (b[i]! - meanB) ** 2;
  }
  return cross / Math.sqrt(squareA * squareB);
}
