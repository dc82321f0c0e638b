import { createBuilder, floatTensor, type GraphBuilder, intTensor } from '../../sdk/graph/builder.js';
import { float, int, ints, sizeOf } from '../../sdk/graph/graph.js';
import { seeded } from '../reference/random.js';

/** A tensor of a network under construction: its name in the graph and its shape, [batch, channels, …] for maps. */
export interface Feature {
  readonly name: string;
  readonly dims: readonly number[];
}

/** The activations of the published networks, as exporters write them. */
export type Activation = 'none' | 'relu' | 'relu6' | 'silu' | 'hard-swish' | 'sigmoid' | 'hard-sigmoid' | 'gelu';

/** How a convolution differs from a square one of stride 1 with "same" padding and a bias. */
export interface Convolution {
  readonly stride?: number;
  readonly groups?: number;
  readonly padding?: number;
  /** with `false` the layer has no bias, as in front of a BatchNormalization */
  readonly bias?: boolean;
}

/** Layers with seeded random weights; each adds its nodes and returns its output. */
export interface Layers {
  readonly builder: GraphBuilder;
  input(dims: readonly number[]): Feature;
  conv(x: Feature, width: number, kernel: number, options?: Convolution): Feature;
  activate(x: Feature, activation: Activation): Feature;
  /** BatchNormalization with random statistics, as a node of its own */
  batchNorm(x: Feature): Feature;
  layerNorm(x: Feature): Feature;
  maxPool(x: Feature, kernel: number, stride: number, padding?: number, ceil?: boolean): Feature;
  averagePool(x: Feature, kernel: number, stride: number): Feature;
  /** [batch, channels, …] → [batch, channels, 1, …] */
  globalAverage(x: Feature): Feature;
  flatten(x: Feature): Feature;
  dense(x: Feature, width: number): Feature;
  /** a matrix product over the last axis and a bias, as exporters write it for more than two axes */
  linear(x: Feature, width: number): Feature;
  /** random values that are part of the model: class token, position embedding */
  parameter(dims: readonly number[], scale: number): Feature;
  /** [time, batch, features] → [time, batch, hidden] */
  lstm(x: Feature, hidden: number): Feature;
  add(a: Feature, b: Feature): Feature;
  mul(a: Feature, b: Feature): Feature;
  matMul(a: Feature, b: Feature): Feature;
  softmax(x: Feature): Feature;
  concat(list: readonly Feature[], axis: number): Feature;
  split(x: Feature, parts: number, axis: number): Feature[];
  reshape(x: Feature, dims: readonly number[]): Feature;
  transpose(x: Feature, permutation: readonly number[]): Feature;
  /** the cells at one place of an axis, which is gone then */
  at(x: Feature, axis: number, index: number): Feature;
}

