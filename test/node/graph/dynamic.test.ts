import { describe, expect, it } from 'vitest';
import { createBuilder, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type Attribute, type DataType, int, ints, type Model, sizeOf, type Tensor } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { seeded } from '../../reference/random.js';
import { modelFile, modelsAbsent } from './models.js';
import { difference, randomTensor, runModel } from './runtime.js';

/** What `quantize_dynamic` may choose for a weight. */
interface Weights {
  readonly type: 'int8' | 'uint8';
  readonly perChannel: boolean;
  /** the bias follows the layer as an Add */
  readonly bias: boolean;
  /** the two scales are multiplied with each other first (as its Conv and MatMul do), or one after the other */
  readonly scalesFirst: boolean;
}

interface Sketch {
  readonly g: GraphBuilder;
  readonly random: () => number;
  /** a layer by its integer operator, from float32 to float32 */
  layer(
    op: 'ConvInteger' | 'MatMulInteger',
    x: string,
    dims: readonly number[],
    weights: Weights,
    attributes?: Record<string, Attribute>,
  ): string;
}

function sketch(seed: number): Sketch {
  const g = createBuilder();
  const random = seeded(seed);
  const store = (type: DataType, dims: readonly number[], draw: () => number): string =>
    g.initializer(g.name('k'), tensorOf(type, dims, Float64Array.from({ length: sizeOf(dims) }, draw)));
  return {
    g,
    random,
    layer(op, x, dims, { type, perChannel, bias, scalesFirst }, attributes = {}) {
      const conv = op === 'ConvInteger';
      const channels = conv ? dims[0]! : dims.at(-1)!;
      const least = type === 'int8' ? -128 : 0;
      const weight = store(type, dims, () => least + Math.floor(random() * 256));
      const count = perChannel && !conv ? [channels] : [];
      const zero = store(type, count, () => (type === 'int8' ? 0 : 120 + Math.floor(random() * 16)));
      const broadcast = conv ? [channels, ...dims.slice(2).map(() => 1)] : [channels];
      const scale = store('float32', perChannel ? broadcast : [], () => 0.001 + random() * 0.01);
      const [xq, xs, xz] = g.nodes('DynamicQuantizeLinear', [x], 3) as [string, string, string];
      const y = g.node(op, [xq, weight, xz, zero], attributes);
      const cast = g.node('Cast', [y], { to: int(1) });
      const scaled = scalesFirst
        ? g.node('Mul', [cast, g.node('Mul', [xs, scale])])
        : g.node('Mul', [scale, g.node('Mul', [cast, xs])]);
      if (!bias) return scaled;
      const added = store('float32', conv ? [1, ...broadcast] : [channels], () => random() - 0.5);
      return g.node('Add', [scaled, added]);
    },
  };
}

function modelFrom(seed: number, dims: readonly number[], build: (parts: Sketch) => string): Model {
  const parts = sketch(seed);
  parts.g.input('x', 'float32', dims);
  const last = build(parts);
  const draft = modelOf({ ...parts.g.graph, outputs: [{ name: last, type: 'float32', dims: [] }] });
  parts.g.output(last, 'float32', staticTypeOf(inferShapes(draft).graph, last).dims);
  return modelOf(parts.g.graph);
}

const choices: readonly Weights[] = [
  { type: 'int8', perChannel: false, bias: true, scalesFirst: true },
  { type: 'uint8', perChannel: false, bias: false, scalesFirst: true },
  { type: 'int8', perChannel: true, bias: true, scalesFirst: true },
  { type: 'uint8', perChannel: true, bias: true, scalesFirst: false },
];

interface Layer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly gives: string;
  readonly build: (parts: Sketch, weights: Weights) => string;
}

const layers: readonly Layer[] = [
  {
    name: 'ConvInteger with groups, strides and pads',
    dims: [2, 4, 9, 8],
    gives: 'DynamicQuantizeLinear DequantizeLinear DequantizeLinear Conv',
    build: (parts, weights) =>
      parts.layer('ConvInteger', 'x', [6, 2, 3, 3], weights, {
        group: int(2),
        strides: ints([2, 1]),
        pads: ints([1, 0, 2, 1]),
      }),
  },
  {
    name: 'MatMulInteger over rows',
    dims: [3, 7],
    gives: 'DynamicQuantizeLinear DequantizeLinear DequantizeLinear',
    build: (parts, weights) => parts.layer('MatMulInteger', 'x', [7, 5], weights),
  },
  {
    name: 'MatMulInteger of higher rank',
    dims: [2, 3, 7],
    gives: 'DynamicQuantizeLinear DequantizeLinear DequantizeLinear',
    build: (parts, weights) => parts.layer('MatMulInteger', 'x', [7, 5], weights),
  },
  {
    name: 'two layers that share a quantized activation, then a residual sum',
    dims: [3, 7],
    gives: 'DynamicQuantizeLinear DequantizeLinear',
    build: (parts, weights) => {
      const a = parts.layer('MatMulInteger', 'x', [7, 7], weights);
      return parts.g.node('Add', [parts.g.node('Relu', [a]), parts.layer('MatMulInteger', 'x', [7, 7], weights)]);
    },
  },
];

