import { floatTensor, type GraphBuilder, intTensor } from '../../sdk/graph/builder.js';
import { type Attribute, int, ints, text } from '../../sdk/graph/graph.js';
import { count } from './dense.js';
import { seeded, signed } from './random.js';

/** One node of an operator: its inputs that depend on the model's own, and how it is written from them. */
export interface OperatorModel {
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly dims: readonly number[];
  readonly opset?: number;
  write(graph: GraphBuilder): string;
}

const random = seeded(542);
const floats = (graph: GraphBuilder, ...dims: number[]): string =>
  graph.initializer(graph.name('w'), floatTensor(Float32Array.from(signed(random, dims).data), dims));
const positive = (graph: GraphBuilder, ...dims: number[]): string =>
  graph.initializer(graph.name('w'), floatTensor(new Float32Array(count(dims)).fill(0.5), dims));
const integers = (graph: GraphBuilder, values: readonly number[], dims = [values.length]): string =>
  graph.initializer(graph.name('i'), intTensor(values, dims));

const map = [1, 4, 6, 6];
type Constants = (graph: GraphBuilder) => readonly string[];
const of = (
  op: string,
  dims: readonly number[],
  attributes: Record<string, Attribute> = {},
  constants: Constants = () => [],
  x: readonly number[] = map,
): OperatorModel => ({ inputs: { x }, dims, write: (graph) => graph.node(op, ['x', ...constants(graph)], attributes) });
const same = (op: string, attributes: Record<string, Attribute> = {}, constants: Constants = () => []): OperatorModel =>
  of(op, map, attributes, constants);
const both = (op: string): OperatorModel => ({
  inputs: { x: map, b: [4, 1, 6] },
  dims: map,
  write: (graph) => graph.node(op, ['x', 'b']),
});
const reduced = (op: string): OperatorModel => of(op, [1, 4, 1, 1], {}, (graph) => [integers(graph, [2, 3])]);
const pool = { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]), strides: ints([2, 2]) };
const recurrent = (op: string, gates: number): OperatorModel => ({
  inputs: { x: [5, 2, 3], h: [2, 2, 4] },
  dims: [5, 2, 2, 4],
  write: (graph) => {
    const weights = [floats(graph, 2, gates * 4, 3), floats(graph, 2, gates * 4, 4), floats(graph, 2, gates * 8)];
    const attributes: Record<string, Attribute> = {
      hidden_size: int(4),
      direction: text('bidirectional'),
    };
    return graph.node(op, ['x', ...weights, '', 'h'], attributes);
  },
});
const channels: Constants = (graph) => [floats(graph, 4), floats(graph, 4)];

