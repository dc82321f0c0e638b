import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBuilder, floatTensor, type GraphBuilder, intTensor, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { type Attribute, type DataType, int, ints, text } from '../../sdk/graph/graph.js';
import { placedOperators, placementOf } from '../../sdk/lrp/placement.js';
import { modelWith } from '../node/lrp/one-node.js';
import { operatorModels } from '../reference/operator-models.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { openScripted } from './scripted-page.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  browser = await openChromium();
  opened = await openScripted(browser, 'placement-page');
});
afterAll(() => browser.close());

interface Typed {
  readonly type: DataType;
  readonly dims: readonly number[];
}
const of = (type: DataType, ...dims: number[]): Typed => ({ type, dims });
const map = of('float32', 1, 4, 6, 6);

/** One node with inputs of the given types and any constants behind them. */
function nodeModel(
  op: string,
  inputs: readonly Typed[],
  output: Typed,
  constants: (graph: GraphBuilder) => readonly string[] = () => [],
  attributes: Record<string, Attribute> = {},
  opset = 18,
): Uint8Array {
  const graph = createBuilder();
  const names = inputs.map(({ type, dims }, index) => graph.input(`x${index}`, type, dims));
  const y = graph.node(op, [...names, ...constants(graph)], attributes);
  graph.output(graph.node('Identity', [y], {}, { outputs: ['y'] }), output.type, output.dims);
  return encodeModel(modelOf(graph.graph, opset, 10));
}
const u8 = (graph: GraphBuilder, dims: readonly number[] = []): string =>
  graph.initializer(graph.name('u'), {
    type: 'uint8',
    dims,
    bytes: new Uint8Array(dims.reduce((a, b) => a * b, 1)).fill(128),
  });
const scale = (graph: GraphBuilder): string => graph.initializer(graph.name('s'), floatTensor([0.1], []));
const i = (graph: GraphBuilder, values: readonly number[], dims?: readonly number[]): string =>
  graph.initializer(graph.name('i'), intTensor(values, dims));
const w = (graph: GraphBuilder, ...dims: number[]): string =>
  graph.initializer(graph.name('w'), floatTensor(new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.5), dims));