/** Starts a network. */
export function createLayers(seed: number): Layers {
  const random = seeded(seed);
  const builder = createBuilder();
  const store = (hint: string, values: Float32Array, dims: readonly number[]): string =>
    builder.initializer(builder.name(hint), floatTensor(values, dims));
  const uniform = (dims: readonly number[], low: number, high: number, hint = 'w'): string => {
    const values = new Float32Array(sizeOf(dims));
    for (let i = 0; i < values.length; i++) values[i] = low + random() * (high - low);
    return store(hint, values, dims);
  };
  // He-scaled, so that activations keep their size through the depth
  const weights = (dims: readonly number[], fanIn: number): string => {
    const bound = Math.sqrt(6 / fanIn);
    return uniform(dims, -bound, bound);
  };
  const biases = (width: number): string => uniform([width], -0.1, 0.1, 'b');
  const node = (op: string, inputs: readonly string[], dims: readonly number[], attributes = {}): Feature => ({
    name: builder.node(op, inputs, attributes),
    dims,
  });
  const pooled = (size: readonly number[], kernel: number, stride: number, padding: number, ceil = false): number[] =>
    size.map((length) => Math[ceil ? 'ceil' : 'floor']((length + 2 * padding - kernel) / stride) + 1);
  const elementwise = (op: string, a: Feature, b: Feature): Feature =>
    node(op, [a.name, b.name], a.dims.length >= b.dims.length && sizeOf(a.dims) >= sizeOf(b.dims) ? a.dims : b.dims);
  const window = (axes: number, kernel: number, stride: number, padding: number) => ({
    kernel_shape: ints(new Array<number>(axes).fill(kernel)),
    strides: ints(new Array<number>(axes).fill(stride)),
    pads: ints(new Array<number>(2 * axes).fill(padding)),
  });

  const activations: Readonly<Record<Activation, (x: Feature) => Feature>> = {
    none: (x) => x,
    relu: (x) => node('Relu', [x.name], x.dims),
    relu6: (x) => node('Clip', [x.name, builder.floats([0]), builder.floats([6])], x.dims),
    sigmoid: (x) => node('Sigmoid', [x.name], x.dims),
    'hard-sigmoid': (x) => node('HardSigmoid', [x.name], x.dims, { alpha: float(1 / 6), beta: float(0.5) }),
    'hard-swish': (x) => node('HardSwish', [x.name], x.dims),
    silu: (x) => elementwise('Mul', x, node('Sigmoid', [x.name], x.dims)),
    gelu: (x) => {
      const erf = node('Erf', [node('Div', [x.name, builder.floats([Math.SQRT2])], x.dims).name], x.dims);
      const product = elementwise('Mul', x, node('Add', [erf.name, builder.floats([1])], x.dims));
      return node('Mul', [product.name, builder.floats([0.5])], x.dims);
    },
  };

  const layers: Layers = {
    builder,
    input: (dims) => ({ name: builder.input('input', 'float32', dims), dims }),
    conv(x, width, kernel, { stride = 1, groups = 1, padding = (kernel - 1) / 2, bias = true } = {}) {
      const [batch, channels, ...size] = x.dims as [number, number, ...number[]];
      const cells = kernel ** size.length;
      const w = weights([width, channels / groups, ...size.map(() => kernel)], (channels / groups) * cells);
      const dims = [batch, width, ...pooled(size, kernel, stride, padding)];
      return node('Conv', bias ? [x.name, w, biases(width)] : [x.name, w], dims, {
        ...window(size.length, kernel, stride, padding),
        group: int(groups),
      });
    },
    activate: (x, activation) => activations[activation](x),
    batchNorm(x) {
      const channels = [x.dims[1]!];
      const parameters = [
        uniform(channels, 0.5, 1.5, 'gamma'),
        uniform(channels, -0.1, 0.1, 'beta'),
        uniform(channels, -0.1, 0.1, 'mean'),
        uniform(channels, 0.5, 1.5, 'variance'),
      ];
      return node('BatchNormalization', [x.name, ...parameters], x.dims);
    },
    layerNorm(x) {
      const width = [x.dims.at(-1)!];
      return node('LayerNormalization', [x.name, uniform(width, 0.5, 1.5), biases(width[0]!)], x.dims, {
        axis: int(-1),
        epsilon: float(1e-6),
      });
    },
    maxPool(x, kernel, stride, padding = 0, ceil = false) {
      const [batch, channels, ...size] = x.dims as [number, number, ...number[]];
      const dims = [batch, channels, ...pooled(size, kernel, stride, padding, ceil)];
      return node('MaxPool', [x.name], dims, {
        ...window(size.length, kernel, stride, padding),
        ceil_mode: int(ceil ? 1 : 0),
      });
    },
    averagePool(x, kernel, stride) {
      const [batch, channels, ...size] = x.dims as [number, number, ...number[]];
      const dims = [batch, channels, ...pooled(size, kernel, stride, 0)];
      return node('AveragePool', [x.name], dims, window(size.length, kernel, stride, 0));
    },
    globalAverage: (x) => node('GlobalAveragePool', [x.name], [...x.dims.slice(0, 2), ...x.dims.slice(2).map(() => 1)]),
    flatten: (x) => node('Flatten', [x.name], [x.dims[0]!, sizeOf(x.dims.slice(1))], { axis: int(1) }),
    dense(x, width) {
      const [batch, from] = x.dims as [number, number];
      const inputs = [x.name, weights([width, from], from), biases(width)];
      return node('Gemm', inputs, [batch, width], { transB: int(1), alpha: float(1) });
    },
    linear(x, width) {
      const from = x.dims.at(-1)!;
      const dims = [...x.dims.slice(0, -1), width];
      // Xavier's scale: no ReLU follows, and a sum does
      const bound = Math.sqrt(3 / from);
      const product = node('MatMul', [x.name, uniform([from, width], -bound, bound)], dims);
      return node('Add', [product.name, biases(width)], dims);
    },
    parameter: (dims, scale) => ({ name: uniform(dims, -scale, scale, 'p'), dims }),
    lstm(x, hidden) {
      const [time, batch, from] = x.dims as [number, number, number];
      const bound = 1 / Math.sqrt(hidden);
      const inputs = [
        x.name,
        uniform([1, 4 * hidden, from], -bound, bound),
        uniform([1, 4 * hidden, hidden], -bound, bound),
        uniform([1, 8 * hidden], -bound, bound),
      ];
      const y = node('LSTM', inputs, [time, 1, batch, hidden], { hidden_size: int(hidden) });
      return node('Squeeze', [y.name, builder.ints([1])], [time, batch, hidden]);
    },
    add: (a, b) => elementwise('Add', a, b),
    mul: (a, b) => elementwise('Mul', a, b),
    matMul: (a, b) => node('MatMul', [a.name, b.name], [...a.dims.slice(0, -1), b.dims.at(-1)!]),
    softmax: (x) => node('Softmax', [x.name], x.dims, { axis: int(-1) }),
    concat(list, axis) {
      const dims = [...list[0]!.dims];
      dims[axis] = list.reduce((sum, { dims: own }) => sum + own[axis]!, 0);
      return node(
        'Concat',
        list.map(({ name }) => name),
        dims,
        { axis: int(axis) },
      );
    },
    split(x, parts, axis) {
      const dims = [...x.dims];
      dims[axis] = x.dims[axis]! / parts;
      const sizes = builder.ints(new Array<number>(parts).fill(dims[axis]!));
      return builder.nodes('Split', [x.name, sizes], parts, { axis: int(axis) }).map((name) => ({ name, dims }));
    },
    reshape: (x, dims) => node('Reshape', [x.name, builder.ints(dims)], dims),
    transpose: (x, permutation) =>
      node(
        'Transpose',
        [x.name],
        permutation.map((axis) => x.dims[axis]!),
        { perm: ints(permutation) },
      ),
    at(x, axis, index) {
      const place = builder.initializer(builder.name('index'), intTensor([index], []));
      return node(
        'Gather',
        [x.name, place],
        x.dims.filter((_, k) => k !== axis),
        { axis: int(axis) },
      );
    },
  };
  return layers;
}
