import { WhylightError } from '../errors.js';

/** Relevance of a picture's pixels, row by row from the upper left. */
export interface RelevanceMap {
  /** in pixels, ≥ 0 */
  readonly width: number;
  /** in pixels, ≥ 0 */
  readonly height: number;
  /** width · height values, of any sign */
  readonly data: Float32Array;
}

/**
 * Relevance of a picture's pixels out of the relevance of an input tensor. A pixel's channels are **summed**: relevance is
 * conserved, so that what belongs to a pixel is what its channels have together, and the sum over the map stays the logit.
 *
 * @param relevance the tensor, row-major
 * @param dims its shape: [batch, channels, height, width] or, with NHWC, [batch, height, width, channels]; without batch,
 * or [height, width] alone
 * @param layout where the channels are; default NCHW
 * @param sample which of the batch; default 0
 * @throws {@link WhylightError} OPTION_INVALID for any other shape, or data that do not fit it
 */
export function sumChannels(
  relevance: Float32Array,
  dims: readonly number[],
  layout: 'NCHW' | 'NHWC' = 'NCHW',
  sample = 0,
): RelevanceMap {
  const rank = dims.length;
  if (rank < 2 || rank > 4) {
    throw invalid('dims', `[${dims.join(', ')}] is not the shape of a picture, which has two to four dimensions.`);
  }
  const batch = rank === 4 ? dims[0]! : 1;
  const picture = rank === 4 ? dims.slice(1) : dims;
  const [channels = 1, height = 0, width = 0] =
    rank === 2 ? [1, ...dims] : layout === 'NCHW' ? picture : [picture[2]!, picture[0]!, picture[1]!];
  const pixels = width * height;
  if (relevance.length !== batch * channels * pixels) {
    throw invalid('relevance', `has ${relevance.length} values, and the shape [${dims.join(', ')}] another number.`);
  }
  if (!(Number.isInteger(sample) && sample >= 0 && sample < batch)) {
    throw invalid('sample', `is ${sample}, and the batch has ${batch}.`);
  }
  const from = sample * channels * pixels;
  const data = new Float32Array(pixels);
  if (layout === 'NCHW' || channels === 1) {
    for (let channel = 0; channel < channels; channel++) {
      const plane = from + channel * pixels;
      for (let pixel = 0; pixel < pixels; pixel++) data[pixel]! += relevance[plane + pixel]!;
    }
  } else {
    for (let pixel = 0, at = from; pixel < pixels; pixel++) {
      let sum = 0;
      for (let channel = 0; channel < channels; channel++) sum += relevance[at++]!;
      data[pixel] = sum;
    }
  }
  return { width, height, data };
}

/** The largest |R| of a map, ≥ 0; what is not a finite number does not count, and an empty map has 0. */
export function largest({ data }: RelevanceMap): number {
  let maximum = 0;
  for (const value of data) {
    const magnitude = Math.abs(value);
    if (magnitude > maximum && magnitude < Number.POSITIVE_INFINITY) maximum = magnitude;
  }
  return maximum;
}

/**
 * The |R| that `percent` % of a map's pixels do not exceed (nearest rank), ≥ 0: as {@link largest}, but a few single pixels
 * that stand out do not make the rest invisible. Where that is zero, because hardly any pixel is relevant, the largest |R|.
 *
 * @param percent 0 < percent ≤ 100
 */
export function percentile(map: RelevanceMap, percent: number): number {
  if (!(percent > 0 && percent <= 100))
    throw invalid('percentile', `is ${percent}; it is more than 0 and at most 100.`);
  const magnitudes = map.data.map(Math.abs).filter(Number.isFinite).sort();
  if (magnitudes.length === 0) return 0;
  return magnitudes[Math.max(0, Math.ceil((magnitudes.length * percent) / 100) - 1)]! || largest(map);
}

/**
 * Relevance divided by `maximum` and cut off to −1…1. Zero stays zero; what is not a finite number becomes zero; a maximum
 * of zero gives a map of zeros.
 */
