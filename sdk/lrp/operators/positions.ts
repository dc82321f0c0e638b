import { sizeOf } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { within } from '../limits.js';

/**
 * The relevance of a gather's source along `axis`: cell i of the result, which has `length` cells, is the sum of the cells k of `r`
 * with sources[k] = i; a source of −1 is dropped. One Gather from `r` with a cell of zeros behind it, and a sum over as many copies
 * as the most often taken cell has: no scatter, no arithmetic on indices.
 */
export function gatheredBack(emit: Emitter, r: Value, axis: number, sources: ArrayLike<number>, length: number): Value {
  const takers: number[][] = Array.from({ length: within(length, 'cells') }, () => []);
  for (let k = 0; k < sources.length; k++) {
    const source = sources[k]!;
    if (source >= length || !Number.isInteger(source)) {
      throw new RangeError(`index ${source} is none of the ${length} cells that there are`);
    }
    if (source >= 0) takers[source]!.push(k);
  }
  const copies = Math.max(
    1,
    takers.reduce((most, list) => Math.max(most, list.length), 0),
  );
  within(length * copies, 'cells');
  const [before, after] = [r.dims.slice(0, axis), r.dims.slice(axis + 1)];
  const nothing = sources.length;
  const indices = takers.flatMap((list) => Array.from({ length: copies }, (_, copy) => list[copy] ?? nothing));
  const padded = emit.concat([r, emit.filled(0, [...before, 1, ...after])], axis);
  const taken = emit.op('Gather', [padded, emit.integers(indices)], [...before, indices.length, ...after], {
    axis: { kind: 'int', value: axis },
  });
  const apart = emit.reshape(taken, [...before, length, copies, ...after]);
  return emit.reshape(emit.reduce('Sum', apart, [axis + 1]), [...before, length, ...after]);
}

/** As {@link gatheredBack}, for elements wherever they are: `sources` has the flat position in `dims` for every element of `r`. */
export function elementsBack(emit: Emitter, r: Value, sources: ArrayLike<number>, dims: readonly number[]): Value {
  const flat = emit.reshape(r, [sizeOf(r.dims)]);
  return emit.reshape(gatheredBack(emit, flat, 0, sources, sizeOf(dims)), dims);
}

/** As {@link elementsBack} where the positions along `axis` are computed: `indices` has the shape of `r`. */
export const scatteredBack = (emit: Emitter, r: Value, indices: Value, axis: number, dims: readonly number[]): Value =>
  emit.op('ScatterElements', [emit.filled(0, dims), indices, emit.expand(r, indices.dims)], dims, {
    axis: { kind: 'int', value: axis },
    reduction: { kind: 'string', value: 'add' },
  });
