import { constantTensor } from '../constant.js';
import { intAttribute } from '../graph.js';
import { axisOf, type Call, misfit, need, needNumbers, type ShapeRule, show } from './call.js';
import { same, typeAttribute } from './elementwise.js';

const gather: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), dims.length);
  return [{ type, dims: [...dims.slice(0, axis), ...need(call, 1).dims, ...dims.slice(axis + 1)] }];
};

const gatherElements: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const indices = need(call, 1).dims;
  if (indices.length !== dims.length) throw misfit(call, `indices ${show(indices)} do not fit data ${show(dims)}`);
  return [{ type, dims: indices }];
};

const gatherND: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const indices = need(call, 1).dims;
  const depth = indices[indices.length - 1] ?? 0;
  const batch = intAttribute(call.node, 'batch_dims', 0);
  if (depth < 1 || batch + depth > dims.length) {
    throw misfit(call, `indices ${show(indices)} do not fit data ${show(dims)}`);
  }
  return [{ type, dims: [...indices.slice(0, -1), ...dims.slice(batch + depth)] }];
};

/** What Shape gives: the dimensions from `start` to `end`. */
export function shapeSlice(call: Call): readonly number[] {
  const { dims } = need(call, 0);
  const end = intAttribute(call.node, 'end', dims.length);
  return dims.slice(intAttribute(call.node, 'start', 0), end);
}

const shape: ShapeRule = (call) => [{ type: 'int64', dims: [shapeSlice(call).length] }];

const constant: ShapeRule = ({ node }) => {
  const { type, dims } = constantTensor(node);
  return [{ type, dims }];
};

const size: ShapeRule = () => [{ type: 'int64', dims: [] }];

const constantOfShape: ShapeRule = (call) => {
  const value = call.node.attributes.get('value');
  const dims = needNumbers(call, 0, 'the shape');
  if (dims.some((dim) => dim < 0)) throw misfit(call, `the shape ${show(dims)} is negative`);
  return [{ type: value?.kind === 'tensor' ? value.value.type : 'float32', dims }];
};

const range: ShapeRule = (call) => {
  const [start] = needNumbers(call, 0, 'start');
  const [limit] = needNumbers(call, 1, 'limit');
  const [delta] = needNumbers(call, 2, 'delta');
  const count = Math.max(0, Math.ceil((limit! - start!) / delta!));
  if (!Number.isSafeInteger(count)) throw misfit(call, `from ${start} to ${limit} in steps of ${delta} never ends`);
  return [{ type: need(call, 0).type, dims: [count] }];
};

const oneHot: ShapeRule = (call) => {
  const { dims } = need(call, 0);
  const depth = needNumbers(call, 1, 'depth')[0]!;
  const axis = axisOf(call, intAttribute(call.node, 'axis', -1), dims.length + 1);
  return [{ type: need(call, 2).type, dims: [...dims.slice(0, axis), depth, ...dims.slice(axis)] }];
};

const eyeLike: ShapeRule = (call) => [
  { type: typeAttribute(call, 'dtype', need(call, 0).type), dims: need(call, 0).dims },
];

const gridSample: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const grid = need(call, 1).dims;
  if (grid.length !== dims.length || grid[0] !== dims[0] || grid[grid.length - 1] !== dims.length - 2) {
    throw misfit(call, `the grid ${show(grid)} does not fit data ${show(dims)}`);
  }
  return [{ type, dims: [dims[0]!, dims[1]!, ...grid.slice(1, -1)] }];
};

/** Operators that pick by index, or make tensors from shapes. */
export const indexingShapes: Readonly<Record<string, ShapeRule>> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  Scatter: same,
  ScatterElements: same,
  ScatterND: same,
  Shape: shape,
  Size: size,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Range: range,
  OneHot: oneHot,
  EyeLike: eyeLike,
  GridSample: gridSample,
};
