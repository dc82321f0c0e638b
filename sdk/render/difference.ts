import { WhylightError } from '../errors.js';
import type { RelevanceMap } from './normalize.js';

/**
 * What one map has more than another, pixel by pixel, in the unit of both.
 *
 * @throws {@link WhylightError} OPTION_INVALID for maps of different sizes
 */
export function differenceMap(map: RelevanceMap, less: RelevanceMap): RelevanceMap {
  const { width, height, data } = map;
  if (width !== less.width || height !== less.height) {
    throw new WhylightError(
      'OPTION_INVALID',
      `The maps are ${width} × ${height} and ${less.width} × ${less.height} pixels; only equal sizes have a difference.`,
      { details: { field: 'less' } },
    );
  }
  return { width, height, data: data.map((value, pixel) => value - less.data[pixel]!) };
}

/** The most that a difference is magnified. */
const most = 1000;

/**
 * How many times a difference can be magnified to be seen beside the maps that it is of: the largest of 1, 2, 5, 10, 20 … 1000 with which it
 * stays within their scale. Round, and written beside the picture, so that nobody takes a small difference for a large one.
 *
 * @param maximum relevance that has the outermost colour in the maps, ≥ 0
 * @param difference the largest difference that is to be told apart, ≥ 0
 */
export function magnification(maximum: number, difference: number): number {
  const ratio = Math.min(most, maximum / difference);
  if (!(difference > 0 && ratio >= 1)) return 1;
  const decade = 10 ** Math.floor(Math.log10(ratio));
  const digit = ratio / decade;
  return decade * (digit >= 5 ? 5 : digit >= 2 ? 2 : 1);
}
