import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { float, int, ints, type Model, sizeOf } from '../../../sdk/graph/graph.js';
import { numbersOf } from '../../../sdk/graph/tensors.js';
import { type ChannelClasses, channelClasses } from '../../../sdk/quantize/channel-classes.js';
import { equalize } from '../../../sdk/quantize/equalize.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { deviation } from '../../reference/deviation.js';
import { seeded } from '../../reference/random.js';

const open = wasmRuntime();

/** Layers whose channels have sizes from 0.01 to 100, as merged BatchNormalization leaves them. */
function layers(seed: number, builder: GraphBuilder) {
  const random = seeded(seed);
  const values = (dims: readonly number[]): Float32Array => {
    const perChannel = sizeOf(dims) / dims[0]!;
    const sizes = Array.from({ length: dims[0]! }, () => 10 ** (random() * 4 - 2));
    return Float32Array.from(
      { length: sizeOf(dims) },
      (_, at) => (random() * 2 - 1) * sizes[Math.floor(at / perChannel)]!,
    );
  };
  const constant = (dims: readonly number[]): string =>
    builder.initializer(builder.name('w'), floatTensor(values(dims), dims));
  return {
    conv: (x: string, from: number, to: number, kernel: number, group = 1): string =>
      builder.node('Conv', [x, constant([to, from / group, kernel, kernel]), constant([to])], {
        kernel_shape: ints([kernel, kernel]),
        pads: ints(new Array(4).fill((kernel - 1) / 2)),
        group: int(group),
      }),
    dense: (x: string, from: number, to: number): string =>
      builder.node('Gemm', [x, constant([to, from]), constant([to])], {
        transB: int(1),
        alpha: float(0.5),
        beta: float(2),
      }),
    clip: (x: string): string => builder.node('Clip', [x, builder.floats([0]), builder.floats([6])]),
  };
}

