import { describe, expect, it } from 'vitest';
import { createBuilder, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type DataType, int, type Model, sizeOf, type Tensor } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { seeded } from '../../reference/random.js';
import { difference, randomTensor, runModel } from './runtime.js';

interface Case {
  readonly name: string;
  readonly dims: readonly number[];
  readonly opset?: number;
  /** Builds from `x` to the output `y`. */
  readonly build: (g: GraphBuilder, random: () => number) => void;
  /** what quantization of activations may move an output by, in parts of the largest; 1e-5 where none is quantized */
  readonly within?: number;
}

const MICROSOFT = { domain: 'com.microsoft', outputs: ['y'] };
const store = (g: GraphBuilder, type: DataType, dims: readonly number[], draw: () => number): string =>
  g.initializer(g.name('k'), tensorOf(type, dims, Float64Array.from({ length: sizeOf(dims) }, draw)));
/** Two 4-bit integers to a byte. */
const nibbles = (g: GraphBuilder, type: 'int4' | 'uint4', dims: readonly number[], random: () => number): string => {
  const bytes = Uint8Array.from({ length: Math.ceil(sizeOf(dims) / 2) }, () => Math.floor(random() * 256));
  return g.initializer(g.name('k'), { type, dims, bytes } satisfies Tensor);
};

const nBits = (bits: 4 | 8, k: number, zeros: boolean, bias: boolean): Case => ({
  name: `MatMulNBits of ${bits} bits, K ${k}${zeros ? ', zero points' : ''}${bias ? ', bias' : ''}`,
  dims: [3, k],
  build(g, random) {
    const [n, block] = [5, 16];
    const blocks = Math.ceil(k / block);
    const byte = (): number => Math.floor(random() * 256);
    const inputs = [
      ...['x', store(g, 'uint8', [n, blocks, (block * bits) / 8], byte)],
      store(g, 'float32', [n * blocks], () => 0.01 + random() * 0.02),
      zeros ? store(g, 'uint8', [n * Math.ceil((blocks * bits) / 8)], byte) : '',
      ...(bias ? ['', store(g, 'float32', [n], random)] : []),
    ];
    const attributes = { K: int(k), N: int(n), bits: int(bits), block_size: int(block) };
    g.node('MatMulNBits', inputs, attributes, MICROSOFT);
  },
  // the runtime's own kernel may take activations as integers
  within: 0.02,
});

const blocked = (type: 'int4' | 'uint4' | 'int8', axis: 0 | 1, rows: number): Case => ({
  name: `DequantizeLinear of ${type} in blocks along axis ${axis} of ${rows}`,
  dims: [3, rows],
  opset: 21,
  build(g, random) {
    const [dims, block] = [[rows, 6], axis === 0 ? 4 : 3];
    const steps = dims.map((dim, k) => (k === axis ? Math.ceil(dim / block) : dim));
    const integers = (shape: readonly number[]): string =>
      type === 'int8' ? store(g, type, shape, () => Math.floor(random() * 255) - 127) : nibbles(g, type, shape, random);
    const scale = store(g, 'float32', steps, () => 0.01 + random() * 0.02);
    const weight = g.node('DequantizeLinear', [integers(dims), scale, integers(steps)], {
      ...{ axis: int(axis), block_size: int(block) },
    });
    g.node('MatMul', ['x', weight], {}, { outputs: ['y'] });
  },
});

