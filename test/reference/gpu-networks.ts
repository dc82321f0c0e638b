import { modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { type Attribute, float, int, ints, text } from '../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../sdk/graph/shapes.js';
import { tensorOf } from '../../sdk/graph/tensors.js';
import type { CompileOptions } from '../../sdk/lrp/report.js';
import { bn, type Sketch, sketch } from '../node/graph/forms.js';

/** A small network and how it is explained. */
export interface GpuNetwork {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly explanations: readonly CompileOptions[];
}

interface Form {
  readonly inputs?: Readonly<Record<string, readonly number[]>>;
  readonly opset?: number;
  readonly explanations?: readonly CompileOptions[];
}

const picture = [1, 3, 8, 8] as const;

/** A network from its inputs (default one picture `x`) to the tensors that `build` returns, which become its outputs. */
function network(name: string, form: Form, build: (g: Sketch) => string | readonly string[]): GpuNetwork {
  const g = sketch(11);
  for (const [input, dims] of Object.entries(form.inputs ?? { x: picture })) g.input(input, 'float32', dims);
  const built = build(g);
  const outputs = (typeof built === 'string' ? [built] : built).map((output, index) =>
    g.node('Identity', [output], {}, { outputs: [index === 0 ? 'logits' : `output_${index}`] }),
  );
  const draft = modelOf(g.graph, form.opset ?? 18, 10);
  const untyped = outputs.map((output) => ({ name: output, type: 'float32' as const, dims: [] }));
  const inferred = inferShapes({ ...draft, graph: { ...g.graph, outputs: untyped } });
  for (const output of outputs) {
    const { type, dims } = staticTypeOf(inferred.graph, output);
    g.output(output, type, dims);
  }
  const explanations = form.explanations ?? [{ composite: 'epsilon-plus' }, { composite: 'gradient' }];
  return { name, bytes: encodeModel({ ...draft, graph: g.graph }), explanations };
}

const conv = (g: Sketch, x: string, from: number, to: number, attributes: Record<string, Attribute> = {}): string =>
  g.node('Conv', [x, g.weight(to, from, 3, 3), g.weight(to)], { pads: ints([1, 1, 1, 1]), ...attributes });

const dense = (g: Sketch, x: string, from: number, to = 3): string =>
  g.node('Gemm', [g.node('Flatten', [x]), g.weight(to, from), g.weight(to)], { transB: int(1) });

const pooled = (g: Sketch, x: string, channels: number): string => dense(g, g.node('GlobalAveragePool', [x]), channels);

const cells = { LSTM: 4, GRU: 3, RNN: 1 } as const;

function recurrentNetwork(op: keyof typeof cells, direction: 'forward' | 'bidirectional'): GpuNetwork {
  const [length, inputs, hidden] = [4, 3, 5];
  const form = {
    inputs: { x: [length, 1, inputs] },
    explanations: [{ composite: 'epsilon' }, { composite: 'gradient' }],
  };
  return network(`${op}, ${direction}`, form, (g) => {
    const d = direction === 'forward' ? 1 : 2;
    const gates = cells[op] * hidden;
    const [y] = g.nodes(
      op,
      ['x', g.weight(d, gates, inputs), g.weight(d, gates, hidden), g.weight(d, 2 * gates)],
      ['y', 'y_h'],
      {
        hidden_size: int(hidden),
        direction: text(direction),
        ...(op === 'GRU' ? { linear_before_reset: int(1) } : {}),
      },
    );
    return dense(g, g.node('Reshape', [g.node('ReduceMean', [y!, g.ints([0])]), g.ints([1, -1])]), d * hidden);
  });
}

/** A vision transformer: patches, a class token, one block with two heads, layer normalisation, GELU. */
function transformer(g: Sketch): string {
  const [tokens, width, heads] = [5, 8, 2];
  const patches = g.node('Conv', ['x', g.weight(width, 3, 4, 4), g.weight(width)], { strides: ints([4, 4]) });
  const sequence = g.node('Transpose', [g.node('Reshape', [patches, g.ints([1, width, 4])])], {
    perm: ints([0, 2, 1]),
  });
  const withClass = g.node('Concat', [g.weight(1, 1, width), sequence], { axis: int(1) });
  const start = g.node('Add', [withClass, g.weight(1, tokens, width)]);
  const norm = (x: string): string =>
    g.node('LayerNormalization', [x, g.variance(width), g.weight(width)], { axis: int(-1) });
  const linear = (x: string, from: number, to: number): string =>
    g.node('Add', [g.node('MatMul', [x, g.weight(from, to)]), g.weight(to)]);
  const split = (x: string, perm: readonly number[]): string =>
    g.node('Transpose', [g.node('Reshape', [x, g.ints([1, tokens, heads, width / heads])])], { perm: ints(perm) });
  const normal = norm(start);
  const query = split(linear(normal, width, width), [0, 2, 1, 3]);
  const key = split(linear(normal, width, width), [0, 2, 3, 1]);
  const value = split(linear(normal, width, width), [0, 2, 1, 3]);
  const scores = g.node('Mul', [g.node('MatMul', [query, key]), g.floats([0.5])]);
  const mixed = g.node('MatMul', [g.node('Softmax', [scores], { axis: int(-1) }), value]);
  const joined = g.node('Reshape', [
    g.node('Transpose', [mixed], { perm: ints([0, 2, 1, 3]) }),
    g.ints([1, tokens, width]),
  ]);
  const attended = g.node('Add', [start, linear(joined, width, width)]);
  const wide = linear(norm(attended), width, 2 * width);
  const erf = g.node('Erf', [g.node('Div', [wide, g.floats([Math.SQRT2])])]);
  const gelu = g.node('Mul', [g.node('Mul', [wide, g.node('Add', [erf, g.floats([1])])]), g.floats([0.5])]);
  const out = norm(g.node('Add', [attended, linear(gelu, 2 * width, width)]));
  return dense(g, g.node('Gather', [out, g.ints([0], [])], { axis: int(1) }), width);
}

const activations = 'LeakyRelu Elu Celu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Abs Neg Exp'.split(
  ' ',
);

const resized = (g: Sketch, x: string, mode: string, scales: readonly number[]): string =>
  g.node('Resize', [x, '', g.floats(scales)], { mode: text(mode) });

/** What a gate decides per pixel with conditions joined by Or, Xor and Not; and what only integers and signs tell. */
function selection(g: Sketch): string {
  const x = conv(g, 'x', 3, 4);
  const above = g.node('Greater', [x, g.floats([0.2])]);
  const below = g.node('Less', [x, g.floats([-0.2])]);
  const far = g.node('Or', [above, below]);
  const odd = g.node('Xor', [far, g.node('Equal', [above, below])]);
  const chosen = g.node('Where', [odd, x, g.node('Max', [x, g.node('Relu', [x])])]);
  const sign = g.node('Sign', [g.node('Round', [g.node('Mul', [x, g.floats([3])])])]);
  const signed = g.node('Where', [
    g.node('Equal', [sign, g.floats([0])]),
    chosen,
    g.node('Mul', [chosen, g.floats([2])]),
  ]);
  const [best] = g.nodes('TopK', [g.node('Reshape', [signed, g.ints([1, 4, 64])]), g.ints([3])], ['best', 'at'], {
    axis: int(2),
  });
  const at = g.initializer('elements', tensorOf('int64', [1, 2, 3], [0, 1, 2, 2, 0, 1]));
  return dense(g, g.node('CumSum', [g.node('GatherElements', [best!, at], { axis: int(2) }), g.ints([2], [])]), 6);
}

/** Attention weights that a tanh gate scales, and squeeze-and-excite. */
function gates(g: Sketch): string {
  const x = conv(g, 'x', 3, 4);
  const squeezed = g.node('Relu', [g.node('Conv', [g.node('GlobalAveragePool', [x]), g.weight(2, 4, 1, 1)])]);
  const excited = g.node('HardSigmoid', [g.node('Conv', [squeezed, g.weight(4, 2, 1, 1)])]);
  const y = g.node('Mul', [x, excited]);
  const silu = g.node('Mul', [y, g.node('Sigmoid', [y])]);
  return pooled(g, g.node('Mul', [silu, g.node('Tanh', [conv(g, y, 4, 4)])]), 4);
}

/** Boxes and scores as a detector gives them: boxes decoded with exponents, scores under a sigmoid. */
function detector(g: Sketch): string[] {
  const x = g.node('Relu', [conv(g, 'x', 3, 4, { strides: ints([2, 2]) })]);
  const flat = (map: string, last: number): string =>
    g.node('Reshape', [g.node('Transpose', [map], { perm: ints([0, 2, 3, 1]) }), g.ints([1, 16, last])]);
  const scores = g.node('Sigmoid', [flat(conv(g, x, 4, 2), 2)]);
  const [centre, size] = g.nodes('Split', [flat(conv(g, x, 4, 4), 4), g.ints([2, 2])], ['centre', 'size'], {
    axis: int(2),
  });
  const boxes = g.node('Concat', [g.node('Add', [centre!, g.weight(1, 16, 2)]), g.node('Exp', [size!])], {
    axis: int(2),
  });
  return [scores, boxes, g.node('ArgMax', [scores], { axis: int(2), keepdims: int(0) })];
}

const every = (...composites: readonly string[]): CompileOptions[] => composites.map((composite) => ({ composite }));

/** A sequential network with what the methods look for: convolutions, a pool, a head of an average and one layer. */
const classifier = (explanations: readonly CompileOptions[]): GpuNetwork =>
  network('every preset and method', { explanations }, (g) => {
    const x = g.node('Relu', [bn(g, conv(g, 'x', 3, 4), 4)]);
    const y = g.node('MaxPool', [x], { kernel_shape: ints([3, 3]), strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) });
    return pooled(g, g.node('Relu', [conv(g, y, 4, 5)]), 5);
  });

