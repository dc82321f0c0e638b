import { within } from '../limits.js';

/** How one axis of a Resize is resampled; names as in ONNX. */
export interface Resampling {
  /** samples before */
  readonly length: number;
  /** samples after */
  readonly resized: number;
  /** as given or as it follows from the sizes; not always resized / length */
  readonly scale: number;
  /** nearest, linear or cubic */
  readonly mode: string;
  /** coordinate_transformation_mode */
  readonly transformation: string;
  /** nearest_mode */
  readonly nearest: string;
  /** cubic_coeff_a */
  readonly cubic: number;
  readonly excludeOutside: boolean;
  /** whether a smaller result averages over all samples that it stands for */
  readonly antialias: boolean;
  /** tf_crop_and_resize: the part that is resized, from 0 to 1 */
  readonly crop: readonly [start: number, end: number];
}

/** M of y = M·x along one axis, row-major [rows = samples after, columns = samples before]. */
export interface AxisWeights {
  readonly rows: number;
  readonly columns: number;
  readonly matrix: Float32Array;
}

/** Where sample `index` of the result lies among the samples before; computed in float32, as ONNX Runtime does. */
function originalCoordinate(axis: Resampling, index: number): number {
  const { length, resized } = axis;
  const f = Math.fround;
  const scale = f(axis.scale);
  switch (axis.transformation) {
    case 'asymmetric':
      return f(index / scale);
    case 'align_corners':
      return resized === 1 ? 0 : f(f(index * (length - 1)) / (resized - 1));
    case 'pytorch_half_pixel':
      return resized > 1 ? f(f((index + 0.5) / scale) - 0.5) : 0;
    case 'tf_half_pixel_for_nn':
      return f((index + 0.5) / scale);
    case 'tf_crop_and_resize': {
      const [start, end] = axis.crop.map(f) as [number, number];
      if (resized === 1) return f(0.5 * f(start + end) * (length - 1));
      return f(f(start * (length - 1)) + f(f(f(index * f(end - start)) * (length - 1)) / (resized - 1)));
    }
    case 'half_pixel_symmetric': {
      const adjustment = f(resized / f(scale * length));
      const offset = f((length / 2) * f(1 - adjustment));
      return f(f(offset + f((index + 0.5) / scale)) - 0.5);
    }
    default:
      return f(f((index + 0.5) / scale) - 0.5);
  }
}

/** ONNX Runtime takes what is a millionth away from half for half, so that float32 divisions do not decide. */
function nearestSample(coordinate: number, mode: string): number {
  if (mode === 'floor') return Math.floor(coordinate);
  if (mode === 'ceil') return Math.ceil(coordinate);
  const below = Math.floor(coordinate);
  const rest = coordinate - below;
  if (Math.abs(rest - 0.5) < 1e-6) return mode === 'round_prefer_ceil' ? below + 1 : below;
  return rest > 0.5 ? below + 1 : below;
}

/** Weights of the four samples around a point at distance `s` behind the second of them (Keys 1981, with the coefficient a). */
function cubicWeights(s: number, a: number): number[] {
  const near = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number): number => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return [far(s + 1), near(s), near(1 - s), far(2 - s)];
}

/** The samples under a triangle or a cubic that is as wide as the distance of the result's samples. */
function averaged(axis: Resampling, coordinate: number): (readonly [sample: number, weight: number])[] {
  const width = Math.max(1, 1 / Math.fround(axis.scale));
  const support = (axis.mode === 'linear' ? 1 : 2) * width;
  const center = coordinate + 0.5;
  const kernel = (distance: number): number => {
    const d = Math.abs(distance);
    if (axis.mode === 'linear') return Math.max(0, 1 - d);
    if (d >= 2) return 0;
    const [far, near] = cubicWeights(d < 1 ? d : d - 1, axis.cubic);
    return d < 1 ? near! : far!;
  };
  const last = axis.length - 1;
  const [start, end] = [Math.floor(center - support + 0.5), Math.floor(center + support + 0.5)];
  const first = axis.excludeOutside ? Math.max(start, 0) : start;
  const behind = axis.excludeOutside ? Math.min(end, axis.length) : end;
  const all = Array.from({ length: Math.max(0, behind - first) }, (_, k) => {
    return [first + k, kernel((first + k - center + 0.5) / width)] as const;
  });
  const total = all.reduce((sum, [, weight]) => sum + weight, 0);
  return all.map(([sample, weight]) => [Math.min(Math.max(sample, 0), last), weight / total]);
}

/** The samples that one sample of the result is made of, with their weights. Several may lie on the same (border) sample. */
function taps(axis: Resampling, index: number): (readonly [sample: number, weight: number])[] {
  const last = axis.length - 1;
  const clamp = (sample: number): number => Math.min(Math.max(sample, 0), last);
  const coordinate = originalCoordinate(axis, index);
  // beyond what is cropped from there is a value from elsewhere
  if (axis.transformation === 'tf_crop_and_resize' && (coordinate < 0 || coordinate > last)) return [];
  if (axis.antialias && axis.mode !== 'nearest') return averaged(axis, coordinate);
  if (axis.mode === 'nearest') return [[clamp(nearestSample(coordinate, axis.nearest)), 1]];
  if (axis.mode === 'linear') {
    const inside = clamp(coordinate);
    const left = Math.floor(inside);
    return [
      [left, 1 - (inside - left)],
      [clamp(left + 1), inside - left],
    ];
  }
  const second = Math.floor(coordinate);
  const weights = cubicWeights(coordinate - second, axis.cubic).map((weight, k) => [second - 1 + k, weight] as const);
  if (!axis.excludeOutside) return weights.map(([sample, weight]) => [clamp(sample), weight]);
  const inside = weights.filter(([sample]) => sample === clamp(sample));
  const total = inside.reduce((sum, [, weight]) => sum + weight, 0);
  return inside.map(([sample, weight]) => [sample, weight / total]);
}

/** The resampling of one axis as a matrix, as the ONNX specification of Resize has it. */
export function axisWeights(axis: Resampling): AxisWeights {
  const { length, resized } = axis;
  const matrix = new Float32Array(within(resized * length, 'weights'));
  // an axis that keeps its scale is not resampled
  const isCropped = axis.transformation === 'tf_crop_and_resize';
  if (axis.scale === 1 && resized === length && !isCropped) {
    for (let index = 0; index < length; index++) matrix[index * length + index] = 1;
  } else {
    for (let index = 0; index < resized; index++) {
      for (const [sample, weight] of taps(axis, index)) matrix[index * length + sample]! += weight;
    }
  }
  return { rows: resized, columns: length, matrix };
}

/** n, where every sample before stands exactly n times in a row in the result; undefined where it is not so simple. */
export function copiesPerCell({ rows, columns, matrix }: AxisWeights): number | undefined {
  const copies = rows / columns;
  if (!Number.isInteger(copies)) return undefined;
  for (let row = 0; row < rows; row++) {
    const cell = row * columns + Math.floor(row / copies);
    // weights of a row add up to 1, cubic ones of both signs: the one cell alone says nothing unless the others are zero
    for (let at = row * columns; at < (row + 1) * columns; at++) {
      if (matrix[at] !== (at === cell ? 1 : 0)) return undefined;
    }
  }
  return copies;
}
