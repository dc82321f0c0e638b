import { intAttribute } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';
import type { Moments, Patches } from './patches.js';
import { largestWeight, type QuantizedWeights, roundHalfToEven } from './steps.js';

/** Share of the mean variance that is added to every variance, so that few places leave nothing undecided. */
const DAMPING = 0.01;

/**
 * Rounds weights so that what the layer gives varies least, not each weight: with δ what rounding adds to the weights of an output, and H
 * the covariance of what they are multiplied with, δᵀHδ is to be small. It is ‖Rᵀδ‖² for the triangle R with H = R Rᵀ; so weights
 * are rounded one after the other, and each is moved before by what makes up best for the errors before it (the nearest plane of Babai
 * 1986, which is what Frantar et al. 2023 do). The inputs that vary most come first.
 *
 * `values` are the weights that `nearest` rounds one by one. With `isCentred` the mean error does not count, since the bias takes it.
 */
export function leastErrorRounding(
  layer: LinearLayer,
  values: Float64Array,
  nearest: QuantizedWeights,
  patches: Patches,
  isCentred: boolean,
): QuantizedWeights {
  const { node, outputs } = layer;
  const { scales } = nearest;
  const columns = values.length / outputs;
  const isFirst = node.op === 'Conv' || intAttribute(node, 'transB', 0) !== 0;
  const place = (output: number, column: number): number =>
    isFirst ? output * columns + column : column * outputs + output;
  const integers = nearest.integers.slice();
  const perGroup = outputs / patches.groups.length;
  for (const [group, parts] of patches.groups.entries()) {
    let from = 0;
    for (const moments of parts) {
      const triangle = triangleOf(moments, isCentred);
      if (triangle !== undefined) {
        for (let output = group * perGroup; output < (group + 1) * perGroup; output++) {
          const scale = scales[output]!;
          const at = (column: number): number => place(output, from + column);
          roundRow(
            triangle,
            (column) => values[at(column)]! / scale,
            (column, integer) => {
              integers[at(column)] = integer;
            },
          );
        }
      }
      from += moments.columns;
    }
  }
  return { integers, scales };
}

/** A triangle R of rows, and the column that each of them stands for. */
interface Triangle {
  readonly rows: Float64Array;
  readonly order: readonly number[];
}

function roundRow(
  { rows, order }: Triangle,
  weightAt: (column: number) => number,
  set: (column: number, integer: number) => void,
): void {
  const size = order.length;
  const errors = new Float64Array(size);
  for (const [row, column] of order.entries()) {
    const weight = weightAt(column);
    const wanted = roundHalfToEven(weight - errors[row]! / rows[row * size + row]!);
    const integer = Math.max(-largestWeight.int8, Math.min(largestWeight.int8, wanted));
    set(column, integer);
    const error = integer - weight;
    for (let next = row + 1, at = row * size + next; next < size; next++, at++) errors[next]! += rows[at]! * error;
  }
}

/** R of the covariance, or of the second moment; undefined where nothing varies. */
function triangleOf({ columns, sums, products, count }: Moments, isCentred: boolean): Triangle | undefined {
  if (count === 0) return undefined;
  const momentOf = (a: number, b: number): number =>
    (products[Math.min(a, b) * columns + Math.max(a, b)]! - (isCentred ? (sums[a]! * sums[b]!) / count : 0)) / count;
  const variances = Float64Array.from({ length: columns }, (_, column) => Math.max(0, momentOf(column, column)));
  const mean = variances.reduce((sum, variance) => sum + variance, 0) / columns;
  if (!(mean > 0)) return undefined;
  const order = [...variances.keys()].sort((a, b) => variances[b]! - variances[a]!);
  const rows = new Float64Array(columns * columns);
  for (let j = columns - 1; j >= 0; j--) {
    for (let i = j; i >= 0; i--) {
      let rest = momentOf(order[i]!, order[j]!) + (i === j ? DAMPING * mean : 0);
      const [a, b] = [i * columns, j * columns];
      for (let k = j + 1; k < columns; k++) rest -= rows[a + k]! * rows[b + k]!;
      rows[a + j] = i === j ? Math.sqrt(Math.max(rest, 1e-6 * mean)) : rest / rows[b + j]!;
    }
  }
  return { rows, order };
}
