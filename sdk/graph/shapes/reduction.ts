import { intAttribute } from '../graph.js';
import { axisOf, type Call, listOf, misfit, need, needNumbers, type ShapeRule } from './call.js';

/** The axes that a Reduce* node removes, counted from the front; all of them where none are given. */
export function reducedAxes(call: Call): readonly number[] {
  const rank = need(call, 0).dims.length;
  const axes = listOf(call, 'axes', 1) ?? [];
  if (axes.length > 0) return axes.map((axis) => axisOf(call, axis, rank));
  return intAttribute(call.node, 'noop_with_empty_axes', 0) !== 0
    ? []
    : Array.from({ length: rank }, (_, axis) => axis);
}

function without(dims: readonly number[], axes: readonly number[], keep: boolean): number[] {
  if (keep) return dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  return dims.filter((_, axis) => !axes.includes(axis));
}

const reduce: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  return [{ type, dims: without(dims, reducedAxes(call), intAttribute(call.node, 'keepdims', 1) !== 0) }];
};

const arg: ShapeRule = (call) => {
  const { dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), dims.length);
  return [{ type: 'int64', dims: without(dims, [axis], intAttribute(call.node, 'keepdims', 1) !== 0) }];
};

const topK: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', -1), dims.length);
  const count = call.opset < 10 ? intAttribute(call.node, 'k', 0) : needNumbers(call, 1, 'K')[0]!;
  if (count < 0 || count > dims[axis]!) throw misfit(call, `the top ${count} of ${dims[axis]} elements do not exist`);
  const kept = dims.map((dim, at) => (at === axis ? count : dim));
  return [
    { type, dims: kept },
    { type: 'int64', dims: kept },
  ];
};

const reductions = 'L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare';

/** Operators that make one number of many. */
export const reductionShapes: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries(reductions.split(' ').map((kind) => [`Reduce${kind}`, reduce])),
  ArgMax: arg,
  ArgMin: arg,
  TopK: topK,
};