/** Every operator that can be explained, by its name. */
export const operatorModels: Readonly<Record<string, OperatorModel>> = {
  Conv: of('Conv', [1, 6, 3, 3], { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) }, (graph) => [
    floats(graph, 6, 4, 3, 3),
    floats(graph, 6),
  ]),
  ConvTranspose: of('ConvTranspose', [1, 3, 12, 12], { strides: ints([2, 2]) }, (graph) => [floats(graph, 4, 3, 2, 2)]),
  Gemm: of('Gemm', [2, 5], {}, (graph) => [floats(graph, 3, 5), floats(graph, 5)], [2, 3]),
  MatMul: of('MatMul', [1, 4, 6, 2], {}, (graph) => [floats(graph, 6, 2)]),
  BatchNormalization: same('BatchNormalization', {}, (graph) => [
    ...channels(graph),
    floats(graph, 4),
    positive(graph, 4),
  ]),
  InstanceNormalization: same('InstanceNormalization', {}, channels),
  GroupNormalization: same('GroupNormalization', { num_groups: int(2) }, (graph) => [
    floats(graph, 2),
    floats(graph, 2),
  ]),
  LayerNormalization: same('LayerNormalization', {}, (graph) => [floats(graph, 6), floats(graph, 6)]),
  RMSNormalization: { ...same('RMSNormalization', {}, (graph) => [floats(graph, 6)]), opset: 23 },
  SimplifiedLayerNormalization: same('SimplifiedLayerNormalization', {}, (graph) => [floats(graph, 6)]),
  LpNormalization: same('LpNormalization'),
  MeanVarianceNormalization: same('MeanVarianceNormalization'),
  LRN: same('LRN', { size: int(3) }),
  ...Object.fromEntries(
    [
      ...['Abs', 'Celu', 'Elu', 'Erf', 'Exp', 'HardSigmoid', 'HardSwish', 'LeakyRelu', 'Log', 'Mish', 'Neg'],
      ...['Sin', 'Cos', 'Atan', 'Shrink', 'Floor', 'Ceil', 'Round', 'Sign'],
      ...['Reciprocal', 'Relu', 'Selu', 'Softplus', 'Softsign', 'Sqrt', 'Tanh', 'ThresholdedRelu'],
    ].map((op) => [op, same(op)]),
  ),
  Gelu: { ...same('Gelu'), opset: 20 },
  Clip: same('Clip', {}, (graph) => [graph.floats([0.1]), graph.floats([0.5])]),
  PRelu: same('PRelu', {}, (graph) => [floats(graph, 4, 1, 1)]),
  Pow: same('Pow', {}, (graph) => [graph.floats([2])]),
  AveragePool: of('AveragePool', [1, 4, 3, 3], pool),
  MaxPool: of('MaxPool', [1, 4, 3, 3], pool),
  GlobalAveragePool: of('GlobalAveragePool', [1, 4, 1, 1]),
  GlobalMaxPool: of('GlobalMaxPool', [1, 4, 1, 1]),
  LpPool: of('LpPool', [1, 4, 3, 3], { ...pool, p: int(3) }),
  GlobalLpPool: of('GlobalLpPool', [1, 4, 1, 1]),
  ReduceSum: reduced('ReduceSum'),
  ...Object.fromEntries(
    ['ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceLogSumExp'].map((op) => [
      op,
      reduced(op),
    ]),
  ),
  ...Object.fromEntries(['Add', 'Sub', 'Sum', 'Mul', 'Div', 'Max', 'Min'].map((op) => [op, both(op)])),
  Concat: {
    inputs: { x: map, b: [1, 2, 6, 6] },
    dims: [1, 6, 6, 6],
    write: (graph) => graph.node('Concat', ['x', 'b'], { axis: int(1) }),
  },
  Expand: of('Expand', [2, 4, 6, 6], {}, (graph) => [integers(graph, [2, 4, 6, 6])]),
  Flatten: of('Flatten', [1, 144]),
  Gather: of('Gather', [1, 3, 6, 6], { axis: int(1) }, (graph) => [integers(graph, [2, 0, 2])]),
  Identity: same('Identity'),
  Dropout: same('Dropout'),
  Pad: of('Pad', [1, 4, 8, 6], { mode: text('edge') }, (graph) => [integers(graph, [0, 0, 1, 0, 0, 0, 1, 0])]),
  Reshape: of('Reshape', [4, 36], {}, (graph) => [integers(graph, [4, 36])]),
  Slice: of('Slice', [1, 4, 2, 6], {}, (graph) => [
    integers(graph, [1]),
    integers(graph, [5]),
    integers(graph, [2]),
    integers(graph, [2]),
  ]),
  Split: {
    inputs: { x: map },
    dims: [1, 3, 6, 6],
    write: (graph) => graph.nodes('Split', ['x', integers(graph, [1, 3])], 2, { axis: int(1) })[1]!,
  },
  Squeeze: of('Squeeze', [4, 6, 6], {}, (graph) => [integers(graph, [0])]),
  Unsqueeze: of('Unsqueeze', [1, 1, 4, 6, 6], {}, (graph) => [integers(graph, [0])]),
  Trilu: {
    inputs: { x: map },
    dims: [1, 4, 6, 1],
    // the last column is in the upper triangle
    write: (graph) => {
      const kept = graph.node('Trilu', ['x'], { upper: int(1) });
      return graph.node('Slice', [kept, integers(graph, [5]), integers(graph, [6]), integers(graph, [3])]);
    },
  },
  Transpose: of('Transpose', [1, 6, 6, 4], { perm: ints([0, 2, 3, 1]) }),
  Resize: of('Resize', [1, 4, 9, 9], { mode: text('linear') }, (graph) => [
    '',
    graph.initializer('scales', floatTensor([1, 1, 1.5, 1.5], [4])),
  ]),
  CumSum: of('CumSum', map, {}, (graph) => [integers(graph, [2], [])]),
  DepthToSpace: of('DepthToSpace', [1, 1, 12, 12], { blocksize: int(2) }),
  SpaceToDepth: of('SpaceToDepth', [1, 16, 3, 3], { blocksize: int(2) }),
  Tile: of('Tile', [1, 4, 12, 6], {}, (graph) => [integers(graph, [1, 1, 2, 1])]),
  Where: {
    inputs: { x: map, b: map },
    dims: map,
    write: (graph) => graph.node('Where', [graph.node('Greater', ['x', graph.floats([0.2])]), 'x', 'b']),
  },
  TopK: {
    inputs: { x: map },
    dims: [1, 4, 6, 2],
    write: (graph) => graph.nodes('TopK', ['x', integers(graph, [2])], 2)[0]!,
  },
  GatherElements: of('GatherElements', [1, 4, 6, 1], { axis: int(3) }, (graph) => [
    integers(
      graph,
      Array.from({ length: 24 }, (_, k) => k % 6),
      [1, 4, 6, 1],
    ),
  ]),
  GatherND: of('GatherND', [2, 6, 6], {}, (graph) => [integers(graph, [0, 1, 0, 3], [2, 2])]),
  ScatterElements: {
    inputs: { x: map, b: [1, 1, 6, 6] },
    dims: map,
    write: (graph) =>
      graph.node('ScatterElements', ['x', integers(graph, new Array<number>(36).fill(2), [1, 1, 6, 6]), 'b'], {
        axis: int(1),
      }),
  },
  ScatterND: {
    inputs: { x: map, b: [1, 6, 6] },
    dims: map,
    write: (graph) => graph.node('ScatterND', ['x', integers(graph, [0, 2], [1, 2]), 'b']),
  },
  ...Object.fromEntries(
    ['Sigmoid', 'Softmax'].map((op) => [
      op,
      // at the end they would not be part of what is explained
      { inputs: { x: map }, dims: map, write: (graph: GraphBuilder) => graph.node('Neg', [graph.node(op, ['x'])]) },
    ]),
  ),
  LogSoftmax: { inputs: { x: map }, dims: map, write: (graph) => graph.node('Neg', [graph.node('LogSoftmax', ['x'])]) },
  LSTM: recurrent('LSTM', 4),
  GRU: recurrent('GRU', 3),
  RNN: recurrent('RNN', 1),
  QuantizeLinear: {
    inputs: { x: map },
    dims: map,
    write: (graph) => {
      const [scale, zero] = [
        graph.initializer('scale', floatTensor([0.1], [])),
        graph.initializer('zero', { type: 'uint8', dims: [], bytes: Uint8Array.of(128) }),
      ];
      return graph.node('DequantizeLinear', [graph.node('QuantizeLinear', ['x', scale, zero]), scale, zero]);
    },
  },
  DynamicQuantizeLinear: {
    inputs: { x: map },
    dims: map,
    write: (graph) => graph.node('DequantizeLinear', [...graph.nodes('DynamicQuantizeLinear', ['x'], 3)]),
  },
};
/** The order of the four values of k, greatest first. */
const order = (graph: GraphBuilder): string => graph.nodes('TopK', ['k', integers(graph, [4])], 2)[1]!;

