import { describe, expect, it } from 'vitest';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import type { Attribute, Model } from '../../../sdk/graph/graph.js';
import { float, floats, int, text } from '../../../sdk/graph/graph.js';
import { staticTypeOf } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { seeded } from '../../reference/random.js';
import { modelFrom, operators, type Sketch } from './forms.js';
import { difference, randomTensor, runModel } from './runtime.js';

const microsoft = { domain: 'com.microsoft' } as const;

interface Case {
  readonly name: string;
  readonly build: (g: Sketch) => string;
  readonly dims: readonly number[];
  readonly opset?: number;
}

const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });
const ones = (g: Sketch, mask: readonly number[], dims: readonly number[], type: 'int32' | 'bool' = 'int32'): string =>
  g.initializer(g.name('mask'), tensorOf(type, dims, mask));

const layers: readonly Case[] = [
  ...['Relu', 'Tanh', 'Sigmoid'].map((activation): Case => {
    return {
      name: `FusedConv with ${activation} and a summand`,
      dims: [2, 3, 5, 5],
      build: (g) =>
        g.node(
          'FusedConv',
          ['x', g.weight(3, 3, 3, 3), g.weight(3), 'x'],
          { activation: text(activation), auto_pad: text('SAME_UPPER') },
          microsoft,
        ),
    };
  }),
  ...(
    [
      ['LeakyRelu', [0.2]],
      ['Clip', [-0.1, 0.4]],
      ['HardSigmoid', [0.3, 0.4]],
    ] as const
  ).map(([activation, parameters]): Case => {
    return {
      name: `FusedConv with ${activation}`,
      dims: [2, 4, 5, 4],
      build: (g) =>
        g.node(
          'FusedConv',
          ['x', g.weight(2, 2, 3, 2), g.weight(2)],
          { activation: text(activation), activation_params: floats(parameters), group: int(2), strides: ints([2, 1]) },
          microsoft,
        ),
    };
  }),
  {
    name: 'FusedGemm with LeakyRelu',
    dims: [3, 4],
    build: (g) =>
      g.node(
        'FusedGemm',
        ['x', g.weight(5, 4), g.weight(5)],
        { ...{ transB: int(1), alpha: float(0.5) }, activation: text('LeakyRelu'), activation_alpha: float(0.3) },
        microsoft,
      ),
  },
  {
    name: 'FusedMatMul, transposed and scaled',
    dims: [2, 3, 4],
    build: (g) =>
      g.node('FusedMatMul', ['x', g.weight(5, 3)], { transA: int(1), transB: int(1), alpha: float(0.25) }, microsoft),
  },
  {
    name: 'FusedMatMul of an activation with itself, the batch axis behind the rows',
    dims: [2, 3, 4],
    build: (g) =>
      g.node(
        'FusedMatMul',
        ['x', 'x'],
        { transBatchA: int(1), transBatchB: int(1), transB: int(1), alpha: float(2) },
        microsoft,
      ),
  },
  ...['Gelu', 'FastGelu', 'QuickGelu'].map(
    (op): Case => ({ name: op, dims: [2, 3, 4], build: (g) => g.node(op, ['x'], {}, microsoft) }),
  ),
  ...['BiasGelu', 'FastGelu'].map(
    (op): Case => ({
      name: `${op} with a bias`,
      dims: [2, 3, 4],
      build: (g) => g.node(op, ['x', g.weight(4)], {}, microsoft),
    }),
  ),
  { name: 'Swish', dims: [2, 3], opset: 24, build: (g) => g.node('Swish', ['x'], { alpha: float(1.3) }) },
  {
    name: 'SkipLayerNormalization',
    dims: [2, 3, 4],
    build: (g) => {
      const inputs = ['x', g.weight(2, 3, 4), g.weight(4), g.weight(4), g.weight(4)];
      const names = ['y', '', '', 'sum'];
      g.nodes('SkipLayerNormalization', inputs, names, { epsilon: float(1e-4) }, microsoft);
      return g.node('Mul', ['y', 'sum']);
    },
  },
  {
    name: 'SkipSimplifiedLayerNormalization',
    dims: [2, 3, 4],
    build: (g) => {
      const inputs = ['x', g.node('Relu', ['x']), g.weight(4), g.weight(4)];
      return g.node('SkipSimplifiedLayerNormalization', inputs, { epsilon: float(1e-3) }, microsoft);
    },
  },
];

