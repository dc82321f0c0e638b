import { describe, expect, test } from 'vitest';
import { type Attribute, float, int, ints, text } from '../../../sdk/graph/graph.js';
import { staticTypeOf } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { forWebgpu } from '../../../sdk/lrp/webgpu/lower.js';
import { seeded } from '../../reference/random.js';
import { modelFrom, type Sketch } from '../graph/forms.js';
import { difference, randomTensor, runModel } from '../graph/runtime.js';

interface Form {
  readonly op: string;
  readonly says?: string;
  readonly opset?: number;
  readonly dims?: readonly number[];
  /** values of x beside random ones */
  readonly values?: readonly number[];
  readonly build: (g: Sketch) => string;
}

const clip = [2, 4, 5, 6, 4] as const;
const edges = [-2.5, -1.5, -0.5, -0, 0, 0.5, 1.5, 2.5, 3.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-8];
const unary = (op: string, attributes: Record<string, Attribute> = {}, form: Partial<Form> = {}): Form => ({
  op,
  says: Object.keys(attributes).join(', '),
  ...form,
  build: (g) => g.node(op, ['x'], attributes),
});
const condition = (g: Sketch, op: string, than: number): string => g.node(op, ['x', g.floats([than])]);
const shown = (g: Sketch, bool: string): string => g.node('Cast', [bool], { to: int(1) });
const logical = (op: string): Form => ({
  op,
  build: (g) => shown(g, g.node(op, [condition(g, 'Greater', 0.3), condition(g, 'Less', 0.5)])),
});
const recurrent = (says: string, attributes: Record<string, Attribute>, directions: number, rest: number): Form => ({
  op: 'RNN',
  says,
  dims: [4, 2, 3],
  build(g) {
    const given = [
      g.weight(directions, 5, 3),
      g.weight(directions, 5, 5),
      g.weight(directions, 10),
      '',
      g.weight(directions, 2, 5),
    ];
    const [y, h] = g.nodes('RNN', ['x', ...given.slice(0, rest)], ['y', 'h'], { hidden_size: int(5), ...attributes });
    return g.node('Concat', [g.node('Reshape', [y!, g.ints([-1])]), g.node('Reshape', [h!, g.ints([-1])])], {
      axis: int(0),
    });
  },
});
const resize = (
  says: string,
  dims: readonly number[],
  attributes: Record<string, Attribute>,
  scales: readonly number[],
  sizes?: readonly number[],
): Form => ({
  op: 'Resize',
  says,
  dims,
  opset: 18,
  build: (g) =>
    g.node('Resize', sizes === undefined ? ['x', '', g.floats(scales)] : ['x', '', '', g.ints(sizes)], attributes),
});

const byte = (g: Sketch, value: number, type: 'uint8' | 'int8' = 'uint8'): string =>
  g.initializer(g.name('zero'), tensorOf(type, [], [value]));
/** Quantized, moved about as integers, and back. */
const quantized = (
  says: string,
  scale: number,
  zero: number,
  type: 'uint8' | 'int8',
  values: readonly number[],
): Form => ({
  op: 'QuantizeLinear',
  says,
  values,
  build(g) {
    const steps = [g.floats([scale]), byte(g, zero, type)];
    const moved = g.node('Reshape', [g.node('QuantizeLinear', ['x', ...steps]), g.ints([-1])]);
    return g.node('DequantizeLinear', [moved, ...steps]);
  },
});
/** Halfway between two integers, exactly. */
const ties = Array.from({ length: 40 }, (_, k) => (k - 20.5) / 8);

