import { createBuilder, type GraphBuilder, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { type Attribute, type DataType, float, int, ints, sizeOf } from '../../sdk/graph/graph.js';
import { tensorOf } from '../../sdk/graph/tensors.js';
import { onnxOf } from './network.js';
import { quantizedNetwork } from './quantized.js';
import { seeded } from './random.js';

const MICROSOFT = 'com.microsoft';

interface Parts {
  readonly g: GraphBuilder;
  readonly random: () => number;
  store(type: DataType, dims: readonly number[], draw: () => number): string;
}

function parts(seed: number): Parts {
  const g = createBuilder();
  const random = seeded(seed);
  return {
    g,
    random,
    store: (type, dims, draw) =>
      g.initializer(g.name('k'), tensorOf(type, dims, Float64Array.from({ length: sizeOf(dims) }, draw))),
  };
}

function finished({ g }: Parts, dims: readonly number[], opset = 17): Uint8Array {
  g.output('logits', 'float32', dims);
  const model = modelOf(g.graph, opset, opset >= 21 ? 10 : 8);
  return encodeModel({ ...model, opsets: new Map([...model.opsets, [MICROSOFT, 1]]) });
}

/** Layers on integers: QLinearConv, MaxPool between integers, QLinearAdd, QLinearGlobalAveragePool, QGemm. */
function onIntegers(): Uint8Array {
  const all = parts(21);
  const { g, random, store } = all;
  const steps = (scale: number, zero: number): [string, string] => [
    store('float32', [], () => scale),
    store('uint8', [], () => zero),
  ];
  const weights = (dims: readonly number[]): [string, string, string] => [
    store('int8', dims, () => Math.floor(random() * 255) - 127),
    store('float32', [dims[0]!], () => 0.002 + 0.001 * random()),
    store('int8', [dims[0]!], () => 0),
  ];
  const bias = (count: number): string => store('int32', [count], () => Math.floor(random() * 2000) - 700);
  const pads = { pads: ints([1, 1, 1, 1]) };
  const [input, a, b, sum, mean] = [
    [2 / 255, 128],
    [2.13 / 255, 0],
    [3.07 / 255, 119],
    [3.3 / 255, 0],
    [1.2 / 255, 0],
  ].map(([scale, zero]) => steps(scale!, zero!)) as [
    [string, string],
    [string, string],
    [string, string],
    [string, string],
    [string, string],
  ];
  g.input('x', 'float32', [1, 3, 8, 8]);
  const x = g.node('QuantizeLinear', ['x', ...input]);
  const first = g.node('QLinearConv', [x, ...input, ...weights([8, 3, 3, 3]), ...a, bias(8)], pads);
  const pooled = g.node('MaxPool', [first], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  const second = g.node('QLinearConv', [pooled, ...a, ...weights([8, 8, 3, 3]), ...b, bias(8)], pads);
  const microsoft = (op: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string =>
    g.node(op, inputs, attributes, { domain: MICROSOFT });
  const added = microsoft('QLinearAdd', [pooled, ...a, second, ...b, ...sum]);
  const averaged = microsoft('QLinearGlobalAveragePool', [added, ...sum, ...mean], { channels_last: int(0) });
  const flat = g.node('Flatten', [averaged], { axis: int(1) });
  g.nodes(
    'QGemm',
    [flat, ...mean, ...weights([4, 8]), bias(4)],
    ['logits'],
    { transB: int(1), alpha: float(1) },
    {
      domain: MICROSOFT,
    },
  );
  return finished(all, [1, 4]);
}

/** Activations quantized while the model runs: ConvInteger and MatMulInteger with the Cast and Mul after them. */
function dynamic(): Uint8Array {
  const all = parts(22);
  const { g, random, store } = all;
  const integers = (dims: readonly number[]): string => store('uint8', dims, () => Math.floor(random() * 256));
  const scale = (): string => store('float32', [], () => 0.004);
  const zero = (): string => store('uint8', [], () => 128);
  const layer = (
    op: string,
    x: string,
    dims: readonly number[],
    attributes: Record<string, Attribute> = {},
  ): string => {
    const [q, step, point] = g.nodes('DynamicQuantizeLinear', [x], 3) as [string, string, string];
    const product = g.node('Cast', [g.node(op, [q, integers(dims), point, zero()], attributes)], { to: int(1) });
    return g.node('Mul', [product, g.node('Mul', [step, scale()])]);
  };
  g.input('x', 'float32', [1, 3, 8, 8]);
  const conv = layer('ConvInteger', 'x', [8, 3, 3, 3], { pads: ints([1, 1, 1, 1]) });
  const biased = g.node('Relu', [g.node('Add', [conv, store('float32', [1, 8, 1, 1], () => random() - 0.3)])]);
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [biased])], { axis: int(1) });
  const hidden = g.node('Relu', [layer('MatMulInteger', flat, [8, 16])]);
  const last = layer('MatMulInteger', hidden, [16, 4]);
  g.node('Add', [last, store('float32', [4], () => random() - 0.5)], {}, { outputs: ['logits'] });
  return finished(all, [1, 4]);
}

/** Float32 activations, int8 weights per channel. */
function weightOnly(): Uint8Array {
  const all = parts(23);
  const { g, random, store } = all;
  const weights = (dims: readonly number[], axis: number): string =>
    g.node(
      'DequantizeLinear',
      [
        store('int8', dims, () => Math.floor(random() * 255) - 127),
        store('float32', [dims[axis]!], () => 0.002 + 0.001 * random()),
        store('int8', [dims[axis]!], () => 0),
      ],
      { axis: int(axis) },
    );
  g.input('x', 'float32', [1, 3, 8, 8]);
  const conv = g.node('Conv', ['x', weights([8, 3, 3, 3], 0), store('float32', [8], () => random() - 0.3)], {
    pads: ints([1, 1, 1, 1]),
  });
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [g.node('Relu', [conv])])], { axis: int(1) });
  const hidden = g.node('Relu', [g.node('MatMul', [flat, weights([8, 16], 1)])]);
  g.node('MatMul', [hidden, weights([16, 4], 1)], {}, { outputs: ['logits'] });
  return finished(all, [1, 4]);
}

/** Float32 activations, weights of 4 bits in blocks of 16 (MatMulNBits). */
function inBlocks(): Uint8Array {
  const all = parts(24);
  const { g, random, store } = all;
  const layer = (x: string, k: number, n: number): string => {
    const blocks = Math.ceil(k / 16);
    const inputs = [
      ...[x, store('uint8', [n, blocks, 8], () => Math.floor(random() * 256))],
      store('float32', [n * blocks], () => 0.02 + 0.01 * random()),
    ];
    const attributes = { K: int(k), N: int(n), bits: int(4), block_size: int(16) };
    return g.node('MatMulNBits', inputs, attributes, { domain: MICROSOFT });
  };
  g.input('x', 'float32', [1, 3, 8, 8]);
  const pooled = g.node('AveragePool', ['x'], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  const hidden = g.node('Relu', [layer(g.node('Flatten', [pooled], { axis: int(1) }), 48, 20)]);
  g.node('Add', [layer(hidden, 20, 4), store('float32', [4], () => random() - 0.5)], {}, { outputs: ['logits'] });
  return finished(all, [1, 4]);
}

/** Small networks from `x` [1, 3, 8, 8] to `logits` [1, 4] in the forms that quantized models come in. */
export const integerForms: Readonly<Record<string, Uint8Array>> = {
  QDQ: onnxOf(quantizedNetwork(1)),
  QOperator: onIntegers(),
  dynamic: dynamic(),
  'weight-only': weightOnly(),
  'in blocks': inBlocks(),
};
