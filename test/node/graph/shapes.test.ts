import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, intTensor, modelOf } from '../../../sdk/graph/builder.js';
import { foldNode } from '../../../sdk/graph/fold.js';
import type { Attribute, Model, StaticType, Tensor } from '../../../sdk/graph/graph.js';
import { float, floats, int, ints, tensor, text } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { seeded } from '../../reference/random.js';
import { difference, randomTensor, runModel } from './runtime.js';

interface Case {
  readonly op: string;
  /** A type is an input of the graph, a tensor an initializer, '' an input that is left out. */
  readonly inputs: readonly (StaticType | Tensor | '')[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly outputs?: number;
  readonly opset?: number;
  readonly domain?: string;
}

const f32 = (...dims: number[]): StaticType => ({ type: 'float32', dims });
const u8 = (...dims: number[]): StaticType => ({ type: 'uint8', dims });
const i64 = (...values: number[]): Tensor => intTensor(values);
const scalar = (value: number): Tensor => floatTensor([value], []);
const isTensor = (input: StaticType | Tensor | ''): input is Tensor => input !== '' && 'bytes' in input;

function modelFor({ op, inputs, attributes = {}, outputs = 1, opset = 17, domain = '' }: Case): Model {
  const builder = createBuilder();
  const names = inputs.map((input, index) => {
    if (input === '') return '';
    return isTensor(input)
      ? builder.initializer(`w${index}`, input)
      : builder.input(`x${index}`, input.type, input.dims);
  });
  const results = builder.nodes(op, names, outputs, { ...attributes }, { domain, name: 'node' });
  // the declared types are filled in from what was inferred: the oracle is what the runtime then gives
  const bare = modelOf(builder.graph, opset, opset > 20 ? 10 : 8);
  const model: Model = domain === '' ? bare : { ...bare, opsets: new Map([...bare.opsets, [domain, 1]]) };
  const inferred = inferShapes(model);
  for (const name of results) {
    const { type } = staticTypeOf(inferred.graph, name);
    builder.output(
      name,
      type,
      staticTypeOf(inferred.graph, name).dims.map(() => ''),
    );
  }
  return { ...model, graph: builder.graph };
}

async function compare(test: Case, seed = 1): Promise<void> {
  const model = modelFor(test);
  const inferred = inferShapes(model).graph;
  const random = seeded(seed);
  const feeds = Object.fromEntries(
    model.graph.inputs.map(({ name }) => [name, randomTensor(staticTypeOf(inferred, name), random)]),
  );
  const results = await runModel(model, feeds);
  for (const [name, result] of results) {
    expect({ type: result.type, dims: result.dims }, JSON.stringify(test)).toEqual(staticTypeOf(inferred, name));
  }
}

const indices = (dims: readonly number[], ...values: number[]): Tensor => intTensor(values, dims);
const zero8 = tensorOf('uint8', [], [0]);

/** One line per operator and form. */
const cases: readonly Case[] = [
  { op: 'Gemm', inputs: [f32(2, 3), f32(3, 4)] },
  { op: 'Gemm', inputs: [f32(3, 2), f32(4, 3), f32(4)], attributes: { transA: int(1), transB: int(1) } },
  { op: 'MatMul', inputs: [f32(5, 1, 2, 3), f32(4, 3, 6)] },
  { op: 'MatMul', inputs: [f32(3), f32(2, 3, 6)] },
  { op: 'MatMul', inputs: [f32(2, 3), f32(3)] },
  { op: 'Einsum', inputs: [f32(2, 3, 4), f32(2, 4, 5)], attributes: { equation: text('bij,bjk->bik') } },
  { op: 'Einsum', inputs: [f32(3, 4), f32(4, 5)], attributes: { equation: text('ij,jk') } },
  { op: 'Add', inputs: [f32(2, 1, 4), f32(3, 1)] },
  { op: 'Max', inputs: [f32(2, 1), f32(3), f32(1)] },
  { op: 'Less', inputs: [f32(2, 1), f32(3)] },
  { op: 'Where', inputs: [{ type: 'bool', dims: [2, 1] }, f32(3), f32(4, 1, 1)] },
  { op: 'PRelu', inputs: [f32(2, 3, 4), f32(3, 1)] },
  { op: 'Cast', inputs: [f32(2, 3)], attributes: { to: int(7) } },
  { op: 'Dropout', inputs: [f32(2, 3)], outputs: 2 },
  { op: 'BatchNormalization', inputs: [f32(2, 3, 4), f32(3), f32(3), f32(3), f32(3)] },
  { op: 'InstanceNormalization', inputs: [f32(2, 3, 4), f32(3), f32(3)] },
  { op: 'LayerNormalization', inputs: [f32(2, 3, 4), f32(3, 4), f32(3, 4)], attributes: { axis: int(-2) }, outputs: 3 },
  { op: 'LRN', inputs: [f32(2, 3, 4, 4)], attributes: { size: int(3) } },
  { op: 'GlobalAveragePool', inputs: [f32(2, 3, 4, 5)] },
  { op: 'GlobalMaxPool', inputs: [f32(2, 3, 4)] },
  { op: 'LpPool', inputs: [f32(1, 2, 7, 7)], attributes: { kernel_shape: ints([2, 3]), strides: ints([2, 2]) } },
  { op: 'ReduceMean', inputs: [f32(2, 3, 4)], attributes: { axes: ints([-1, 0]), keepdims: int(0) } },
  { op: 'ReduceMax', inputs: [f32(2, 3, 4)] },
  { op: 'ReduceSum', inputs: [f32(2, 3, 4), i64(1)] },
  { op: 'ReduceSum', inputs: [f32(2, 3, 4)], attributes: { noop_with_empty_axes: int(1) } },
  { op: 'ReduceL2', inputs: [f32(2, 3, 4), i64(2)], opset: 18 },
  { op: 'ArgMax', inputs: [f32(2, 3, 4)], attributes: { axis: int(1), keepdims: int(0) } },
  { op: 'TopK', inputs: [f32(2, 7), i64(3)], outputs: 2 },
  { op: 'TopK', inputs: [f32(2, 7)], attributes: { k: int(3), axis: int(1) }, outputs: 2, opset: 9 },
  { op: 'Flatten', inputs: [f32(2, 3, 4, 5)], attributes: { axis: int(2) } },
  { op: 'Flatten', inputs: [f32(2, 3, 4, 5)], attributes: { axis: int(-1) } },
  { op: 'Flatten', inputs: [f32(2, 3)], attributes: { axis: int(0) } },
  { op: 'Reshape', inputs: [f32(2, 3, 4), i64(0, -1)] },
  { op: 'Reshape', inputs: [f32(2, 0, 4), i64(3, 0)], attributes: { allowzero: int(1) } },
  { op: 'Transpose', inputs: [f32(2, 3, 4)] },
  { op: 'Transpose', inputs: [f32(2, 3, 4)], attributes: { perm: ints([1, 2, 0]) } },
  { op: 'Squeeze', inputs: [f32(2, 1, 4, 1)] },
  { op: 'Squeeze', inputs: [f32(2, 1, 4, 1), i64(-1)] },
  { op: 'Squeeze', inputs: [f32(2, 1, 4, 1)], attributes: { axes: ints([1]) }, opset: 11 },
  { op: 'Unsqueeze', inputs: [f32(2, 3), i64(0, -1)] },
  { op: 'Pad', inputs: [f32(2, 3), i64(0, 1, 2, -1)] },
  { op: 'Pad', inputs: [f32(2, 3, 4), i64(1, 2), '', i64(-1)], opset: 18 },
  { op: 'Pad', inputs: [f32(2, 3)], attributes: { pads: ints([0, 1, 2, 0]) }, opset: 9 },
  { op: 'Slice', inputs: [f32(8, 6), i64(1, -2), i64(100, -100), i64(0, 1), i64(3, -1)] },
  { op: 'Slice', inputs: [f32(8, 6), i64(5), i64(2)] },
  {
    op: 'Slice',
    inputs: [f32(8, 6)],
    attributes: { starts: ints([1]), ends: ints([2 ** 53]), axes: ints([1]) },
    opset: 9,
  },
  { op: 'Split', inputs: [f32(2, 6), i64(1, 5)], attributes: { axis: int(1) }, outputs: 2 },
  { op: 'Split', inputs: [f32(6, 2)], outputs: 3 },
  { op: 'Split', inputs: [f32(7, 2)], attributes: { num_outputs: int(3) }, outputs: 3, opset: 18 },
  { op: 'Concat', inputs: [f32(2, 3), f32(2, 5)], attributes: { axis: int(-1) } },
  { op: 'Gather', inputs: [f32(2, 5, 4), indices([3, 2], 0, 1, 2, 3, 4, -1)], attributes: { axis: int(1) } },
  { op: 'Gather', inputs: [f32(5, 4), indices([], 2)] },
  { op: 'GatherElements', inputs: [f32(2, 5), indices([2, 2], 0, 1, 2, 3)], attributes: { axis: int(1) } },
  { op: 'GatherND', inputs: [f32(2, 5, 4), indices([3, 2], 0, 1, 1, 3, 1, 2)] },
  { op: 'ScatterND', inputs: [f32(4), indices([2, 1], 0, 3), f32(2)] },
  { op: 'Expand', inputs: [f32(3, 1), i64(2, 1, 4)] },
  { op: 'Tile', inputs: [f32(2, 3), i64(2, 3)] },
  { op: 'Shape', inputs: [f32(2, 3, 4)], attributes: { start: int(-2) } },
  { op: 'Size', inputs: [f32(2, 3, 4)] },
  { op: 'ConstantOfShape', inputs: [i64(2, 3)], attributes: { value: tensor(tensorOf('int32', [1], [5])) } },
  { op: 'Range', inputs: [scalar(1), scalar(9), scalar(3)] },
  {
    op: 'OneHot',
    inputs: [indices([3], 0, 1, 2), indices([], 4), floatTensor([0, 1], [2])],
    attributes: { axis: int(0) },
  },
  { op: 'Softmax', inputs: [f32(2, 3, 4)], attributes: { axis: int(1) } },
  { op: 'Resize', inputs: [f32(1, 2, 5, 5), '', floatTensor([1, 1, 2, 1.5], [4])] },
  { op: 'Resize', inputs: [f32(1, 2, 5, 5), '', '', i64(1, 2, 9, 7)] },
  { op: 'Upsample', inputs: [f32(1, 2, 5, 5)], attributes: { scales: floats([1, 1, 2, 3]) }, opset: 7 },
  { op: 'Resize', inputs: [f32(1, 2, 5, 5), floatTensor([1, 1, 2.5, 0.5], [4])], opset: 10 },
  { op: 'DepthToSpace', inputs: [f32(1, 8, 3, 2)], attributes: { blocksize: int(2) } },
  { op: 'SpaceToDepth', inputs: [f32(1, 2, 4, 6)], attributes: { blocksize: int(2) } },
  { op: 'CumSum', inputs: [f32(2, 3), indices([], 1)] },
  { op: 'QuantizeLinear', inputs: [f32(2, 3), scalar(0.1), tensorOf('int8', [], [0])] },
  { op: 'DequantizeLinear', inputs: [u8(2, 3), scalar(0.1)] },
  { op: 'DynamicQuantizeLinear', inputs: [f32(2, 3)], outputs: 3 },
  {
    op: 'ConvInteger',
    inputs: [u8(1, 2, 5, 5), u8(3, 2, 3, 3)],
    attributes: { strides: ints([2, 1]) },
  },
  { op: 'MatMulInteger', inputs: [u8(2, 3), u8(3, 4)] },
  {
    op: 'QLinearConv',
    inputs: [u8(1, 2, 5, 5), scalar(0.1), zero8, u8(3, 2, 3, 3), scalar(0.1), zero8, scalar(1), zero8],
    attributes: { pads: ints([1, 1, 1, 1]) },
  },
  { op: 'QLinearMatMul', inputs: [u8(2, 3), scalar(0.1), zero8, u8(3, 4), scalar(0.1), zero8, scalar(1), zero8] },
  {
    op: 'QLinearAdd',
    domain: 'com.microsoft',
    inputs: [u8(2, 3), scalar(0.1), zero8, u8(3), scalar(0.1), zero8, scalar(1), zero8],
  },
  { op: 'LSTM', inputs: [f32(4, 2, 3), f32(1, 20, 3), f32(1, 20, 5)], attributes: { hidden_size: int(5) }, outputs: 3 },
  {
    op: 'GRU',
    inputs: [f32(4, 2, 3), f32(2, 15, 3), f32(2, 15, 5)],
    attributes: { hidden_size: int(5), direction: text('bidirectional') },
    outputs: 2,
  },
  { op: 'RNN', inputs: [f32(4, 2, 3), f32(1, 5, 3), f32(1, 5, 5)], attributes: { hidden_size: int(5) }, outputs: 2 },
  { op: 'GridSample', inputs: [f32(1, 2, 5, 5), f32(1, 3, 4, 2)] },
  { op: 'Gelu', inputs: [f32(2, 3)], opset: 20 },
  { op: 'HardSwish', inputs: [f32(2, 3)] },
  { op: 'Trilu', inputs: [f32(3, 3)] },
];

describe('shape inference', () => {
  for (const [index, test] of cases.entries()) {
    it(`agrees with ONNX Runtime on ${test.op} (${index})`, () => compare(test));
  }

  it('agrees with ONNX Runtime on random windows', { timeout: 120_000 }, async () => {
    const random = seeded(2026);
    const pick = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1));
    let compared = 0;
    for (let round = 0; round < 160; round++) {
      const rank = pick(1, 2);
      const list = (from: number, to: number, length = rank): number[] => Array.from({ length }, () => pick(from, to));
      const kernel = list(1, 4);
      const op = ['Conv', 'ConvTranspose', 'MaxPool', 'AveragePool'][pick(0, 3)]!;
      const auto = ['NOTSET', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'][pick(0, 4)]!;
      const attributes: Record<string, Attribute> = { kernel_shape: ints(kernel), strides: ints(list(1, 4)) };
      if (auto === 'NOTSET')
        attributes.pads = ints(list(0, 2, 2 * rank).map((pad, at) => Math.min(pad, kernel[at % rank]! - 1)));
      else attributes.auto_pad = text(auto);
      if (auto === 'NOTSET' && op !== 'AveragePool') attributes.dilations = ints(list(1, 3));
      if (op.endsWith('Pool')) attributes.ceil_mode = int(pick(0, 1));
      if (op === 'ConvTranspose' && auto === 'NOTSET' && pick(0, 1) === 1) attributes.output_padding = ints(list(0, 0));
      const data = f32(pick(1, 2), 4, ...list(4, 13));
      const inputs = op.endsWith('Pool') ? [data] : [data, f32(4, op === 'Conv' ? 2 : 3, ...kernel)];
      if (op.startsWith('Conv')) attributes.group = int(2);
      const test = { op, inputs, attributes };
      try {
        modelFor(test);
      } catch {
        continue; // a window that does not fit
      }
      try {
        await compare(test, round);
        compared += 1;
      } catch (error) {
        // SAME with a stride beyond the kernel: the runtime refuses to run it
        if (!String(error).includes('padding values must be non-negative')) throw error;
      }
    }
    expect(compared).toBeGreaterThan(100);
  });

  it('names the input that stays open, and takes its shape', () => {
    const builder = createBuilder();
    builder.input('audio', 'float32', ['batch', 'samples']);
    builder.input('state', 'float32', [2, 'batch', 8]);
    builder.output(builder.node('Relu', ['audio']), 'float32', ['', '']);
    builder.output(builder.node('Relu', ['state']), 'float32', ['', '', '']);
    const model = modelOf(builder.graph);
    expect(() => inferShapes(model)).toThrow(
      /Input "audio" leaves dimension 1 of \[batch, samples\] open.*inputShapes/,
    );
    expect(() => inferShapes(model, { audio: [1, 2, 3] })).toThrow(/"audio".*declares/);
    expect(() => inferShapes(model, { sound: [1] })).toThrow(/"sound".*no input/);
    expect(() => inferShapes(model, { audio: [1, 5], state: [3, 1, 8] })).toThrow(/"state"/);
    const { graph } = inferShapes(model, { audio: [3, 5] });
    expect(graph.inputs.map((input) => input.dims)).toEqual([
      [3, 5],
      [2, 3, 8],
    ]);
  });

  const wrong: readonly (readonly [Case, RegExp])[] = [
    [{ op: 'Conv', inputs: [f32(1, 3, 5, 5), f32(4, 2, 3, 3)] }, /Node "node" \(Conv\): the data has 3 channels/],
    [{ op: 'Conv', inputs: [f32(1, 2, 2, 2), f32(4, 2, 3, 3)] }, /window of 3 does not fit/],
    [{ op: 'Gemm', inputs: [f32(1, 3), f32(4, 2)] }, /Node "node" \(Gemm\).*3 against 4/],
    [{ op: 'Concat', inputs: [f32(1, 3), f32(2, 2)], attributes: { axis: int(1) } }, /Node "node" \(Concat\)/],
    [{ op: 'Add', inputs: [f32(3), f32(2)] }, /\[3\] and \[2\] do not broadcast/],
    [{ op: 'Reshape', inputs: [f32(3), i64(2)] }, /cannot become \[2\]/],
    [{ op: 'Reshape', inputs: [f32(3), { type: 'int64', dims: [1] }] }, /computed from data/],
    [{ op: 'NonZero', inputs: [f32(3)] }, /depends on the data/],
    [{ op: 'Frobnicate', inputs: [f32(3)] }, /Node "node" \(Frobnicate\)/],
    [{ op: 'Conv', inputs: [f32(1, 2, 5, 5)] }, /has no input 1/],
    [{ op: 'AveragePool', inputs: [f32(1, 2, 5, 5)], attributes: { kernel_shape: ints([3]) } }, /kernel_shape/],
    [{ op: 'Clip', inputs: [f32(2)], attributes: { min: float(0) }, outputs: 2 }, /has 2 outputs/],
  ];
  for (const [test, sentence] of wrong) {
    it(`refuses ${test.op}: ${sentence.source}`, () => {
      expect(() => modelFor(test)).toThrow(sentence);
    });
  }
});