const forms: readonly Form[] = [
  quantized('uint8', 0.011, 120, 'uint8', []),
  quantized('int8, halves', 0.125, -3, 'int8', ties),
  quantized('uint8 that is clipped', 0.002, 120, 'uint8', []),
  {
    op: 'QuantizeLinear',
    says: 'by channels',
    build(g) {
      const [scales, zeros] = [g.floats([0.01, 0.02, 0.013, 0.031]), tensorOf('uint8', [4], [100, 128, 0, 255])];
      const steps = [scales, g.initializer('zeros', zeros)];
      return g.node('DequantizeLinear', [g.node('QuantizeLinear', ['x', ...steps]), ...steps]);
    },
  },
  {
    op: 'DynamicQuantizeLinear',
    build: (g) => g.node('DequantizeLinear', g.nodes('DynamicQuantizeLinear', ['x'], 3)),
  },
  unary('Sign', {}, { values: edges }),
  unary('Round', {}, { values: edges }),
  unary('Selu', {}, { values: [-50, 80] }),
  unary('Selu', { alpha: float(0.5), gamma: float(2) }),
  unary('Celu', { alpha: float(0.4) }, { values: [-50, 80] }),
  unary('Softsign', {}, { values: [-1e30, 1e30] }),
  unary('Shrink', { lambd: float(0.3), bias: float(0.1) }, { values: [0.3, -0.3] }),
  unary('GlobalLpPool', { p: int(3) }),
  unary('GlobalLpPool', {}, { dims: clip }),
  unary('Hardmax', { axis: int(1) }),
  unary('Hardmax', {}, { values: [1, 1, 1, 1, 1, 1, 1, 1] }),
  unary('LogSoftmax', { axis: int(1) }, { values: [80, -80] }),
  unary('MeanVarianceNormalization'),
  unary('MeanVarianceNormalization', { axes: ints([-1, 1]) }),
  unary('LRN', { size: int(3), alpha: float(0.7), beta: float(0.6), bias: float(1.2) }),
  unary('LRN', { size: int(5), alpha: float(2) }, { dims: [2, 3, 5, 1] }),
  unary('SpaceToDepth', { blocksize: int(2) }, { dims: [2, 3, 4, 6] }),
  unary('LpPool', { kernel_shape: ints([3, 2]), strides: ints([2, 1]), pads: ints([1, 0, 1, 1]), p: int(3) }),
  unary('LpPool', { kernel_shape: ints([2, 2]), dilations: ints([2, 3]) }, { opset: 19 }),
  ...[17, 21].map(
    (opset): Form => ({
      op: 'GroupNormalization',
      says: `of version ${opset === 17 ? 18 : 21}`,
      opset: opset === 17 ? 18 : 21,
      build: (g) => {
        const count = opset === 17 ? 2 : 4;
        return g.node('GroupNormalization', ['x', g.weight(count), g.weight(count)], { num_groups: int(2) });
      },
    }),
  ),
  {
    op: 'RMSNormalization',
    opset: 23,
    build: (g) => g.node('RMSNormalization', ['x', g.weight(9, 8)], { axis: int(-2) }),
  },
  { op: 'Sum', build: (g) => g.node('Sum', ['x', g.weight(8), g.weight(4, 9, 1)]) },
  { op: 'Mean', build: (g) => g.node('Mean', ['x', g.weight(8), g.weight(4, 9, 1)]) },
  { op: 'Mod', build: (g) => g.node('Mod', ['x', g.floats([0.3])], { fmod: int(1) }) },
  { op: 'Pow', says: 'an integer exponent', build: (g) => g.node('Pow', ['x', g.ints([3], [])]) },
  ...[
    [1, 1],
    [1, 0],
    [0, 1],
  ].map(
    ([up, down]): Form => ({
      op: 'IsInf',
      says: `${up}${down}`,
      values: edges,
      build: (g) => shown(g, g.node('IsInf', ['x'], { detect_positive: int(up!), detect_negative: int(down!) })),
    }),
  ),
  logical('Or'),
  logical('Xor'),
  logical('Equal'),
  {
    op: 'Slice',
    says: 'conditions',
    build: (g) =>
      shown(g, g.node('Slice', [condition(g, 'Greater', 0), g.ints([1]), g.ints([-1]), g.ints([2]), g.ints([2])])),
  },
  {
    op: 'Concat',
    says: 'conditions',
    build: (g) => shown(g, g.node('Concat', [condition(g, 'Greater', 0), condition(g, 'Less', 0.5)], { axis: int(1) })),
  },
  recurrent('forward', {}, 1, 3),
  recurrent('reverse, with a state', { direction: text('reverse') }, 1, 5),
  recurrent(
    'both ways',
    { direction: text('bidirectional'), activations: { kind: 'strings', value: ['Relu', 'Tanh'] } },
    2,
    5,
  ),
  {
    op: 'Conv',
    says: 'in 3-D, depthwise',
    dims: clip,
    build: (g) =>
      g.node('Conv', ['x', g.weight(8, 1, 3, 2, 3), g.weight(8)], {
        ...{ group: int(4), strides: ints([2, 1, 1]), dilations: ints([1, 2, 1]), pads: ints([1, 0, 2, 2, 1, 0]) },
      }),
  },
  {
    op: 'Conv',
    says: 'in 3-D, in groups',
    dims: clip,
    build: (g) => g.node('Conv', ['x', g.weight(6, 2, 2, 3, 1)], { group: int(2), dilations: ints([3, 1, 1]) }),
  },
  {
    op: 'Conv',
    says: 'of 33 channels',
    dims: [1, 33, 5],
    build: (g) => g.node('Conv', ['x', g.weight(6, 33, 3), g.weight(6)], { pads: ints([1, 1]) }),
  },
  {
    op: 'ConvTranspose',
    says: 'in 3-D, in groups',
    dims: clip,
    build: (g) =>
      g.node('ConvTranspose', ['x', g.weight(4, 3, 3, 2, 3), g.weight(6)], {
        ...{ group: int(2), strides: ints([2, 1, 3]), pads: ints([1, 0, 0, 0, 1, 2]), output_padding: ints([1, 0, 2]) },
      }),
  },
  {
    op: 'ConvTranspose',
    says: 'in 3-D, padded by more than its kernel',
    dims: clip,
    build: (g) =>
      g.node('ConvTranspose', ['x', g.weight(4, 2, 1, 2, 1)], {
        ...{ strides: ints([1, 2, 1]), dilations: ints([1, 2, 1]), pads: ints([1, 3, 1, 0, 0, 1]) },
      }),
  },
  resize('channels last', [1, 3, 4, 2], { mode: text('linear') }, [1, 2, 1.5, 1]),
  resize(
    'channels last, cubic',
    [1, 5, 4, 3],
    { mode: text('cubic'), coordinate_transformation_mode: text('align_corners') },
    [1, 2, 1.5, 1],
  ),
  resize(
    'to sizes',
    [1, 3, 4, 2],
    { mode: text('linear'), coordinate_transformation_mode: text('asymmetric') },
    [],
    [1, 5, 7, 2],
  ),
  resize('to sizes of some axes', [1, 3, 4, 2], { mode: text('linear'), axes: ints([1, 2]) }, [], [5, 7]),
];