const valuesOf = (seed: number, dims: readonly number[]) => randomTensor({ type: 'float32', dims }, seeded(seed));
const zeros = (dims: readonly number[]): Tensor => tensorOf('float32', dims, new Float64Array(sizeOf(dims)));

describe('dynamic quantization, written out', () => {
  for (const { name, dims, gives, build } of layers) {
    it(`${name}: computes the same, and is explained`, { timeout: 60_000 }, async () => {
      let worst = 0;
      for (let seed = 0; seed < 12; seed++) {
        const model = modelFrom(seed, dims, (parts) => build(parts, choices[seed % choices.length]!));
        const { model: canonical, notes } = canonicalize(model);
        const found = canonical.graph.nodes.map((node) => node.op).join(' ');
        expect(found).toContain(gives);
        expect(found).not.toMatch(/Integer|Cast|Mul\b(?<!MatMul)/);
        expect(notes.join(' ')).toMatch(/was written as (Conv|MatMul) of what the integers stand for/);
        const x = valuesOf(seed + 50, dims);
        const [expected] = (await runModel(model, { x })).values();
        const [same] = (await runModel(canonical, { x })).values();
        worst = Math.max(worst, difference(same, expected!));

        const { model: compiled, report } = compileExplanation(encodeModel(model), {
          composite: { rules: [{ match: {}, rule: 'z' }] },
          audit: true,
        });
        const outputs = await runModel(compiled, { x, target: zeros(report.explained.shape) });
        const [conservation, absorbed] = ['conservation', 'absorbed'].map((key) => numbersOf(outputs.get(key)!));
        const scale = Math.max(1e-3, Math.abs(conservation![0]!));
        expect(Math.abs(conservation!.at(-1)! + absorbed!.at(-1)! - conservation![0]!) / scale).toBeLessThan(1e-2);
        expect(outputs.get('relevance/x')!.dims).toEqual(dims);
      }
      expect(worst).toBeLessThan(1e-5);
    });
  }

  it('a product of two activations stays one', async () => {
    const model = modelFrom(1, [1, 4, 4], ({ g }) => {
      const [a, as, az] = g.nodes('DynamicQuantizeLinear', ['x'], 3) as [string, string, string];
      const y = g.node('Transpose', ['x'], { perm: ints([0, 2, 1]) });
      const [b, bs, bz] = g.nodes('DynamicQuantizeLinear', [y], 3) as [string, string, string];
      const cast = g.node('Cast', [g.node('MatMulInteger', [a, b, az, bz])], { to: int(1) });
      return g.node('Mul', [cast, g.node('Mul', [as, bs])]);
    });
    const { model: canonical } = canonicalize(model);
    expect(canonical.graph.nodes.map((node) => node.op)).toContain('MatMul');
    const x = valuesOf(3, [1, 4, 4]);
    const [expected] = (await runModel(model, { x })).values();
    const [found] = (await runModel(canonical, { x })).values();
    expect(difference(found, expected!)).toBeLessThan(1e-5);
  });

  it('what is no such layer stays as it is', () => {
    // the integers themselves are read
    const model = modelFrom(1, [3, 7], ({ g, layer }) => {
      const y = layer('MatMulInteger', 'x', [7, 5], choices[0]!);
      const product = g.graph.nodes.find((node) => node.op === 'MatMulInteger')!;
      return g.node('Add', [y, g.node('Cast', [product.outputs[0]!], { to: int(1) })]);
    });
    const { model: canonical, notes } = canonicalize(model);
    expect(canonical.graph.nodes.map((node) => node.op)).toContain('MatMulInteger');
    expect(notes).toEqual([]);
    expect(() => compileExplanation(encodeModel(model))).toThrow(/cannot be explained/);
  });

  it('relevance at a quantized activation that can be negative is not taken for that of a positive one', async () => {
    const model = modelFrom(2, [2, 9], (parts) => parts.layer('MatMulInteger', 'x', [9, 4], choices[0]!));
    const x = valuesOf(9, [2, 9]);
    const relevance = async (composite: 'z-plus' | 'alpha-beta'): Promise<Float64Array> => {
      const rule = composite === 'z-plus' ? { rule: composite } : { rule: composite, alpha: 1, beta: 0 };
      const { model: compiled, report } = compileExplanation(encodeModel(model), {
        composite: { rules: [{ match: {}, ...rule }] },
      });
      return numbersOf((await runModel(compiled, { x, target: zeros(report.explained.shape) })).get('relevance/x')!);
    };
    const found = await relevance('z-plus');
    expect(found).toEqual(await relevance('alpha-beta'));
    // x⁻ w⁻ speaks for the output too
    const input = numbersOf(x);
    expect(found.some((value, index) => value !== 0 && input[index]! < 0)).toBe(true);
  });
});

