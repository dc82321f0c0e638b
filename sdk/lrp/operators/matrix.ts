import { floatAttribute, int, intAttribute, type Node } from '../../graph/graph.js';
import { broadcast, type Emitter, type Value } from '../emitter.js';
import type { LinearLayer } from '../linear.js';

/** Swaps the last two axes. */
export function swapped(emit: Emitter, a: Value): Value {
  const axes = a.dims.map((_, axis) => axis);
  const rank = axes.length;
  return emit.transpose(a, [...axes.slice(0, rank - 2), rank - 1, rank - 2]);
}

/** MatMul of two values of rank ≥ 2, whose batch axes are broadcast. */
export function product(emit: Emitter, a: Value, b: Value): Value {
  return emit.op(
    'MatMul',
    [a, b],
    [...broadcast(a.dims.slice(0, -2), b.dims.slice(0, -2)), a.dims.at(-2)!, b.dims.at(-1)!],
  );
}

/** Gemm with constant B and C, A not transposed: y = α·A·op(B) + β·C. The factors are folded into the constants. */
export function gemmLayer(
  emit: Emitter,
  node: Node,
  [input, matrix, bias]: readonly [Value, Value, Value | undefined],
  output: Value,
  nonNegative: boolean,
): LinearLayer {
  const alpha = floatAttribute(node, 'alpha', 1);
  const beta = floatAttribute(node, 'beta', 1);
  const transposed = intAttribute(node, 'transB', 0);
  const inputs = input.dims[1]!;
  const weights = alpha === 1 ? matrix : emit.mul(matrix, emit.scalar(alpha));
  const gemm = (a: Value, b: Value, transB: number, columns: number, c?: Value): Value =>
    emit.op('Gemm', c === undefined ? [a, b] : [a, b, c], [a.dims[0]!, columns], { transB: int(transB) });
  return {
    input,
    weights,
    bias: bias && (beta === 1 ? bias : emit.mul(bias, emit.scalar(beta))),
    output,
    nonNegative,
    forward: (x, w, c) => gemm(x, w, transposed, output.dims[1]!, c),
    backward: (s, w) => gemm(s, w, 1 - transposed, inputs),
    spread: (s) => emit.expand(emit.reduce('Sum', s, [1]), input.dims),
    gather: (w) => emit.reshape(emit.reduce('Sum', w, [transposed]), [1, output.dims[1]!]),
    get reached() {
      return emit.scalar(inputs);
    },
  };
}

/** MatMul with a constant on either side; the batch axes of either may be broadcast to those of the other. */
export function matMulLayer(
  emit: Emitter,
  input: Value,
  weights: Value,
  side: 'left' | 'right',
  output: Value,
  nonNegative: boolean,
): LinearLayer {
  const inner = side === 'right' ? input.dims.length - 1 : input.dims.length - 2;
  const rank = output.dims.length;
  return {
    input,
    weights,
    bias: undefined,
    output,
    nonNegative,
    forward(x, w, b) {
      const z = side === 'right' ? product(emit, x, w) : product(emit, w, x);
      return b === undefined ? z : emit.add(z, b);
    },
    backward: (s, w) =>
      emit.unbroadcast(
        side === 'right' ? product(emit, s, swapped(emit, w)) : product(emit, swapped(emit, w), s),
        input.dims,
      ),
    spread(s) {
      const summed = emit.reduce('Sum', s, [side === 'right' ? rank - 1 : rank - 2]);
      const kept = input.dims.map((dim, axis) => (axis === inner ? 1 : dim));
      return emit.expand(emit.unbroadcast(summed, kept), input.dims);
    },
    gather: (w) => emit.reduce('Sum', w, [side === 'right' ? w.dims.length - 2 : w.dims.length - 1]),
    get reached() {
      return emit.scalar(input.dims[inner]!);
    },
  };
}
