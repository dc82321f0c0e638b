import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { float, int, ints, type Model, sizeOf } from '../../../sdk/graph/graph.js';
import { numbersOf } from '../../../sdk/graph/tensors.js';
import { equalizablePairs, equalize } from '../../../sdk/quantize/equalize.js';
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

const picture = (seed: number): Float32Array => {
  const random = seeded(seed);
  return Float32Array.from({ length: 108 }, () => random() * 2 - 1);
};

/** The model with the channels of every pair equalized, for ranges that differ by channel. */
function equalized(model: Model, seed: number): { model: Model; pairs: number } {
  const random = seeded(seed);
  const pairs = equalizablePairs(model.graph);
  const builder = createBuilder(model.graph);
  const ranges = pairs.map((pair) => {
    const channels = model.graph.values.get(pair.tensor)!.dims[1] as number;
    return {
      pair,
      largest: Float64Array.from({ length: channels }, (_, c) => (c === 1 ? 0 : 10 ** (random() * 3 - 2))),
    };
  });
  return { model: { ...model, graph: equalize(model.graph, ranges, builder) }, pairs: pairs.length };
}

describe('equalizing channels', () => {
  it.each(['Relu', 'LeakyRelu', 'none'] as const)(
    'with %s does not change what the network computes',
    async (activation) => {
      for (const seed of [1, 2, 3]) {
        const model = network(seed, activation);
        const { model: equal, pairs } = equalized(model, seed);
        expect(pairs).toBeGreaterThanOrEqual(5);
        const x = picture(seed + 10);
        expect(deviation(await outputOf(equal, x), await outputOf(model, x))).toBeLessThan(1e-5);
      }
    },
  );

  it('leaves channels alone that a bound or a curve follows, and those that several layers read', () => {
    for (const activation of ['Clip', 'Sigmoid'] as const) {
      // what reads the shortcut reads it beside the sum; the pairs without an activation between them remain
      expect(equalizablePairs(network(4, activation).graph)).toEqual([]);
    }
  });

  it('gives every channel before a depthwise layer the same range', () => {
    const model = network(5, 'Relu');
    const pairs = equalizablePairs(model.graph);
    const pair = pairs.find(({ second }) => second.attributes.get('group')?.value === 8)!;
    const before = numbersOf(model.graph.initializers.get(pair.first.inputs[1]!)!);
    const largest = Float64Array.of(1, 2, 4, 8, 0.5, 0.25, 16, 1);
    const builder = createBuilder(model.graph);
    const graph = equalize(model.graph, [{ pair, largest }], builder);
    const first = graph.nodes.find(({ outputs }) => outputs[0] === pair.first.outputs[0])!;
    const after = numbersOf(graph.initializers.get(first.inputs[1]!)!);
    for (const [channel, range] of largest.entries()) {
      // what the channel gives grows by the factor that its range is below the largest
      expect(after[channel * 3]! / before[channel * 3]!).toBeCloseTo(16 / range, 4);
    }
  });
});