function network(seed: number, activation: 'Relu' | 'LeakyRelu' | 'Clip' | 'Sigmoid' | 'none'): Model {
  const builder = createBuilder();
  const { conv, dense, clip } = layers(seed, builder);
  const act = (x: string): string =>
    activation === 'none' ? x : activation === 'Clip' ? clip(x) : builder.node(activation, [x]);
  let x = builder.input('x', 'float32', [1, 3, 6, 6]);
  x = act(conv(x, 3, 8, 1));
  x = act(conv(x, 8, 8, 3, 8));
  const shortcut = conv(x, 8, 8, 1);
  x = builder.node('Add', [shortcut, conv(act(conv(shortcut, 8, 12, 1)), 12, 8, 3)]);
  x = builder.node('MaxPool', [act(conv(x, 8, 6, 3))], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  x = builder.node('GlobalAveragePool', [act(conv(x, 6, 10, 1))]);
  x = builder.node('Flatten', [x]);
  builder.node('Identity', [dense(x, 10, 4)], {}, { outputs: ['y'] });
  builder.output('y', 'float32', [1, 4]);
  return canonicalize(modelOf(builder.graph)).model;
}

async function outputOf(model: Model, x: Float32Array): Promise<Float32Array> {
  const opened = await open(encodeModel(model));
  try {
    return (await opened.run({ x: { dims: [1, 3, 6, 6], data: x } })).y!.data as Float32Array;
  } finally {
    await opened.close();
  }
}

const weightsOf = ({ graph }: Model): unknown[] =>
  graph.nodes.map(({ inputs }) => graph.initializers.get(inputs[1] ?? '')?.bytes);

const picture = (seed: number): Float32Array => {
  const random = seeded(seed);
  return Float32Array.from({ length: 108 }, () => random() * 2 - 1);
};

/** Layers that read channels which can be scaled. */
const readers = ({ layers }: ChannelClasses): number => layers.filter(({ inputs }) => inputs !== undefined).length;

/** The model with equalized channels, for ranges that differ by channel. */
function equalized(model: Model, seed: number): { model: Model; layers: number } {
  const random = seeded(seed);
  const classes = channelClasses(model.graph);
  const largest = new Map(
    [...classes.tensors].map(([name, { length }]) => [
      name,
      Float64Array.from({ length }, (_, c) => (c === 1 ? 0 : 10 ** (random() * 3 - 2))),
    ]),
  );
  const graph = equalize(model.graph, classes, largest, createBuilder(model.graph));
  return { model: { ...model, graph }, layers: readers(classes) };
}

describe('equalizing channels', () => {
  it.each(['Relu', 'LeakyRelu', 'none'] as const)(
    'with %s does not change what the network computes',
    async (activation) => {
      for (const seed of [1, 2, 3]) {
        const model = network(seed, activation);
        const { model: equal, layers } = equalized(model, seed);
        // all eight but the first, which reads the input
        expect(layers).toBe(7);
        expect(weightsOf(equal)).not.toEqual(weightsOf(model));
        const x = picture(seed + 10);
        expect(deviation(await outputOf(equal, x), await outputOf(model, x))).toBeLessThan(1e-5);
      }
    },
  );

  it('leaves channels alone that a bound or a curve follows', () => {
    for (const activation of ['Clip', 'Sigmoid'] as const) {
      const { graph } = network(4, activation);
      const producers = new Map(graph.nodes.map((node) => [node.outputs[0]!, node.op]));
      // the shortcut and the sum have no activation between the layers that make and read them
      const { tensors } = channelClasses(graph);
      expect([...tensors.keys()].map((name) => producers.get(name))).toEqual(['Conv', 'Add']);
    }
  });

  it('scales channels alike that are added, and part by part those that are concatenated', async () => {
    const builder = createBuilder();
    const { conv } = layers(6, builder);
    const relu = (x: string): string => builder.node('Relu', [x]);
    const x = builder.input('x', 'float32', [1, 3, 6, 6]);
    const [a, b] = [relu(conv(x, 3, 4, 1)), relu(conv(x, 3, 4, 3))];
    const zeros = builder.initializer('zeros', floatTensor(new Float32Array(72), [1, 2, 6, 6]));
    const sum = builder.node('Add', [a, b], {}, { outputs: ['sum'] });
    const joined = builder.node('Concat', [sum, zeros, relu(conv(sum, 4, 2, 1))], { axis: int(1) });
    const y = conv(relu(conv(joined, 8, 4, 1)), 4, 4, 3);
    builder.node('Flatten', [builder.node('GlobalAveragePool', [y])], {}, { outputs: ['y'] });
    builder.output('y', 'float32', [1, 4]);
    const { model } = canonicalize(modelOf(builder.graph));
    const { layers: found } = channelClasses(model.graph);
    const [first, second, third, fourth] = found;
    expect(first!.inputs).toBeUndefined();
    expect(first!.outputs).toEqual(second!.outputs);
    expect(third!.inputs).toEqual(first!.outputs);
    expect([...fourth!.inputs!.slice(0, 4)]).toEqual([...first!.outputs!]);
    expect([...fourth!.inputs!.slice(6)]).toEqual([...third!.outputs!]);
    const { model: equal, layers: count } = equalized(model, 7);
    expect(count).toBe(3);
    expect(deviation(await outputOf(equal, picture(8)), await outputOf(model, picture(8)))).toBeLessThan(1e-5);
  });

  it('does not take weights apart that two layers share', () => {
    const builder = createBuilder();
    const shared = builder.initializer('shared', floatTensor(new Float32Array(9).fill(0.5), [3, 3, 1, 1]));
    let x = builder.input('x', 'float32', [1, 3, 6, 6]);
    for (let index = 0; index < 3; index++) x = builder.node('Relu', [builder.node('Conv', [x, shared])]);
    builder.node('Identity', [x], {}, { outputs: ['y'] });
    builder.output('y', 'float32', [1, 3, 6, 6]);
    expect(readers(channelClasses(canonicalize(modelOf(builder.graph)).model.graph))).toBe(0);
  });

  it('gives every channel before a depthwise layer the same range', () => {
    const model = network(5, 'Relu');
    const classes = channelClasses(model.graph);
    const depthwise = classes.layers.find(({ layer }) => layer.node.attributes.get('group')?.value === 8)!;
    const tensor = depthwise.layer.node.inputs[0]!;
    const first = classes.layers.find(({ outputs }) => outputs?.[0] === depthwise.inputs![0])!.layer;
    const before = numbersOf(first.weight);
    const ranges = Float64Array.of(1, 2, 4, 8, 0.5, 0.25, 16, 1);
    const largest = new Map([...classes.tensors].map(([name, { length }]) => [name, new Float64Array(length).fill(1)]));
    largest.set(tensor, ranges);
    const graph = equalize(model.graph, classes, largest, createBuilder(model.graph));
    const node = graph.nodes.find(({ outputs }) => outputs[0] === first.node.outputs[0])!;
    const after = numbersOf(graph.initializers.get(node.inputs[1]!)!);
    for (const [channel, range] of ranges.entries()) {
      // what the channel gives grows by the factor that its range is below the largest
      expect(after[channel * 3]! / before[channel * 3]!).toBeCloseTo(16 / range, 4);
    }
  });
});
