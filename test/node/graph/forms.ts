import { createBuilder, floatTensor, type GraphBuilder, intTensor, modelOf } from '../../../sdk/graph/builder.js';
import type { Attribute, Graph, Model } from '../../../sdk/graph/graph.js';
import { float, floats, int, ints, sizeOf, subgraph, tensor, text } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { seeded } from '../../reference/random.js';

/** A graph under construction with random weights. */
export interface Sketch extends GraphBuilder {
  /** A random float32 initializer. */
  weight(...dims: number[]): string;
  /** A random float32 initializer of positive numbers. */
  variance(...dims: number[]): string;
}

export function sketch(seed: number): Sketch {
  const builder = createBuilder();
  const random = seeded(seed);
  const filled = (dims: readonly number[], draw: () => number): string =>
    builder.initializer(builder.name('w'), floatTensor(Array.from({ length: sizeOf(dims) }, draw), dims));
  return Object.defineProperties(
    {
      ...builder,
      weight: (...dims: number[]) => filled(dims, () => random() * 2 - 1),
      variance: (...dims: number[]) => filled(dims, () => random() + 0.5),
    },
    { graph: { get: () => builder.graph } },
  ) as Sketch;
}

export const image = [2, 4, 9, 8] as const;

/** Builds from input `x` to the tensor that becomes the output. */
export function modelFrom(build: (sketch: Sketch) => string, opset = 17, dims: readonly number[] = image): Model {
  const parts = sketch(3);
  parts.input('x', 'float32', dims);
  const last = build(parts);
  const draft = { ...modelOf(parts.graph, opset, opset < 10 ? 4 : 8) };
  const inferred = inferShapes({
    ...draft,
    graph: { ...parts.graph, outputs: [{ name: last, type: 'float32', dims: [] }] },
  });
  const type = staticTypeOf(inferred.graph, last);
  parts.output(last, type.type, type.dims);
  return { ...draft, graph: parts.graph };
}

export const operators = (graph: Graph): string => graph.nodes.map((node) => node.op).join(' ');

export const bn = (g: Sketch, x: string, channels: number, attributes: Record<string, Attribute> = {}): string =>
  g.node(
    'BatchNormalization',
    [x, g.weight(channels), g.weight(channels), g.weight(channels), g.variance(channels)],
    attributes,
  );

export interface Merge {
  readonly name: string;
  readonly build: (g: Sketch) => string;
  /** Operators of the canonical graph. */
  readonly gives: string;
  readonly opset?: number;
  readonly dims?: readonly number[];
}

export const conv = (g: Sketch, x: string, attributes: Record<string, Attribute> = {}, ins = 4, outs = 6): string =>
  g.node('Conv', [x, g.weight(outs, ins, 3, 3)], attributes);