/** A clip [channels, time, height, width] through 3-D convolutions that WebGPU lacks: with groups, and transposed. */
function clip(g: Sketch): string {
  const cube = (value: number): Attribute => ints([value, value, value]);
  const x = g.node('Relu', [
    g.node('Conv', ['x', g.weight(4, 2, 3, 3, 3), g.weight(4)], { pads: ints([1, 1, 1, 1, 1, 1]) }),
  ]);
  const grouped = g.node('Conv', [x, g.weight(4, 1, 3, 2, 2), g.weight(4)], {
    group: int(4),
    strides: cube(2),
    pads: ints([1, 0, 1, 1, 0, 1]),
  });
  const wider = g.node('ConvTranspose', [g.node('Relu', [grouped]), g.weight(4, 3, 2, 3, 3), g.weight(6)], {
    ...{ group: int(2), strides: cube(2), pads: ints([0, 1, 1, 0, 1, 0]), output_padding: ints([1, 0, 0]) },
  });
  return pooled(g, g.node('Relu', [wider]), 6);
}

/** The networks for the GPU; `presets` are the names that the classifier is explained by. */
export const gpuNetworks = (presets: readonly string[]): readonly GpuNetwork[] => [
  classifier(presets.map((composite) => ({ composite, inputRanges: { x: [-1, 1] } }))),
  network(
    'a graph with a gate',
    {
      explanations: [
        { composite: 'epsilon-plus-flat', gated: true, audit: true },
        { composite: 'gradient', gated: true },
      ],
    },
    (g) => pooled(g, g.node('Selu', [g.node('LRN', [conv(g, 'x', 3, 4)], { size: int(3) })]), 4),
  ),
  ...(['LSTM', 'GRU', 'RNN'] as const).flatMap((op) => [
    recurrentNetwork(op, 'forward'),
    recurrentNetwork(op, 'bidirectional'),
  ]),
  network('vision transformer', { explanations: every('attn-lrp', 'gradient') }, transformer),
  network('activations', {}, (g) => {
    const x = activations.reduce(
      (y, op) => g.node('Mul', [conv(g, g.node(op, [y]), 4, 4), g.floats([0.2])]),
      conv(g, 'x', 3, 4),
    );
    return pooled(g, g.node('Mish', [g.node('ThresholdedRelu', [g.node('PRelu', [x, g.weight(4, 1, 1)])])]), 4);
  }),
  network('normalisations', { opset: 21 }, (g) => {
    const conv1 = bn(g, g.node('Relu', [conv(g, 'x', 3, 4)]), 4);
    const conv2 = g.node('InstanceNormalization', [conv(g, conv1, 4, 4), g.variance(4), g.weight(4)]);
    const conv3 = g.node('GroupNormalization', [conv(g, conv2, 4, 4), g.variance(4), g.weight(4)], {
      num_groups: int(2),
    });
    const conv4 = g.node('LRN', [conv(g, conv3, 4, 4)], {
      size: int(3),
      alpha: float(0.5),
      beta: float(0.6),
      bias: float(1.5),
    });
    const conv5 = g.node('MeanVarianceNormalization', [conv(g, conv4, 4, 4)]);
    const last = g.node('LayerNormalization', [conv(g, conv5, 4, 4), g.variance(8), g.weight(8)]);
    return pooled(g, last, 4);
  }),
  network('root mean squares', { opset: 23 }, (g) =>
    pooled(g, g.node('RMSNormalization', [conv(g, 'x', 3, 4), g.variance(8)]), 4),
  ),
  network('resampling', {}, (g) => {
    const half = conv(g, resized(g, conv(g, 'x', 3, 4), 'linear', [1, 1, 0.5, 0.75]), 4, 4);
    const cubic = resized(g, half, 'cubic', [1, 1, 2, 1.5]);
    const last = g.node('Transpose', [cubic], { perm: ints([0, 2, 3, 1]) });
    const stretched = resized(g, resized(g, last, 'linear', [1, 2, 2, 1]), 'nearest', [1, 0.5, 1, 1]);
    const first = g.node('Transpose', [stretched], { perm: ints([0, 3, 1, 2]) });
    const deep = g.node('SpaceToDepth', [first], { blocksize: int(2) });
    const y = g.node('DepthToSpace', [deep], { blocksize: int(2), mode: text('CRD') });
    return pooled(g, g.node('Tile', [conv(g, y, 4, 4), g.ints([1, 1, 1, 2])]), 4);
  }),
  network('selection', {}, selection),
  network('gates', {}, gates),
  network(
    'detector',
    {
      explanations: [
        { composite: 'epsilon-plus', output: 'logits' },
        { composite: 'epsilon', output: 'output_1' },
      ],
    },
    detector,
  ),
  network('pools and norms', {}, (g) => {
    const x = conv(g, 'x', 3, 4);
    const average = g.node('AveragePool', [x], {
      kernel_shape: ints([3, 3]),
      pads: ints([1, 1, 1, 1]),
      strides: ints([2, 2]),
      ceil_mode: int(1),
    });
    const norms = ['GlobalLpPool', 'GlobalMaxPool'].map((op) => g.node('Flatten', [g.node(op, [x])]));
    const reduced = ['ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceMax', 'ReduceMin', 'ReduceSum'].map((op) =>
      g.node('Flatten', [g.node(op, [average, g.ints([2, 3])])]),
    );
    const all = g.node('Concat', [...norms, ...reduced], { axis: int(1) });
    return dense(g, g.node('Sum', [all, g.node('Div', [all, g.floats([2])]), g.weight(1, 32)]), 32);
  }),
  network(
    'a clip with groups and transposed',
    { inputs: { x: [1, 2, 5, 6, 6] }, explanations: every('epsilon-plus-flat', 'gradient') },
    clip,
  ),
  network('a condition computed from data', { explanations: [{ composite: 'epsilon' }] }, (g) => {
    const x = conv(g, 'x', 3, 4);
    return pooled(
      g,
      g.node('Where', [
        g.node('Greater', [g.node('ReduceSum', [x, g.ints([1, 2, 3])]), g.floats([0])]),
        x,
        g.node('Neg', [x]),
      ]),
      4,
    );
  }),
];