export function normalize({ width, height, data }: RelevanceMap, maximum: number): RelevanceMap {
  const scaled = new Float32Array(data.length);
  if (maximum > 0 && maximum < Number.POSITIVE_INFINITY) {
    for (let i = 0; i < data.length; i++) {
      const value = data[i]! / maximum;
      if (Number.isFinite(data[i])) scaled[i] = Math.min(1, Math.max(-1, value));
    }
  }
  return { width, height, data: scaled };
}

/** Settings of {@link runningMaximum}. */
export interface RunningMaximumOptions {
  /** seconds in which a maximum that is no longer reached loses half of its distance to what is reached now, > 0; default 2 */
  readonly halfLife?: number;
  /** seconds in which a rise covers half of its way, ≥ 0; default 0: at once, so that nothing is cut off */
  readonly attack?: number;
}

/**
 * A maximum that follows a video without flicker: it rises at once and falls slowly. It goes by the frames' own times and
 * so comes out the same whether many or few frames are explained. Going back in time begins anew.
 *
 * @returns takes a frame's maximum (≥ 0) and its timestamp in microseconds, gives the maximum to divide by
 */
export function runningMaximum(options: RunningMaximumOptions = {}): (maximum: number, timestamp: number) => number {
  const { halfLife = 2, attack = 0 } = options;
  if (!(halfLife > 0)) throw invalid('halfLife', `is ${halfLife}; it is in seconds and greater than 0.`);
  if (!(attack >= 0)) throw invalid('attack', `is ${attack}; it is in seconds and not negative.`);
  let level: number | undefined;
  let before = 0;
  return (maximum, timestamp) => {
    const reached = maximum > 0 && maximum < Number.POSITIVE_INFINITY ? maximum : 0;
    const seconds = (timestamp - before) / 1e6;
    before = timestamp;
    // a map without any relevance says nothing about the next one's scale: the first that has some sets it
    if (level === undefined || level === 0 || seconds < 0) {
      level = reached;
    } else {
      const half = reached > level ? attack : halfLife;
      const left = half === 0 ? 0 : 2 ** (-seconds / half);
      level = reached + (level - reached) * left;
    }
    return level;
  };
}

/** Settings of {@link normalizer}. */
export interface NormalizerOptions {
  /** what a map is divided by: its largest |R| (default), or a percentile of |R|, 0 < percentile ≤ 100 */
  readonly scale?: 'maximum' | { readonly percentile: number };
  /**
   * true: all maps of a call, e.g. of several classes or layers, are divided by the same number and can be compared;
   * false (default): each by its own
   */
  readonly joint?: boolean;
  /** {@link runningMaximum} over time for each map of a call (for all together with `joint`); default none, every frame by itself */
  readonly running?: RunningMaximumOptions;
}

/** A map of −1…1 with what it was divided by, which is what a legend writes at its ends. */
export interface NormalizedMap extends RelevanceMap {
  /** the relevance that became ±1, in the logit's unit; 0 for a map without relevance */
  readonly maximum: number;
}

/**
 * Makes maps of −1…1 out of relevance, with zero at zero.
 *
 * @returns takes the maps of one frame, always in the same order, and its timestamp in microseconds
 */
export function normalizer(
  options: NormalizerOptions = {},
): (maps: readonly RelevanceMap[], timestamp: number) => readonly NormalizedMap[] {
  const { scale = 'maximum', joint = false, running } = options;
  const measure = scale === 'maximum' ? largest : (map: RelevanceMap) => percentile(map, scale.percentile);
  const follow = running === undefined ? () => (maximum: number) => maximum : () => runningMaximum(running);
  const followers: ReturnType<typeof runningMaximum>[] = [];
  const maximumOf = (index: number, maximum: number, timestamp: number) => {
    followers[index] ??= follow();
    return followers[index](maximum, timestamp);
  };
  return (maps, timestamp) => {
    const measured = maps.map(measure);
    const maxima = joint
      ? measured.fill(maximumOf(0, Math.max(0, ...measured), timestamp))
      : measured.map((maximum, index) => maximumOf(index, maximum, timestamp));
    return maps.map((map, index) => ({ ...normalize(map, maxima[index]!), maximum: maxima[index]! }));
  };
}

function invalid(field: string, sentence: string): WhylightError {
  return new WhylightError('OPTION_INVALID', `${field} ${sentence}`, { details: { field } });
}