export const merges: readonly Merge[] = [
  { name: 'Conv, BatchNorm', build: (g) => bn(g, conv(g, 'x'), 6), gives: 'Conv' },
  { name: 'BatchNorm, Conv without padding', build: (g) => conv(g, bn(g, 'x', 4)), gives: 'Conv' },
  {
    name: 'BatchNorm, padded Conv',
    build: (g) => conv(g, bn(g, 'x', 4), { pads: ints([1, 1, 1, 1]) }),
    gives: 'BatchNormalization Conv',
  },
  {
    name: 'BatchNorm, grouped Conv, Mul, Add, BatchNorm',
    build: (g) => {
      const y = conv(g, bn(g, 'x', 4), { group: int(2) }, 2, 6);
      return bn(g, g.node('Add', [g.weight(6, 1, 1), g.node('Mul', [y, g.weight(1, 6, 1, 1)])]), 6);
    },
    gives: 'Conv',
  },
  {
    name: 'grouped ConvTranspose, BatchNorm, Sub',
    build: (g) => {
      const y = g.node('ConvTranspose', ['x', g.weight(4, 3, 2, 2)], { group: int(2), strides: ints([2, 2]) });
      return g.node('Sub', [bn(g, y, 6), g.weight(6, 1, 1)]);
    },
    gives: 'ConvTranspose',
  },
  {
    name: 'a constant minus a Conv',
    build: (g) => g.node('Sub', [g.weight(6, 1, 1), conv(g, 'x')]),
    gives: 'Conv Sub',
  },
  {
    name: 'BatchNorm after a Conv that is read twice',
    build: (g) => {
      const y = conv(g, 'x');
      return g.node('Add', [bn(g, y, 6), y]);
    },
    gives: 'Conv BatchNormalization Add',
  },
  {
    name: 'Conv and Add of a whole image',
    build: (g) => g.node('Add', [conv(g, 'x'), g.weight(6, 7, 6)]),
    gives: 'Conv Add',
  },
  {
    name: 'zero Pad, Conv',
    build: (g) => conv(g, g.node('Pad', ['x', g.ints([0, 0, 1, 0, 0, 0, 2, 1])]), { pads: ints([0, 1, 0, 0]) }),
    gives: 'Conv',
  },
  {
    name: 'Pad of ones, Conv',
    build: (g) => conv(g, g.node('Pad', ['x', g.ints([0, 0, 1, 1, 0, 0, 1, 1]), g.floats([1])])),
    gives: 'Pad Conv',
  },
  {
    name: 'MatMul, Add, BatchNorm',
    build: (g) => bn(g, g.node('Add', [g.node('MatMul', ['x', g.weight(5, 7)]), g.weight(7)]), 7),
    gives: 'Gemm',
    dims: [3, 5],
  },
  {
    name: 'MatMul, BatchNorm',
    build: (g) => bn(g, g.node('MatMul', ['x', g.weight(5, 7)]), 7),
    gives: 'Gemm',
    dims: [3, 5],
  },
  {
    name: 'MatMul of higher rank, Add: one layer over rows',
    build: (g) => g.node('Add', [g.node('MatMul', ['x', g.weight(5, 7)]), g.weight(7)]),
    gives: 'Reshape Gemm Reshape',
    dims: [2, 3, 5],
  },
  {
    name: 'BatchNorm, Gemm with alpha and beta, Mul by a scalar',
    build: (g) => {
      const attributes = { transB: int(1), alpha: float(0.5), beta: float(2) };
      const y = g.node('Gemm', [bn(g, 'x', 5), g.weight(7, 5), g.weight(1, 7)], attributes);
      return g.node('Mul', [y, g.floats([3])]);
    },
    gives: 'Gemm',
    dims: [3, 5],
  },
  {
    name: 'Gemm with alpha and no bias, Add',
    build: (g) => g.node('Add', [g.node('Gemm', ['x', g.weight(5, 7)], { alpha: float(0.5) }), g.weight(7)]),
    gives: 'Gemm',
    dims: [3, 5],
  },
  {
    name: 'a transposed, cast weight',
    build: (g) => {
      const half = g.initializer(
        'half',
        tensorOf(
          'float16',
          [7, 5],
          Array.from({ length: 35 }, (_, i) => i / 8),
        ),
      );
      const wide = g.node('Cast', [half], { to: int(1) });
      return g.node('Add', [g.node('MatMul', ['x', g.node('Transpose', [wide])]), g.weight(7)]);
    },
    gives: 'Gemm',
    dims: [3, 5],
  },
  {
    name: 'Identity at both ends',
    build: (g) => g.node('Identity', [g.node('Relu', [g.node('Identity', ['x'])])], {}, { outputs: ['y'] }),
    gives: 'Relu',
  },
  { name: 'nothing but an Identity', build: (g) => g.node('Identity', ['x']), gives: 'Identity' },
  {
    name: 'a shape computed in the graph',
    build: (g) => {
      const batch = g.node('Unsqueeze', [
        g.node('Gather', [g.node('Shape', ['x']), g.initializer('zero', intTensor([0], []))]),
        g.ints([0]),
      ]);
      return g.node('Reshape', ['x', g.node('Concat', [batch, g.ints([-1])], { axis: int(0) })]);
    },
    gives: 'Reshape',
  },
  {
    name: 'auto_pad SAME_UPPER of a strided Conv',
    build: (g) => conv(g, 'x', { auto_pad: text('SAME_UPPER'), strides: ints([2, 3]) }),
    gives: 'Conv',
  },
  {
    name: 'auto_pad SAME_LOWER of pools and ConvTranspose',
    build: (g) => {
      const window = { auto_pad: text('SAME_LOWER'), kernel_shape: ints([3, 2]), strides: ints([2, 1]) };
      const y = g.node('AveragePool', [g.node('MaxPool', ['x'], window)], window);
      return g.node('ConvTranspose', [y, g.weight(4, 2, 3, 3)], {
        auto_pad: text('SAME_LOWER'),
        strides: ints([2, 2]),
      });
    },
    gives: 'MaxPool AveragePool ConvTranspose',
  },
  {
    name: 'ConvTranspose with output_shape',
    build: (g) =>
      g.node('ConvTranspose', ['x', g.weight(4, 2, 3, 3)], { output_shape: ints([18, 17]), strides: ints([2, 2]) }),
    gives: 'ConvTranspose',
  },
  {
    name: 'an If with a constant condition',
    build: (g) => {
      const inside = createBuilder(undefined, 'inside_');
      const doubled = inside.node('Mul', ['x', inside.floats([2])]);
      inside.output(doubled, 'float32', [...image]);
      const other = createBuilder(undefined, 'inside_');
      other.output(other.node('Relu', ['x']), 'float32', [...image]);
      const rank = g.node('Size', [g.node('Shape', ['x'])]);
      const four = g.node('Equal', [rank, g.initializer('four', intTensor([4], []))]);
      const attributes = { then_branch: subgraph(inside.graph), else_branch: subgraph(other.graph) };
      return g.node('Relu', [g.node('If', [four], attributes)]);
    },
    gives: 'Mul Relu',
  },
];