const attention: readonly Case[] = [
  ...[0, 1].map((causal): Case => {
    return {
      name: `ai.onnx Attention over rows, ${causal === 1 ? 'causal, ' : ''}grouped heads`,
      dims: [2, 3, 8],
      opset: 23,
      build: (g) => {
        const key = g.node('MatMul', ['x', g.weight(8, 4)]);
        const value = g.node('MatMul', ['x', g.weight(8, 6)]);
        return g.node('Attention', ['x', key, value], {
          ...{ q_num_heads: int(4), kv_num_heads: int(2), is_causal: int(causal), scale: float(0.4) },
        });
      },
    };
  }),
  {
    name: 'ai.onnx Attention over heads with masks, past and scores',
    dims: [1, 2, 3, 4],
    opset: 23,
    build: (g) => {
      const inputs = ['x', 'x', g.node('Relu', ['x']), g.weight(3, 5), g.weight(1, 2, 2, 4), g.weight(1, 2, 2, 4)];
      const [y, keys, values, scores] = g.nodes('Attention', inputs, 4, {});
      const flat = [y!, keys!, values!, scores!].map((name) => g.node('Reshape', [name, g.ints([1, -1])]));
      return g.node('Concat', flat, { axis: int(1) });
    },
  },
  {
    name: 'ai.onnx Attention, a mask of bool and a soft cap',
    dims: [1, 2, 3, 4],
    opset: 23,
    build: (g) =>
      g.node('Attention', ['x', 'x', 'x', ones(g, [1, 0, 1, 1, 1, 0, 0, 1, 1], [3, 3], 'bool')], {
        softcap: float(1.5),
      }),
  },
  ...[23, 24].map(
    (opset): Case => ({
      name: `ai.onnx Attention of version ${opset}, causal behind a past`,
      dims: [1, 2, 3, 4],
      opset,
      build: (g) => {
        const inputs = ['x', 'x', 'x', '', g.weight(1, 2, 2, 4), g.weight(1, 2, 2, 4)];
        return g.nodes('Attention', inputs, 3, { is_causal: int(1) })[0]!;
      },
    }),
  ),
  {
    name: 'MultiHeadAttention with bias, mask and biased scores',
    dims: [2, 3, 8],
    build: (g) => {
      const mask = ones(g, [1, 1, 0, 1, 0, 1], [2, 3]);
      const inputs = ['x', 'x', g.node('Relu', ['x']), g.weight(24), mask, g.weight(1, 2, 3, 3)];
      return g.node('MultiHeadAttention', inputs, { num_heads: int(2) }, microsoft);
    },
  },
  {
    name: 'MultiHeadAttention, one-directional with a scale',
    dims: [2, 3, 8],
    build: (g) =>
      g.node(
        'MultiHeadAttention',
        ['x', 'x', 'x'],
        { num_heads: int(4), unidirectional: int(1), scale: float(0.3) },
        microsoft,
      ),
  },
  {
    name: 'com.microsoft Attention with a mask of keys',
    dims: [2, 3, 8],
    build: (g) =>
      g.node(
        'Attention',
        ['x', g.weight(8, 24), g.weight(24), ones(g, [1, 1, 0, 1, 1, 1], [2, 3])],
        { num_heads: int(2) },
        microsoft,
      ),
  },
  {
    name: 'com.microsoft Attention, one-directional, values of another width',
    dims: [2, 3, 8],
    build: (g) =>
      g.node(
        'Attention',
        ['x', g.weight(8, 20), g.weight(20)],
        { num_heads: int(2), unidirectional: int(1), qkv_hidden_sizes: ints([8, 8, 4]) },
        microsoft,
      ),
  },
  ...[0, 1].flatMap((interleaved) => [
    {
      name: `RotaryEmbedding over rows, interleaved ${interleaved}`,
      dims: [2, 3, 8],
      opset: 23,
      build: (g: Sketch) =>
        g.node('RotaryEmbedding', ['x', g.weight(5, 2), g.weight(5, 2), g.ints([0, 1, 2, 4, 2, 0], [2, 3])], {
          ...{ num_heads: int(2), interleaved: int(interleaved) },
        }),
    },
    {
      name: `RotaryEmbedding of a part of the features, interleaved ${interleaved}`,
      dims: [2, 2, 3, 6],
      opset: 23,
      build: (g: Sketch) =>
        g.node('RotaryEmbedding', ['x', g.weight(2, 3, 2), g.weight(2, 3, 2)], {
          ...{ rotary_embedding_dim: int(4), interleaved: int(interleaved) },
        }),
    },
    {
      name: `com.microsoft RotaryEmbedding from a position on, interleaved ${interleaved}`,
      dims: [2, 3, 8],
      build: (g: Sketch) =>
        g.node(
          'RotaryEmbedding',
          ['x', g.ints([1]), g.weight(6, 2), g.weight(6, 2)],
          { interleaved: int(interleaved) },
          microsoft,
        ),
    },
  ]),
];

function modelOf({ build, dims, opset = 17 }: Case): Model {
  const model = modelFrom(build, opset, dims);
  return { ...model, opsets: new Map([...model.opsets, ['com.microsoft', 1]]), irVersion: opset > 22 ? 11 : 8 };
}

describe('what is put together in one node is written out', () => {
  it.each([...layers, ...attention].map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const model = modelOf(one);
    const { model: canonical } = canonicalize(model);
    expect(canonical.graph.nodes.every((node) => node.domain === '')).toBe(true);
    expect(operators(canonical.graph)).not.toMatch(/\b(Attention|RotaryEmbedding|Swish)\b/);
    const x = randomTensor(staticTypeOf(canonical.graph, 'x'), seeded(5), 2);
    const expected = await runModel(model, { x });
    const found = await runModel(canonical, { x });
    for (const [name, value] of expected) expect(difference(found.get(name), value), name).toBeLessThan(1e-5);
  });
});

describe('what computes in half precision is written out in float32', () => {
  it.each(['FastGelu', 'Gelu', 'QuickGelu', 'MultiHeadAttention'])('%s', async (op) => {
    const build = (g: Sketch, x: string): string =>
      op === 'MultiHeadAttention'
        ? g.node(op, [x, x, x], { num_heads: int(2), unidirectional: int(1) }, microsoft)
        : g.node(op, [x], {}, microsoft);
    const whole: Case = { name: op, dims: [2, 3, 8], build: (g) => build(g, 'x') };
    const half = modelOf({
      ...whole,
      build: (g) => g.node('Cast', [build(g, g.node('Cast', ['x'], { to: int(10) }))], { to: int(1) }),
    });
    const x = randomTensor({ type: 'float32', dims: [2, 3, 8] }, seeded(6), 2);
    const [expected] = (await runModel(modelOf(whole), { x })).values();
    const [found] = (await runModel(canonicalize(half).model, { x })).values();
    expect(difference(found, expected!)).toBeLessThan(2e-3);
  });
});