/** The part of a model from one tensor to another. */
function between(model: Model, from: string, to: string): Model {
  const needed = new Set([to]);
  const nodes = [...model.graph.nodes].reverse().filter((node) => {
    if (!node.outputs.some((name) => needed.has(name) && name !== from)) return false;
    for (const name of node.inputs) needed.add(name);
    return true;
  });
  const typed = (name: string) => ({ name, ...staticTypeOf(model.graph, name) });
  const initializers = new Map([...model.graph.initializers].filter(([name]) => needed.has(name)));
  const ends = { inputs: [typed(from)], outputs: [typed(to)], values: new Map() };
  return { ...model, graph: { ...model.graph, ...ends, nodes: nodes.reverse(), initializers } };
}

describe.skipIf(modelsAbsent)('MobileNetV2 with dynamic quantization', () => {
  const read = () => new Uint8Array(modelFile('mobilenetv2_int8_arm_autopilot/mobilenetv2_int8.onnx').read());

  it('computes the same in each of its layers', { timeout: 180_000 }, async () => {
    const original = inferShapes(decodeModel(read()));
    const { graph } = canonicalize(original).model;
    const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
    let worst = 0;
    let count = 0;
    for (const node of graph.nodes) {
      const quantize = producers.get(producers.get(node.inputs[0]!)?.inputs[0] ?? '');
      if (quantize?.op !== 'DynamicQuantizeLinear') continue;
      const layer = between(original, quantize.inputs[0]!, node.outputs[0]!);
      const x = randomTensor(staticTypeOf(original.graph, quantize.inputs[0]!), seeded(count), 3);
      const feeds = { [quantize.inputs[0]!]: x };
      const [expected] = (await runModel(layer, feeds)).values();
      const [found] = (await runModel(canonicalize(layer).model, feeds)).values();
      worst = Math.max(worst, difference(found, expected!));
      count += 1;
    }
    console.log(`MobileNetV2, dynamically quantized: ${count} layers, each within ${worst.toExponential(1)}`);
    expect(count).toBe(53);
    expect(worst).toBeLessThan(1e-5);
  });

  it('keeps its strongest output and is explained', { timeout: 180_000 }, async () => {
    const bytes = read();
    const { model, report } = compileExplanation(bytes, { composite: 'epsilon-plus', audit: true });
    for (const seed of [1, 2, 3]) {
      const input = valuesOf(seed, [1, 3, 224, 224]);
      // an element on the edge between two steps of quantization may fall to either side, which the next layers amplify: an input
      // that differs in the last bit shows how much the original itself does so
      const beside = tensorOf(
        'float32',
        input.dims,
        numbersOf(input).map((value) => value * (1 + 3e-7)),
      );
      const expected = (await runModel(bytes, { input })).get('output')!;
      const unsure = difference((await runModel(bytes, { input: beside })).get('output'), expected);
      const found = await runModel(model, { input, target: zeros(report.explained.shape) });
      const [mine, own] = [numbersOf(found.get('output')!), numbersOf(expected)];
      expect(mine.indexOf(Math.max(...mine))).toBe(own.indexOf(Math.max(...own)));
      const worst = difference(found.get('output'), expected);
      const [conservation, absorbed] = ['conservation', 'absorbed'].map((key) => numbersOf(found.get(key)!));
      const accounted = (conservation!.at(-1)! + absorbed!.at(-1)!) / conservation![0]!;
      const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
      console.log(
        `MobileNetV2, dynamically quantized, noise ${seed}: outputs differ by ${percent(worst)} of the greatest (the original by ${percent(unsure)} for an input beside it), relevance accounted for: ${accounted.toFixed(4)}`,
      );
      expect(worst).toBeLessThan(0.1);
      expect(numbersOf(found.get('relevance/input')!).every(Number.isFinite)).toBe(true);
      expect(accounted).toBeCloseTo(1, 1);
    }
  });
});
