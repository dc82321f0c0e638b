import { sizeOf } from '../graph/graph.js';
import { channelAxisOf } from './axes.js';
import type { Emitter, Value } from './emitter.js';
import { invalid } from './invalid.js';
import type { Method } from './method.js';

/** The input of a compiled graph that holds the baseline of an input of the model. */
export const baselineOf = (input: string): string => `baseline/${input}`;

/**
 * A method's baseline for an input, in a shape that broadcasts to the input's: a constant made from one number, one per channel or one
 * per element of a sample, or an input of the compiled graph.
 */
export function baselineFor(emit: Emitter, input: Value, { baseline, channelAxis }: Method): Value {
  if (baseline === 'input') return { name: baselineOf(input.name), dims: input.dims, constant: false };
  const { dims } = input;
  if (baseline.length === 1) return emit.scalar(baseline[0]!);
  const axis = channelAxisOf(dims, channelAxis);
  const channels = axis === undefined ? 1 : dims[axis]!;
  if (baseline.length === channels) {
    return emit.constant(
      baseline,
      dims.map((_, at) => (at === axis ? channels : 1)),
    );
  }
  const sample = dims.slice(1);
  if (baseline.length === sizeOf(sample)) return emit.constant(baseline, [1, ...sample]);
  return invalid(
    'baseline',
    `has ${baseline.length} values for an input of ${channels} channels and ${sizeOf(sample)} elements`,
  );
}