describe('what the GPU lacks is written with what it has', () => {
  test.each(forms.map((form) => [[form.op, form.says ?? ''].join(' '), form] as const))('%s', async (_, form) => {
    const model = modelFrom(form.build, form.opset ?? 17, form.dims);
    const { model: lowered, rewritten } = forWebgpu(model);
    expect(rewritten.get(form.op)).toBeGreaterThan(0);
    const { type, dims } = staticTypeOf(model.graph, 'x');
    const random = randomTensor({ type, dims }, seeded(9), 2);
    const values = new Float32Array(random.bytes.buffer);
    values.set(form.values ?? []);
    const x = tensorOf(type, dims, values);
    const [expected] = (await runModel(model, { x })).values();
    const [found] = (await runModel(lowered, { x })).values();
    expect(difference(found, expected!)).toBeLessThan(2e-6);
  });

  test('in an older version where the newest has no kernels', () => {
    const model = modelFrom(
      (g) => g.node('MaxPool', [g.node('RMSNormalization', ['x', g.weight(8)])], { kernel_shape: ints([2, 2]) }),
      23,
    );
    expect(forWebgpu(model).model.opsets.get('')).toBe(21);
    expect(forWebgpu(modelFrom((g) => g.node('Relu', ['x']), 17)).model.opsets.get('')).toBe(17);
  });
});
