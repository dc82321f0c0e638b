import { describe, expect, test } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { withIntegerSums } from '../../../sdk/lrp/wasm/integer-sums.js';
import { quantize } from '../../../sdk/quantize/quantize.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { deviation } from '../../reference/deviation.js';
import { countOf, optimizedNodes } from '../../reference/optimized.js';
import { seeded } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { runModel } from '../../reference/run.js';

/** Convolutions one after the other, each before a ReLU, over 16 channels of 8×8. */
type Layer = readonly [name: string, to: number, kernel: number, groups?: number];

function chain(layers: readonly Layer[]): Uint8Array {
  const random = seeded(5);
  const builder = createBuilder();
  builder.input('x', 'float32', [1, 16, 8, 8]);
  let [last, from] = ['x', 16];
  for (const [name, to, kernel, groups = 1] of layers) {
    const shape = [to, from / groups, kernel, kernel];
    const size = shape.reduce((product, dim) => product * dim, 1);
    const weights = Float32Array.from({ length: size }, () => (random() - 0.4) / Math.sqrt(size / to));
    const bias = Float32Array.from({ length: to }, () => random() - 0.5);
    const pad = (kernel - 1) / 2;
    const sum = builder.node(
      'Conv',
      [last, builder.initializer(`${name}/w`, floatTensor(weights, shape)), builder.floats(bias)],
      { kernel_shape: ints([kernel, kernel]), pads: ints([pad, pad, pad, pad]), group: int(groups) },
      { name, outputs: [`${name}/sum`] },
    );
    last = builder.node('Relu', [sum], {}, { outputs: [`${name}/relu`] });
    from = to;
  }
  builder.node('ReduceMean', [last], { axes: ints([2, 3]), keepdims: int(0) }, { outputs: ['logits'] });
  builder.output('logits', 'float32', [1, from]);
  return encodeModel(modelOf(builder.graph));
}

const random = seeded(6);
const picture = () => ({ dims: [1, 16, 8, 8], data: Float32Array.from({ length: 1024 }, () => random()) });
const frames = Array.from({ length: 4 }, () => ({ x: picture() }));
const quantized = (layers: readonly Layer[]) => quantize(chain(layers), frames, { open: wasmRuntime() });

const deep: readonly Layer[] = [
  ['first', 32, 3],
  ['narrow', 8, 1],
  ['wide', 24, 1],
  ['last', 8, 3],
];

/** A long sum, short ones without integers before them, and a long one that reads what they give. */
const mixed: readonly Layer[] = [
  ['dense', 16, 3],
  ['narrow', 8, 3],
  ['expand', 24, 1],
  ['depthwise', 24, 3, 24],
  ['long', 8, 3],
];

describe('sums of integers', () => {
  test('are written where they are faster; short ones have integer weights alone, in the report as in the runtime', async () => {
    const { model, report } = await quantized(mixed);
    expect(
      report.layers.filter(({ operator }) => operator === 'Conv').map(({ name, scheme }) => [name, scheme]),
    ).toEqual([
      ['dense', 'int8'],
      ['narrow', 'int8'],
      ['expand', 'int8-weights'],
      ['depthwise', 'int8-weights'],
      ['long', 'int8'],
    ]);
    for (const { sqnr } of report.layers) expect(sqnr).toBeGreaterThan(25);
    const { model: forward } = compileExplanation(model, {
      composite: { rules: [{ match: {}, rule: 'flat' }] },
      target: 'wasm',
    });
    const kernels = countOf(await optimizedNodes(forward), /Conv/);
    expect(kernels.ConvInteger).toBe(3);
    expect(kernels.QLinearConv).toBeUndefined();
  });

  test('are rounded to the integers of QLinearConv', async () => {
    const { model } = await quantize(chain(deep), frames, { open: wasmRuntime(), integers: 'everywhere' });
    const { graph, ...rest } = canonicalize(decodeModel(model)).model;
    const rounded = graph.nodes.flatMap(({ op, outputs }) => (op === 'QuantizeLinear' ? outputs : []));
    const shown = { ...graph, outputs: rounded.map((name) => ({ name, ...graph.values.get(name)! })) };
    const sums = withIntegerSums(shown);
    expect(sums.nodes.filter(({ op }) => op === 'ConvInteger')).toHaveLength(deep.length);
    let [places, others] = [0, 0];
    for (let run = 0; run < 4; run++) {
      const x = picture();
      const [own, written] = [
        await runModel(encodeModel({ ...rest, graph: shown }), { x }),
        await runModel(encodeModel({ ...rest, graph: sums }), { x }),
      ];
      for (const name of rounded) {
        const { data } = own[name]!;
        places += data.length;
        others += data.filter((value, at) => value !== written[name]!.data[at]).length;
      }
    }
    expect(places).toBeGreaterThan(20_000);
    expect(others).toBe(0);
  });

  test.each([false, true])('are those of z⁺ too, gated: %s', async (gated) => {
    const { model } = await quantized(mixed);
    const sumsOf = (rule: LayerRule): number => {
      const composite = { rules: [{ match: {}, ...rule }] };
      const { model: bytes } = compileExplanation(model, { composite, target: 'wasm', gated });
      const { nodes } = decodeModel(bytes).graph;
      const inside = nodes.flatMap(({ attributes }) =>
        [...attributes.values()].flatMap((one) => (one.kind === 'graph' ? one.value.nodes : [])),
      );
      return [...nodes, ...inside].filter(({ op }) => op === 'ConvInteger').length;
    };
    expect(sumsOf({ rule: 'epsilon' })).toBe(3);
    // no integer of an input is negative, so that z⁺ is one sum for each of the three
    expect(sumsOf({ rule: 'z-plus' })).toBe(6);
    const { model: bytes } = compileExplanation(model, { composite: 'epsilon-plus', target: 'wasm', gated });
    const { model: plain } = compileExplanation(model, { composite: 'epsilon-plus', gated });
    const feeds = {
      x: picture(),
      target: { dims: [1, 8], data: new Float32Array(8).fill(1) },
      ...(gated ? { explain: { dims: [], data: [true] } } : {}),
    };
    const [sums, floats] = [await runModel(bytes, feeds), await runModel(plain, feeds)];
    expect(deviation(sums['relevance/x']!.data, floats['relevance/x']!.data)).toBeLessThan(1e-5);
  });

  test('have their weights dequantized once, and not with every run, when they are explained', async () => {
    const { model } = await quantized(mixed);
    const compiled = (target: 'any' | 'wasm') => compileExplanation(model, { composite: 'epsilon', target }).model;
    const withEveryRun = async (bytes: Uint8Array): Promise<number> => {
      const nodes = await optimizedNodes(bytes);
      const computed = new Set(nodes.flatMap(({ outputs }) => outputs));
      return nodes.filter(({ op, inputs }) => op === 'DequantizeLinear' && !computed.has(inputs[0]!)).length;
    };
    expect(await withEveryRun(compiled('any'))).toBeGreaterThan(1);
    expect(await withEveryRun(compiled('wasm'))).toBe(0);
    const x = picture();
    const target = { dims: [1, 8], data: new Float32Array(8).fill(1) };
    const own = await runModel(model, { x });
    const [any, wasm] = [
      await runModel(compiled('any'), { x, target }),
      await runModel(compiled('wasm'), { x, target }),
    ];
    expect(deviation(wasm.logits!.data, own.logits!.data)).toBeLessThan(1e-5);
    expect(deviation(wasm['relevance/x']!.data, any['relevance/x']!.data)).toBeLessThan(1e-5);
  });
});