/** What is another kind of layer than its operator usually is. */
export const operatorVariants: Readonly<Record<string, OperatorModel>> = {
  'MatMul of two activations': {
    inputs: { x: [1, 4, 3, 6], b: [4, 6, 2] },
    dims: [1, 4, 3, 2],
    write: (graph) => graph.node('MatMul', ['x', 'b']),
  },
  'Conv with computed kernels': {
    inputs: { x: map, b: [6, 4, 3, 3] },
    dims: [1, 6, 4, 4],
    write: (graph) => graph.node('Conv', ['x', 'b']),
  },
  'ConvTranspose of a constant with computed kernels': {
    inputs: { b: [4, 3, 2, 2] },
    dims: [1, 3, 7, 7],
    write: (graph) => graph.node('ConvTranspose', [floats(graph, ...map), 'b']),
  },
  'Gather by computed indices': {
    inputs: { x: map, k: [4] },
    dims: map,
    write: (graph) => graph.node('Gather', ['x', order(graph)], { axis: int(1) }),
  },
  'GatherND by computed indices': {
    inputs: { x: [4, 6], k: [4] },
    dims: [4, 6],
    write: (graph) => graph.node('GatherND', ['x', graph.node('Reshape', [order(graph), integers(graph, [4, 1])])]),
  },
  'ScatterND by computed indices': {
    inputs: { x: [5, 6], b: [4, 6], k: [4] },
    dims: [5, 6],
    write: (graph) =>
      graph.node('ScatterND', ['x', graph.node('Reshape', [order(graph), integers(graph, [4, 1])]), 'b']),
  },
  'ScatterND that adds up': {
    inputs: { x: map, b: [2, 6, 6] },
    dims: map,
    write: (graph) =>
      graph.node('ScatterND', ['x', integers(graph, [0, 2, 0, 2], [2, 2]), 'b'], { reduction: text('add') }),
  },
  'CumSum, reversed and exclusive': of('CumSum', map, { exclusive: int(1), reverse: int(1) }, (graph) => [
    integers(graph, [2], []),
  ]),
  'AveragePool that counts padding': of('AveragePool', [1, 4, 3, 3], { ...pool, count_include_pad: int(1) }),
};
