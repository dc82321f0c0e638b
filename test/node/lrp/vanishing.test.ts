import { describe, expect, test } from 'vitest';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { Graph, Node } from '../../../sdk/graph/graph.js';
import { readsOf } from '../../../sdk/graph/order.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import type { Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { inception, residual } from '../../reference/networks.js';
import { evaluate } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { byName, compiledRun, compositeOf, tolerance, wellConditioned, worstDeviation } from './agreement.js';
import { weight } from './one-node.js';

/** Two convolutions with ReLUs behind them and a linear layer; z1 and z2 are what the ReLUs read. */
function twoConvolutions(): Uint8Array {
  const random = seeded(7);
  const builder = createBuilder();
  let x = builder.input('x', 'float32', [1, 2, 6, 6]);
  for (const k of [1, 2]) {
    const inputs = [
      x,
      weight(builder, `w${k}`, signed(random, [2, 2, 3, 3])),
      weight(builder, `b${k}`, signed(random, [2])),
    ];
    x = builder.node('Relu', [builder.node('Conv', inputs, {}, { outputs: [`z${k}`] })]);
  }
  const flat = builder.node('Flatten', [x]);
  builder.node('Gemm', [flat, weight(builder, 'w', signed(random, [8, 3]))], {}, { outputs: ['y'] });
  builder.output('y', 'float32', [1, 3]);
  return encodeModel(modelOf(builder.graph));
}

const compiled = (model: Uint8Array, options: CompileOptions): Graph =>
  decodeModel(compileExplanation(model, options).model).graph;

const readersOf = (graph: Graph, name: string): Node[] => graph.nodes.filter((node) => readsOf(node).includes(name));

/** Whether a ReLU alone reads each of the tensors, so that a runtime computes it in one step with the layer before it. */
const fusable = (graph: Graph): boolean =>
  ['z1', 'z2'].every((z) => readersOf(graph, z).every((node) => node.op === 'Relu'));

describe('relevance that vanishes with a ReLU', () => {
  test.each(['epsilon', 'epsilon-plus', 'epsilon-alpha2-beta1', 'epsilon-gamma-box', 'gradient', 'guided-backprop'])(
    'leaves the tensor in front of it unread: %s',
    (composite) => {
      expect(fusable(compiled(twoConvolutions(), { composite, inputRanges: { x: [0, 1] } }))).toBe(true);
    },
  );

  test('is not taken for granted where relevance is given, spread evenly, or handed out for biases', () => {
    const rules = [{ match: {}, rule: 'epsilon', epsilon: 0.1 }] as const;
    expect(fusable(compiled(twoConvolutions(), { composite: { rules }, seed: 'relevance' }))).toBe(true);
    expect(fusable(compiled(twoConvolutions(), { composite: { rules, bias: 'distribute' } }))).toBe(false);
    const flat = [{ match: { op: 'Gemm' }, rule: 'flat' }, ...rules] as const;
    expect(fusable(compiled(twoConvolutions(), { composite: { rules: flat } }))).toBe(false);
  });

  test('needs one pair of weights for gamma: one product forwards and one back', () => {
    const composite = { rules: [{ match: {}, rule: 'gamma', gamma: 0.25 }] } as const;
    const { report } = compileExplanation(twoConvolutions(), { composite, inputRanges: { x: [0, 1] } });
    const convolutions = report.layers.filter(({ operator }) => operator === 'Conv');
    for (const { forward, backward } of convolutions) expect(backward / forward).toBeCloseTo(2, 0);
  });
});