describe('constant folding', () => {
  const numbers = floatTensor([0.5, -1.5, 2.25, 3, -4, 5], [2, 3]);
  const whole = tensorOf('int64', [2, 3], [7, -7, 3, 0, 2, -5]);
  const divisors = tensorOf('int64', [3], [2, 3, -4]);
  const yes = tensorOf('bool', [2, 1], [1, 0]);
  const foldable: readonly Case[] = [
    ...'Abs Neg Floor Ceil Round Exp Sign Relu Sigmoid Tanh Reciprocal Identity'
      .split(' ')
      .map((op) => ({ op, inputs: [numbers] })),
    ...'Add Sub Mul Div Pow Min Max Equal Less LessOrEqual Greater GreaterOrEqual'
      .split(' ')
      .map((op) => ({ op, inputs: [numbers, floatTensor([0.5, 2, 2.25], [3])] })),
    ...'Add Sub Mul Div Mod Min Max Equal Less'.split(' ').map((op) => ({ op, inputs: [whole, divisors] })),
    { op: 'Mod', inputs: [numbers, scalar(2)], attributes: { fmod: int(1) } },
    { op: 'Mod', inputs: [whole, divisors], attributes: { fmod: int(1) } },
    ...'ReduceProd ReduceSum ReduceMean ReduceMin ReduceMax'
      .split(' ')
      .flatMap((op) => [
        { op, inputs: [numbers] },
        ...(op === 'ReduceSum' ? [] : [{ op, inputs: [numbers], attributes: { axes: ints([0]), keepdims: int(0) } }]),
      ]),
    {
      op: 'Transpose',
      inputs: [tensorOf('int64', [2, 3, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])],
      attributes: { perm: ints([2, 0, 1]) },
    },
    { op: 'Slice', inputs: [numbers, i64(-1, 2), i64(-10, 0), i64(0, 1), i64(-1, -2)] },
    { op: 'Concat', inputs: [numbers, numbers], attributes: { axis: int(1) } },
    { op: 'Concat', inputs: [numbers, numbers], attributes: { axis: int(0) } },
    { op: 'Gather', inputs: [numbers, indices([2, 2], 2, 0, -1, 1)], attributes: { axis: int(1) } },
    { op: 'Expand', inputs: [floatTensor([1, 2], [2, 1]), i64(3, 1, 3)] },
    { op: 'Tile', inputs: [numbers, i64(2, 2)] },
    { op: 'Pad', inputs: [numbers, i64(1, -1, 0, 2), scalar(9)] },
    { op: 'Pad', inputs: [numbers, i64(0, 1, 0, 0)] },
    { op: 'Split', inputs: [numbers, i64(1, 2)], attributes: { axis: int(1) }, outputs: 2 },
    { op: 'Where', inputs: [yes, numbers, scalar(7)] },
    { op: 'Not', inputs: [yes] },
    { op: 'Range', inputs: [scalar(4), scalar(-3), scalar(-2)] },
    { op: 'ConstantOfShape', inputs: [i64(2, 2)] },
    { op: 'Clip', inputs: [numbers, scalar(-1), scalar(2)] },
    { op: 'Cast', inputs: [numbers], attributes: { to: int(7) } },
    { op: 'Cast', inputs: [numbers], attributes: { to: int(10) } },
    { op: 'Cast', inputs: [numbers], attributes: { to: int(9) } },
    { op: 'Sqrt', inputs: [floatTensor([2, 3], [2])] },
    { op: 'Log', inputs: [floatTensor([2, 3], [2])] },
    { op: 'Squeeze', inputs: [floatTensor([2, 3], [1, 2])] },
  ];
  for (const [index, test] of foldable.entries()) {
    it(`computes ${test.op} as ONNX Runtime does (${index})`, async () => {
      const model = modelFor(test);
      const node = model.graph.nodes[0]!;
      const types = node.outputs.map((name) => staticTypeOf(inferShapes(model).graph, name));
      const constants = test.inputs.map((input) => (isTensor(input) ? input : undefined));
      const budget = { largest: 4096, largestFromNothing: 4096, remaining: 4096 };
      const folded = foldNode({ node, opset: 17, inputs: constants, constants }, types, budget);
      // a session wants an input: one that nothing reads
      const builder = createBuilder(model.graph);
      builder.input('nothing', 'float32', [1]);
      const results = await runModel({ ...model, graph: builder.graph }, { nothing: floatTensor([0], [1]) });
      for (const [at, name] of node.outputs.entries()) {
        expect(folded?.[at]?.type).toBe(results.get(name)!.type);
        expect(difference(folded?.[at], results.get(name)!)).toBeLessThan(1e-6);
      }
    });
  }
});