const unary = (op: string, output = map): [string, Uint8Array] => [op, nodeModel(op, [map], output)];
const others: Readonly<Record<string, Uint8Array>> = {
  ...Object.fromEntries(
    [
      'Sign',
      'Round',
      'Floor',
      'Ceil',
      'Sin',
      'Cos',
      'Tan',
      'Sinh',
      'Cosh',
      'Asin',
      'Acos',
      'Atan',
      'Hardmax',
      'LogSoftmax',
      'Shrink',
      'LpNormalization',
    ].map((op) => unary(op)),
  ),
  ...Object.fromEntries(['IsNaN', 'IsInf'].map((op) => unary(op, of('bool', ...map.dims)))),
  ...Object.fromEntries(
    ['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual'].map((op) => [
      op,
      nodeModel(op, [map, map], of('bool', ...map.dims)),
    ]),
  ),
  ...Object.fromEntries(
    ['And', 'Or', 'Xor'].map((op) => [op, nodeModel(op, [of('bool', 6), of('bool', 6)], of('bool', 6))]),
  ),
  Not: nodeModel('Not', [of('bool', 6)], of('bool', 6)),
  Cast: nodeModel('Cast', [of('bool', 6)], of('float32', 6), undefined, { to: int(1) }),
  ArgMax: nodeModel('ArgMax', [map], of('int64', 1, 1, 6, 6), undefined, { axis: int(1) }),
  ArgMin: nodeModel('ArgMin', [map], of('int64', 1, 1, 6, 6), undefined, { axis: int(1) }),
  Mod: nodeModel('Mod', [map, map], map, undefined, { fmod: int(1) }),
  ReduceProd: nodeModel('ReduceProd', [map], of('float32', 1, 4, 1, 1), (g) => [i(g, [2, 3])]),
  ReduceLogSum: nodeModel('ReduceLogSum', [map], of('float32', 1, 4, 1, 1), (g) => [i(g, [2, 3])]),
  ReduceLogSumExp: nodeModel('ReduceLogSumExp', [map], of('float32', 1, 4, 1, 1), (g) => [i(g, [2, 3])]),
  OneHot: nodeModel('OneHot', [of('int64', 2)], of('float32', 2, 5), (g) => [i(g, [5], []), g.floats([0, 1], [2])]),
  STFT: nodeModel('STFT', [of('float32', 1, 64, 1)], of('float32', 1, 7, 9, 2), (g) => [i(g, [8], []), w(g, 16)]),
  DFT: nodeModel('DFT', [of('float32', 1, 16, 1)], of('float32', 1, 16, 2)),
  Einsum: nodeModel('Einsum', [of('float32', 3, 4), of('float32', 4, 5)], of('float32', 3, 5), undefined, {
    equation: text('ij,jk->ik'),
  }),
  GridSample: nodeModel('GridSample', [map, of('float32', 1, 3, 3, 2)], of('float32', 1, 4, 3, 3)),
  LpPool: nodeModel('LpPool', [map], of('float32', 1, 4, 3, 3), undefined, {
    kernel_shape: ints([2, 2]),
    strides: ints([2, 2]),
  }),
  Trilu: nodeModel('Trilu', [map], map),
  NonZero: nodeModel('NonZero', [map], of('int64', 4, 3)),
  ReverseSequence: nodeModel('ReverseSequence', [of('float32', 4, 2, 3)], of('float32', 4, 2, 3), (g) => [
    i(g, [3, 4]),
  ]),
  DequantizeLinear: nodeModel('DequantizeLinear', [of('uint8', 1, 4, 6, 6)], map, (g) => [scale(g), u8(g)]),
  MatMulInteger: nodeModel('MatMulInteger', [of('uint8', 3, 4)], of('int32', 3, 5), (g) => [u8(g, [4, 5])]),
  ConvInteger: nodeModel('ConvInteger', [of('uint8', 1, 4, 6, 6)], of('int32', 1, 2, 4, 4), (g) => [
    u8(g, [2, 4, 3, 3]),
  ]),
  QLinearConv: nodeModel('QLinearConv', [of('uint8', 1, 4, 6, 6)], of('uint8', 1, 2, 4, 4), (g) => [
    scale(g),
    u8(g),
    u8(g, [2, 4, 3, 3]),
    scale(g),
    u8(g),
    scale(g),
    u8(g),
  ]),
  QLinearMatMul: nodeModel('QLinearMatMul', [of('uint8', 3, 4)], of('uint8', 3, 5), (g) => [
    scale(g),
    u8(g),
    u8(g, [4, 5]),
    scale(g),
    u8(g),
    scale(g),
    u8(g),
  ]),
  RoiAlign: nodeModel('RoiAlign', [map, of('float32', 1, 4)], of('float32', 1, 4, 1, 1), (g) => [i(g, [0])]),
  Bernoulli: nodeModel('Bernoulli', [map], map),
  RandomNormalLike: nodeModel('RandomNormalLike', [map], map),
  EyeLike: nodeModel('EyeLike', [of('float32', 3, 3)], of('float32', 3, 3)),
  Compress: nodeModel('Compress', [of('float32', 6), of('bool', 6)], of('float32', 3)),
  Det: nodeModel('Det', [of('float32', 3, 3)], of('float32')),
};

const explained = Object.entries(operatorModels).map(([op, one]): [string, Uint8Array] => [
  op,
  modelWith(one.inputs, one.dims, one.write, one.opset),
]);
// its steps of quantization stand around it, so it has a model of its own
const models = new Map([...explained, ...Object.entries(others)]);

test('every operator whose place is known has a model here', () => {
  expect([...models.keys()].sort()).toEqual([...placedOperators].sort());
});

test('every operator runs where the table says', async () => {
  for (const [op, model] of models) {
    const answer = await opened.page.evaluate((bytes) => window.opensOnGpu(bytes), [...model]);
    if (answer !== undefined) expect(answer, op).toContain('fallback to CPU EP has been explicitly disabled');
    expect(answer === undefined ? 'gpu' : 'cpu', op).toBe(placementOf(op));
  }
});