test.each([
  ['open', {}],
  ['gated', { gated: true }],
  ['audited', { audit: true }],
] as const)('a compiled graph holds no node and no constant that nothing reads: %s', (_, options) => {
  for (const network of [residual, inception]) {
    for (const composite of ['epsilon', 'epsilon-alpha2-beta1-flat', 'epsilon-gamma-box']) {
      const graph = compiled(onnxOf(network), { composite, inputRanges: { x: [-1, 1] }, ...options });
      const graphs = [
        graph,
        ...graph.nodes.flatMap((node) =>
          [...node.attributes.values()].flatMap((a) => (a.kind === 'graph' ? [a.value] : [])),
        ),
      ];
      for (const { nodes, initializers, outputs } of graphs) {
        const read = new Set([...nodes.flatMap(readsOf), ...outputs.map(({ name }) => name)]);
        expect(nodes.filter((node) => !node.outputs.some((name) => read.has(name))).map(({ name }) => name)).toEqual(
          [],
        );
        expect([...initializers.keys()].filter((name) => !read.has(name))).toEqual([]);
      }
    }
  }
});

test('positions of the outputs are computed, not stored', () => {
  const builder = createBuilder();
  const x = builder.input('x', 'float32', [1, 50_000]);
  builder.node('Relu', [x], {}, { outputs: ['y'] });
  builder.output('y', 'float32', [1, 50_000]);
  expect(compileExplanation(encodeModel(modelOf(builder.graph)), {}).model.length).toBeLessThan(10_000);
});

describe('a ReLU6 for WebAssembly', () => {
  const random = seeded(11);
  const network: Network = {
    inputs: [{ name: 'x', dims: [1, 2, 6, 6] }],
    layers: [
      { name: 'z1', inputs: ['x'], op: 'Conv', weight: signed(random, [4, 2, 3, 3]), bias: signed(random, [4]) },
      { name: 'a1', inputs: ['z1'], op: 'Clip', low: 0, high: 0.5 },
      { name: 'z2', inputs: ['a1'], op: 'Conv', weight: signed(random, [4, 4, 3, 3]), bias: signed(random, [4]) },
      { name: 'a2', inputs: ['z2'], op: 'Clip', low: 0, high: 0.5 },
      { name: 'flat', inputs: ['a2'], op: 'Flatten', axis: 1 },
      { name: 'y', inputs: ['flat'], op: 'Gemm', weight: signed(random, [16, 3]), bias: signed(random, [3]) },
    ],
    logits: 'y',
  };

  test.each([
    ['open', {}],
    ['gated', { gated: true }],
  ] as const)('leaves the convolution to a ReLU alone: %s', (_, options) => {
    const graph = compiled(onnxOf(network), { composite: 'epsilon', target: 'wasm', ...options });
    expect(graph.nodes.filter((node) => node.op === 'Clip')).toEqual([]);
    expect(graph.nodes.filter((node) => node.op === 'Min')).toHaveLength(2);
    expect(fusable(graph)).toBe(true);
  });

  test('is a Max and a Min where z itself is read, and stays a Clip within the convolution where nothing but it reads z', () => {
    const forms = (composite: Composite): number[] => {
      const { nodes } = compiled(onnxOf(network), { composite, target: 'wasm' });
      return ['Clip', 'Relu'].map((op) => nodes.filter((node) => node.op === op).length);
    };
    expect(forms({ rules: [{ match: {}, rule: 'epsilon' }], bias: 'distribute' })).toEqual([0, 0]);
    expect(forms({ rules: [{ match: {}, rule: 'flat' }] })).toEqual([2, 0]);
  });

  test.each(['epsilon', 'gamma'] as const)('gives the relevance of the dense reference: %s', async (rule) => {
    const composite: LayerRule = rule === 'gamma' ? { rule, gamma: 0.25 } : { rule };
    const rules = Object.fromEntries(['z1', 'z2', 'y'].map((name) => [name, composite]));
    const drawn = wellConditioned(network, random, [1, 3], { rule: byName(rules) });
    const values = evaluate(network, drawn.inputs).get('z1')!.data;
    expect(Math.max(...values)).toBeGreaterThan(0.5);
    const outputs = await compiledRun(network, drawn.inputs, drawn.target, {
      composite: compositeOf(rules),
      target: 'wasm',
    });
    expect(worstDeviation(network, outputs, drawn.reference)).toBeLessThan(tolerance);
  });
});
