import { intAttribute } from '../graph.js';
import { broadcast, type Call, misfit, need, type ShapeRule, show } from './call.js';

/** Factors A and B, summand C; also for its quantized relative. */
export const gemm: ShapeRule = (call) => {
  const a = need(call, 0);
  const b = need(call, 1);
  if (a.dims.length !== 2 || b.dims.length !== 2) {
    throw misfit(call, `factors of shape ${show(a.dims)} and ${show(b.dims)} are not both matrices`);
  }
  const [rows, inner] = flip(a.dims, intAttribute(call.node, 'transA', 0));
  const [other, columns] = flip(b.dims, intAttribute(call.node, 'transB', 0));
  if (inner !== other) {
    throw misfit(call, `factors ${show(a.dims)} and ${show(b.dims)} do not multiply: ${inner} against ${other}`);
  }
  const dims = [rows!, columns!];
  const c = call.inputs[2];
  if (c !== undefined && broadcast(call, [dims, c.dims]).join() !== dims.join()) {
    throw misfit(call, `the summand ${show(c.dims)} does not broadcast to ${show(dims)}`);
  }
  return [{ type: a.type, dims }];
};

function flip(dims: readonly number[], transposed: number): readonly number[] {
  return transposed === 0 ? dims : [dims[1]!, dims[0]!];
}

/** Shape of a (batched) matrix product, with numpy's reading of vectors. */
export function product(call: Call, left: readonly number[], right: readonly number[]): number[] {
  if (left.length === 0 || right.length === 0) throw misfit(call, 'a factor is a scalar');
  const a = left.length === 1 ? [1, ...left] : left;
  const b = right.length === 1 ? [...right, 1] : right;
  const inner = a[a.length - 1];
  if (inner !== b[b.length - 2]) {
    throw misfit(call, `factors ${show(left)} and ${show(right)} do not multiply: ${inner} against ${b[b.length - 2]}`);
  }
  const dims = broadcast(call, [a.slice(0, -2), b.slice(0, -2)]);
  if (left.length > 1) dims.push(a[a.length - 2]!);
  if (right.length > 1) dims.push(b[b.length - 1]!);
  return dims;
}

const matMul: ShapeRule = (call) => [
  { type: need(call, 0).type, dims: product(call, need(call, 0).dims, need(call, 1).dims) },
];

/** Products. */
export const linearShapes: Readonly<Record<string, ShapeRule>> = { Gemm: gemm, MatMul: matMul };
