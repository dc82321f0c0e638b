import { int, sizeOf } from '../graph.js';
import { need } from '../shapes/call.js';
import { type Equation, equationOf } from '../shapes/einsum.js';
import { stridesOf } from '../tensors.js';
import type { Upgrade } from './upgrade.js';
import { type Writer, written } from './writer.js';

/** A factor with an index for every axis. */
interface Factor {
  readonly value: string;
  readonly indices: readonly string[];
}

type Sizes = Equation['sizes'];

const dimsOf = (indices: readonly string[], sizes: Sizes): number[] => indices.map((index) => sizes.get(index)!);

/** Takes the diagonal where an index stands twice, and leaves out axes that are stretched (which have no index). */
function plain(write: Writer, factor: Factor, dims: readonly number[], sizes: Sizes): Factor {
  const { value, indices } = factor;
  const own = [...new Set(indices)].filter((index) => index !== '');
  if (own.length === indices.length) return factor;
  const shape = dimsOf(own, sizes);
  if (sizeOf(shape) === sizeOf(dims)) return { value: write.reshape(value, shape), indices: own };
  const strides = stridesOf(dims);
  const steps = own.map((index) =>
    indices.reduce((sum, other, axis) => sum + (other === index ? strides[axis]! : 0), 0),
  );
  const outer = stridesOf(shape);
  const positions = Array.from({ length: sizeOf(shape) }, (_, at) =>
    own.reduce((sum, _index, axis) => sum + (Math.floor(at / outer[axis]!) % shape[axis]!) * steps[axis]!, 0),
  );
  const taken = write.op('Gather', [write.reshape(value, [sizeOf(dims)]), write.ints(positions)], { axis: int(0) });
  return { value: write.reshape(taken, shape), indices: own };
}

/** Sums over the indices that are not kept. */
function summed(write: Writer, factor: Factor, kept: ReadonlySet<string>): Factor {
  const gone = factor.indices.flatMap((index, axis) => (kept.has(index) ? [] : [axis]));
  if (gone.length === 0) return factor;
  const value = write.op('ReduceSum', [factor.value, write.ints(gone)], { keepdims: int(0) });
  return { value, indices: factor.indices.filter((index) => kept.has(index)) };
}

/** The axes of a factor in the order in which `order` names them. */
function ordered(write: Writer, factor: Factor, order: readonly string[]): string {
  const present = order.filter((index) => factor.indices.includes(index));
  return write.transpose(
    factor.value,
    present.map((index) => factor.indices.indexOf(index)),
  );
}

/** An element-wise product, with axes of one element where a factor lacks an index. */
function multiplied(write: Writer, factors: readonly [Factor, Factor], sizes: Sizes): Factor {
  const indices = [...new Set(factors.flatMap((factor) => factor.indices))];
  const values = factors.map((factor) => {
    const value = ordered(write, factor, indices);
    const shape = indices.map((index) => (factor.indices.includes(index) ? sizes.get(index)! : 1));
    return indices.length === factor.indices.length ? value : write.reshape(value, shape);
  });
  return { value: write.op('Mul', values, {}, 'main'), indices };
}

/** The product of two factors, summed over the indices that are not kept: a product of matrices where there are any. */
function product(write: Writer, a: Factor, b: Factor, kept: ReadonlySet<string>, sizes: Sizes): Factor {
  const left = summed(write, a, new Set([...kept, ...b.indices]));
  const right = summed(write, b, new Set([...kept, ...a.indices]));
  const shared = left.indices.filter((index) => right.indices.includes(index));
  const inner = shared.filter((index) => !kept.has(index));
  if (inner.length === 0) return multiplied(write, [left, right], sizes);
  const batch = shared.filter((index) => kept.has(index));
  const rows = left.indices.filter((index) => !shared.includes(index));
  const columns = right.indices.filter((index) => !shared.includes(index));
  const matrix = (factor: Factor, first: readonly string[], second: readonly string[]): string => {
    const value = ordered(write, factor, [...batch, ...first, ...second]);
    if (batch.length < 2 && first.length === 1 && second.length === 1) return value;
    const lead = batch.length === 0 ? [] : [sizeOf(dimsOf(batch, sizes))];
    return write.reshape(value, [...lead, sizeOf(dimsOf(first, sizes)), sizeOf(dimsOf(second, sizes))]);
  };
  const indices = [...batch, ...rows, ...columns];
  const value = write.op('MatMul', [matrix(left, rows, inner), matrix(right, inner, columns)], {}, 'main');
  return { value: write.reshape(value, dimsOf(indices, sizes)), indices };
}

const einsum: Upgrade = (call, builder) =>
  written(call.node, need(call, 0).type, builder, (write) => {
    const { terms, result, sizes } = equationOf(call);
    const factors = terms.map((indices, index) =>
      plain(write, { value: call.node.inputs[index]!, indices }, need(call, index).dims, sizes),
    );
    const total = factors.reduce((sum, factor, index) => {
      const later = factors.slice(index + 1).flatMap((other) => other.indices);
      return product(write, sum, factor, new Set([...result, ...later]), sizes);
    });
    write.give(call.node.outputs[0], ordered(write, summed(write, total, new Set(result)), result));
  });

/** Einsum as the products, sums and moves that it stands for. */
export const einsumUpgrades: Readonly<Record<string, Upgrade>> = { Einsum: einsum };
