import { WhylightError } from '../errors.js';
import { type Ordered, ordered, spearman, topOverlap } from './ranks.js';

/**
 * How far two relevance maps of the same elements (pixels of a picture, neurons of a layer) agree. A figure that is not
 * defined, because there is no relevance to compare, is NaN (`null` in JSON).
 */
export interface Agreement {
  /** elements that were compared */
  readonly elements: number;
  /** elements left out because one of the two is not a finite number */
  readonly notFinite: number;
  /**
   * Σ ab / (‖a‖ ‖b‖), −1…1: whether the maps have the same shape, whatever their scale. 0 where one of them is all zeros, NaN
   * where both are
   */
  readonly cosine: number;
  /**
   * Spearman's ρ, Pearson's correlation of the ranks, ties with the mean of theirs, −1…1: whether elements come in the same order
   * (as Adebayo et al. 2018 and Ghorbani et al. 2019 compare saliency maps). 0 where one map is constant, NaN where both are
   */
  readonly spearman: number;
  /**
   * overlap of the 1 % of elements with the highest positive relevance, 0…1: what both have over the size of the larger set
   * (top-k intersection, Ghorbani et al. 2019), k = ⌈n / 100⌉. Elements tied for the last places belong in equal part. 0 where one map has
   * no positive relevance, NaN where neither has
   */
  readonly top1: number;
  /** the same for 10 % */
  readonly top10: number;
  /** what speaks for the decision in one map and against it in the other (one is > 0, one is < 0; a zero flips nothing) */
  readonly signFlips: {
    /** share of the elements, 0…1; NaN where there are none */
    readonly elements: number;
    /** share of the relevance, Σ over flips of |a| + |b| over Σ of |a| + |b|, 0…1; NaN where all is zero */
    readonly relevance: number;
  };
}

/** What can be added up element by element. */
export interface AgreementSums {
  elements: number;
  notFinite: number;
  product: number;
  squaresA: number;
  squaresB: number;
  flips: number;
  flippedRelevance: number;
  relevance: number;
}

/** Sums over no element. */
export function noSums(): AgreementSums {
  return {
    elements: 0,
    notFinite: 0,
    product: 0,
    squaresA: 0,
    squaresB: 0,
    flips: 0,
    flippedRelevance: 0,
    relevance: 0,
  };
}

/** Two maps with what is no finite number left out. */
export interface FinitePair {
  readonly a: Float32Array;
  readonly b: Float32Array;
  /** elements left out */
  readonly notFinite: number;
}

/**
 * The elements that are finite in both maps.
 *
 * @throws {@link WhylightError} OPTION_INVALID where they have not equally many elements
 */
export function finitePair(a: Float32Array, b: Float32Array): FinitePair {
  if (a.length !== b.length) {
    throw new WhylightError('OPTION_INVALID', `A map of ${a.length} elements is compared with one of ${b.length}.`, {
      details: { field: 'maps', reference: a.length, compared: b.length },
    });
  }
  const bothFinite = (_: number, i: number) => Number.isFinite(a[i]) && Number.isFinite(b[i]);
  if (a.every(bothFinite)) return { a, b, notFinite: 0 };
  const finite = { a: a.filter(bothFinite), b: b.filter(bothFinite) };
  return { ...finite, notFinite: a.length - finite.a.length };
}

/** Adds the elements of a pair to the sums. */
export function addTo(sums: AgreementSums, { a, b, notFinite }: FinitePair): void {
  sums.elements += a.length;
  sums.notFinite += notFinite;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    const magnitude = Math.abs(x) + Math.abs(y);
    sums.product += x * y;
    sums.squaresA += x * x;
    sums.squaresB += y * y;
    sums.relevance += magnitude;
    if ((x > 0 && y < 0) || (x < 0 && y > 0)) {
      sums.flips++;
      sums.flippedRelevance += magnitude;
    }
  }
}

/** The figures out of the sums, and out of the order of the values that the ranks are taken from. */
export function agreementOf(sums: AgreementSums, a: Ordered, b: Ordered): Agreement {
  const { elements, notFinite, product, squaresA, squaresB, flips, flippedRelevance, relevance } = sums;
  const oneIsZero = (squaresA === 0) !== (squaresB === 0);
  const cosine = oneIsZero ? 0 : product / Math.sqrt(squaresA * squaresB);
  return {
    elements,
    notFinite,
    // rounding may carry parallel maps a little beyond 1
    cosine: Math.min(1, Math.max(-1, cosine)),
    spearman: spearman(a, b),
    top1: topOverlap(a, b, 0.01),
    top10: topOverlap(a, b, 0.1),
    signFlips: { elements: flips / elements, relevance: flippedRelevance / relevance },
  };
}

/**
 * Compares two relevance maps element by element; see {@link Agreement} for the figures, their sources, and what they are for maps of zeros.
 * Symmetric in its arguments.
 *
 * @param a relevance, any shape, row-major
 * @param b relevance of the same elements
 * @throws {@link WhylightError} OPTION_INVALID where they have not equally many elements
 */
export function relevanceAgreement(a: Float32Array, b: Float32Array): Agreement {
  const pair = finitePair(a, b);
  const sums = noSums();
  addTo(sums, pair);
  return agreementOf(sums, ordered(pair.a), ordered(pair.b));
}