/** Forms of older operator sets. */
export const older: readonly Merge[] = [
  {
    name: 'Slice, Pad and Clip by attributes',
    opset: 9,
    build: (g) => {
      const cut = g.node('Slice', ['x'], { starts: ints([1, -6]), ends: ints([2 ** 53, -1]), axes: ints([2, 3]) });
      const padded = g.node('Pad', [cut], { pads: ints([0, 0, 1, 0, 0, 0, 0, 2]), value: float(0.25) });
      return g.node('Clip', [padded], { min: float(-0.5), max: float(0.5) });
    },
    gives: 'Slice Pad Clip',
  },
  {
    name: 'Squeeze, Unsqueeze, Split and ReduceSum by attributes',
    opset: 11,
    build: (g) => {
      const sum = g.node('ReduceSum', ['x'], { axes: ints([2]), keepdims: int(1) });
      const flat = g.node('Unsqueeze', [g.node('Squeeze', [sum], { axes: ints([2]) })], { axes: ints([0]) });
      const [a, b] = g.nodes('Split', [flat], 2, { axis: int(2), split: ints([1, 3]) });
      return g.node('Concat', [b!, a!], { axis: int(2) });
    },
    gives: 'ReduceSum Squeeze Unsqueeze Split Concat',
  },
  {
    name: 'Softmax over all but the batch',
    opset: 11,
    build: (g) => g.node('Softmax', ['x']),
    gives: 'Reshape Softmax Reshape',
  },
  {
    name: 'LogSoftmax over the last axis',
    opset: 11,
    build: (g) => g.node('LogSoftmax', ['x'], { axis: int(-1) }),
    gives: 'LogSoftmax',
  },
  {
    name: 'Softmax before trailing ones',
    opset: 7,
    build: (g) => g.node('Softmax', [g.node('GlobalAveragePool', ['x'])]),
    gives: 'GlobalAveragePool Softmax',
  },
  {
    name: 'Dropout and the outputs of BatchNormalization',
    opset: 7,
    build: (g) => {
      const [y] = g.nodes('Dropout', [bn(g, 'x', 4, { momentum: float(0.5) })], 2, { ratio: float(0.5) });
      return g.node('Relu', [y!]);
    },
    gives: 'BatchNormalization Relu',
  },
  ...(['nearest', 'linear'] as const).map(
    (mode): Merge => ({
      name: `Upsample ${mode}`,
      opset: 9,
      build: (g) => g.node('Upsample', ['x', g.floats([1, 1, 2, 3])], { mode: text(mode) }),
      gives: 'Resize',
    }),
  ),
  {
    name: 'Upsample by an attribute',
    opset: 7,
    build: (g) => g.node('Upsample', ['x'], { scales: floats([1, 1, 2, 2]) }),
    gives: 'Resize',
  },
  {
    name: 'Resize of version 10, smaller',
    opset: 10,
    build: (g) => g.node('Resize', ['x', g.floats([1, 1, 0.6, 0.5])], { mode: text('nearest') }),
    gives: 'Resize',
  },
  {
    name: 'Resize of version 10, linear',
    opset: 10,
    build: (g) => g.node('Resize', ['x', g.floats([1, 1, 1.7, 0.5])], { mode: text('linear') }),
    gives: 'Resize',
  },
  {
    name: 'TopK and Gemm by attributes',
    opset: 9,
    dims: [3, 5],
    build: (g) => {
      const y = g.node('Gemm', ['x', g.weight(5, 7), g.weight(7)]);
      return g.nodes('TopK', [y], 2, { k: int(2), axis: int(1) })[0]!;
    },
    gives: 'Gemm TopK',
  },
  {
    name: 'Constant nodes and Scatter',
    opset: 10,
    dims: [2, 3],
    build: (g) => {
      const at = g.node('Constant', [], { value: tensor(intTensor([1, 0, 2], [1, 3])) });
      return g.node('Scatter', ['x', at, g.node('Constant', [], { value: tensor(floatTensor([1, 2, 3], [1, 3])) })], {
        axis: int(1),
      });
    },
    gives: 'ScatterElements',
  },
];