const cases: readonly Case[] = [
  nBits(4, 32, false, false),
  nBits(4, 40, true, true),
  nBits(8, 32, true, false),
  nBits(8, 40, false, true),
  blocked('int4', 0, 8),
  blocked('uint4', 1, 7),
  blocked('int8', 0, 8),
  {
    name: 'DequantizeLinear of int4 per column',
    dims: [3, 7],
    opset: 21,
    build(g, random) {
      const scale = store(g, 'float32', [6], () => 0.01 + random() * 0.02);
      const weight = g.node('DequantizeLinear', [nibbles(g, 'int4', [7, 6], random), scale], { axis: int(1) });
      g.node('MatMul', ['x', weight], {}, { outputs: ['y'] });
    },
  },
  ...[false, true].map(
    (isWide): Case => ({
      name: `DynamicQuantizeMatMul${isWide ? ' with zero points per column and a bias' : ''}`,
      dims: [3, 7],
      build(g, random) {
        const type = isWide ? 'uint8' : 'int8';
        const shape = isWide ? [5] : [];
        const inputs = [
          ...['x', store(g, type, [7, 5], () => Math.floor(random() * 255) - (isWide ? 0 : 127))],
          store(g, 'float32', shape, () => 0.01 + random() * 0.02),
          store(g, type, shape, () => (isWide ? Math.floor(100 + random() * 50) : 0)),
          ...(isWide ? [store(g, 'float32', [5], random)] : []),
        ];
        g.node('DynamicQuantizeMatMul', inputs, {}, MICROSOFT);
      },
      within: 1e-4,
    }),
  ),
  {
    name: 'MatMulIntegerToFloat',
    dims: [3, 7],
    build(g, random) {
      const [q, scale, zero] = g.nodes('DynamicQuantizeLinear', ['x'], 3) as [string, string, string];
      const weight = store(g, 'int8', [7, 5], () => Math.floor(random() * 255) - 127);
      const steps = store(g, 'float32', [5], () => 0.01 + random() * 0.02);
      const inputs = [q, weight, scale, steps, zero, '', store(g, 'float32', [5], random)];
      g.node('MatMulIntegerToFloat', inputs, {}, MICROSOFT);
    },
    within: 1e-4,
  },
  ...(['uint8', 'uint16', 'int16'] as const).map(
    (type): Case => ({
      name: `com.microsoft QuantizeLinear and DequantizeLinear, ${type}`,
      dims: [3, 7],
      build(g) {
        const steps = [
          g.floats([type === 'uint8' ? 0.02 : 0.0002]),
          store(g, type, [], () => (type === 'int16' ? 5 : 99)),
        ];
        const integers = g.node('QuantizeLinear', ['x', ...steps], {}, { domain: 'com.microsoft' });
        const real = g.node('DequantizeLinear', [integers, ...steps], {}, { domain: 'com.microsoft' });
        g.node('Relu', [real], {}, { outputs: ['y'] });
      },
    }),
  ),
];

function modelFor({ dims, build, opset = 17 }: Case, seed: number): Model {
  const g = createBuilder();
  g.input('x', 'float32', dims);
  build(g, seeded(seed));
  const opsets = new Map([
    ['', opset],
    ['com.microsoft', 1],
  ]);
  const draft = { ...modelOf({ ...g.graph, outputs: [{ name: 'y', type: 'float32', dims: [] }] }, opset, 10), opsets };
  g.output('y', 'float32', staticTypeOf(inferShapes(draft).graph, 'y').dims);
  return { ...draft, graph: g.graph };
}

describe('weights in blocks and in few bits', () => {
  for (const one of cases) {
    it(`${one.name}: the same values, and relevance of them`, async () => {
      const model = modelFor(one, 3);
      const x = randomTensor({ type: 'float32', dims: one.dims }, seeded(70), 1);
      const expected = (await runModel(model, { x })).get('y')!;
      const canonical = canonicalize(model);
      expect(canonical.model.graph.nodes.map(({ op }) => op).join(' ')).not.toMatch(/NBits|QuantizeMatMul|ToFloat/);
      const within = one.within ?? 1e-5;
      expect(difference((await runModel(canonical.model, { x })).get('y'), expected)).toBeLessThan(within);

      const composite = { rules: [{ match: {}, rule: 'z' as const }], stabilizer: 0, bias: 'ignore' as const };
      const { model: compiled } = compileExplanation(encodeModel(model), { composite });
      // the forward pass keeps the runtime's own kernels
      const own = model.graph.nodes.find((node) => /NBits|QuantizeMatMul|ToFloat/.test(node.op))?.op;
      if (own !== undefined) expect(decodeModel(compiled).graph.nodes.map((node) => node.op)).toContain(own);
      const target = tensorOf('float32', expected.dims, new Float64Array(sizeOf(expected.dims)).fill(1));
      const result = await runModel(compiled, { x, target });
      expect(difference(result.get('y'), expected)).toBeLessThan(within);
      // without biases and stabilizers, relevance adds up to what the weights made of the input
      const relevance = numbersOf(result.get('relevance/x')!);
      expect(relevance.every(Number.isFinite)).toBe(true);
      const sum = (list: Float64Array): number => list.reduce((total, value) => total + value, 0);
      const scale = numbersOf(expected).reduce((total, value) => total + Math.abs(value), 0);
      expect(Math.abs(sum(relevance) - sum(numbersOf(expected))) / scale).toBeLessThan(2 * within + 1e-4);
    });
  }
});
