import { describe, expect, it } from 'vitest';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { withOwnTypes } from '../../../sdk/graph/canonical/precision.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { dataTypeCode } from '../../../sdk/graph/data-types.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type DataType, int, ints, type Model, sizeOf, subgraph } from '../../../sdk/graph/graph.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { seeded } from '../../reference/random.js';
import { modelFile, modelsAbsent } from './models.js';
import { difference, randomTensor, runModel } from './runtime.js';

const castTo = (type: DataType) => ({ to: int(dataTypeCode(type)) });

/** A small classifier of pictures whose layers compute in the types that are given, with Casts between them. */
function classifier(seed: number, types: readonly [DataType, DataType, DataType], flattened = false): Model {
  const random = seeded(seed);
  const g = createBuilder();
  const weight = (type: DataType, ...dims: number[]): string =>
    g.initializer(g.name('w'), randomTensor({ type, dims }, random, 0.5));
  const [outer, inner, last] = types;
  g.input('picture', outer, [2, 3, 6, 6]);
  let x = g.node('Conv', ['picture', weight(outer, 4, 3, 3, 3), weight(outer, 4)], { pads: ints([1, 1, 1, 1]) });
  x = g.node('Relu', [x]);
  if (inner !== outer) x = g.node('Cast', [x], castTo(inner));
  x = g.node('MaxPool', [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  x = g.node('Mul', [x, weight(inner, 1, 4, 1, 1)]);
  x = g.node('Flatten', [x]);
  if (last !== inner) x = g.node('Cast', [x], castTo(last));
  x = g.node('Gemm', [x, weight(last, 36, 5), weight(last, 5)]);
  if (!flattened) x = g.node('Softmax', [x]);
  g.node('Identity', [x], {}, { outputs: ['scores'] });
  g.output('scores', last, [2, 5]);
  return modelOf(g.graph);
}

const mixtures: readonly (readonly [DataType, DataType, DataType])[] = [
  ['float16', 'float16', 'float16'],
  ['float32', 'float16', 'float32'],
  ['float16', 'float32', 'float16'],
  ['float16', 'float32', 'float32'],
  ['float32', 'float32', 'float16'],
];

describe('a model in another precision', () => {
  it.each(mixtures)('%s, %s, %s: computes the same in float32', async (...types) => {
    for (let seed = 0; seed < 8; seed++) {
      const model = classifier(seed, types);
      const picture = randomTensor({ type: types[0], dims: [2, 3, 6, 6] }, seeded(seed + 100));
      const { model: canonical, border, notes } = canonicalize(model);
      expect(canonical.graph.nodes.map((node) => node.op)).not.toContain('Cast');
      expect([...canonical.graph.values.values()].some(({ type }) => type === 'float16')).toBe(false);
      expect(notes.join(' ')).toMatch(/computes in float16; it was brought to float32: \d weights?\./);
      const whole = withOwnTypes(canonical.graph, border);
      expect(whole.inputs[0]!.type).toBe(types[0]);
      expect(whole.outputs[0]!.type).toBe(types[2]);
      expect(whole.nodes.filter((node) => node.op === 'Cast')).toHaveLength(border.inputs.size + border.outputs.size);
      const expected = (await runModel(model, { picture })).get('scores')!;
      const found = (await runModel({ ...canonical, graph: whole }, { picture })).get('scores')!;
      expect(found.type).toBe(types[2]);
      expect(difference(found, expected)).toBeLessThan(5e-3);
    }
  });

  it.each(mixtures)('%s, %s, %s: is explained in float32, as the same model in float32', async (...types) => {
    for (const gated of [false, true]) {
      const model = classifier(3, types, gated);
      const picture = randomTensor({ type: types[0], dims: [2, 3, 6, 6] }, seeded(5));
      // the same numbers, held in float32 from the start
      const single = canonicalize(model).model;
      const wide = tensorOf('float32', picture.dims, numbersOf(picture));
      const target = tensorOf('float32', [2, 5], new Float64Array(10));
      const asked = { composite: 'epsilon-plus', audit: true, gated } as const;
      const half = compileExplanation(encodeModel(model), asked);
      const full = compileExplanation(encodeModel(single), asked);
      expect(half.report.inputs).toEqual([{ name: 'picture', shape: [2, 3, 6, 6] }]);
      const explain = gated ? { explain: tensorOf('bool', [], [1]) } : {};
      const found = await runModel(half.model, { picture, target, ...explain });
      const expected = await runModel(full.model, { picture: wide, target, ...explain });
      for (const name of ['relevance/picture', 'conservation']) {
        expect(found.get(name)!.type).toBe('float32');
        expect(difference(found.get(name), expected.get(name)!)).toBeLessThan(1e-5);
      }
      expect(numbersOf(found.get('relevance/picture')!).some((value) => value !== 0)).toBe(true);
      expect(found.get('scores')!.type).toBe(types[2]);
    }
  });

  it('methods that multiply by the input or run it again take it in float32', async () => {
    const model = encodeModel(classifier(4, ['float16', 'float16', 'float16']));
    const picture = randomTensor({ type: 'float16', dims: [2, 3, 6, 6] }, seeded(6));
    const target = tensorOf('float32', [2, 5], new Float64Array(10));
    for (const method of ['gradient-x-input', 'integrated-gradients', 'occlusion', 'grad-cam']) {
      const { model: compiled } = compileExplanation(model, { composite: { method } });
      const relevance = (await runModel(compiled, { picture, target })).get('relevance/picture')!;
      expect(relevance.type).toBe('float32');
      expect(relevance.dims).toEqual([2, 3, 6, 6]);
      expect(numbersOf(relevance).every(Number.isFinite)).toBe(true);
    }
  });

  it('keeps double precision at the border, and its lowest number finite', () => {
    const g = createBuilder();
    g.input('x', 'float64', [1, 4]);
    const lowest = g.initializer('mask', tensorOf('float64', [4], [0, -Number.MAX_VALUE, 0, Number.NEGATIVE_INFINITY]));
    g.node('Add', ['x', lowest], {}, { outputs: ['y'] });
    g.output('y', 'float64', [1, 4]);
    const { model, border } = canonicalize(modelOf(g.graph));
    const [mask] = [...model.graph.initializers.values()];
    expect(mask!.type).toBe('float32');
    expect([...numbersOf(mask!)]).toEqual([0, -3.4028234663852886e38, 0, Number.NEGATIVE_INFINITY]);
    const whole = withOwnTypes(model.graph, border);
    expect([whole.inputs[0]!.type, whole.outputs[0]!.type]).toEqual(['float64', 'float64']);
    expect(whole.nodes.map((node) => node.op)).toEqual(['Cast', 'Add', 'Cast']);
    const { report } = compileExplanation(encodeModel(modelOf(g.graph)), { composite: 'epsilon' });
    expect(report.inputs.map((input) => input.name)).toEqual(['x']);
  });

  it('goes into the branches of an If', async () => {
    const g = createBuilder();
    g.input('x', 'float16', [1, 3]);
    const most = g.node('ReduceMax', [g.node('Cast', ['x'], castTo('float32'))], { keepdims: int(0) });
    const condition = g.node('Greater', [most, g.floats([0.2])]);
    const branch = (factor: number) => {
      const inside = createBuilder(undefined, `times_${factor}_`);
      const by = inside.initializer(inside.name('by'), tensorOf('float16', [], [factor]));
      const y = inside.node('Mul', ['x', by]);
      inside.output(y, 'float16', [1, 3]);
      return subgraph(inside.graph);
    };
    g.nodes('If', [condition], ['y'], { then_branch: branch(2), else_branch: branch(3) });
    g.output('y', 'float16', [1, 3]);
    const model = modelOf(g.graph);
    const { model: canonical, border } = canonicalize(model);
    for (const seed of [1, 2, 3, 4]) {
      const x = randomTensor({ type: 'float16', dims: [1, 3] }, seeded(seed), 0.4);
      const [expected] = (await runModel(model, { x })).values();
      const whole = { ...canonical, graph: withOwnTypes(canonical.graph, border) };
      const [found] = (await runModel(whole, { x })).values();
      expect(difference(found, expected!)).toBeLessThan(1e-3);
    }
  });

  it('an output that is the input, or is read inside, keeps its name and type', async () => {
    const g = createBuilder();
    g.input('x', 'float16', [1, 3]);
    g.node('Identity', ['x'], {}, { outputs: ['same'] });
    g.node('Relu', ['x'], {}, { outputs: ['inner'] });
    g.node('Neg', ['inner'], {}, { outputs: ['last'] });
    for (const name of ['same', 'inner', 'last']) g.output(name, 'float16', [1, 3]);
    const model = decodeModel(encodeModel(modelOf(g.graph)));
    const { model: canonical, border } = canonicalize(model);
    const x = tensorOf('float16', [1, 3], [1, -2, 0.1]);
    const expected = await runModel(model, { x });
    const found = await runModel({ ...canonical, graph: withOwnTypes(canonical.graph, border) }, { x });
    expect([...found.keys()]).toEqual(['same', 'inner', 'last']);
    for (const [name, value] of expected) {
      expect(found.get(name)!.type).toBe('float16');
      expect(difference(found.get(name), value)).toBe(0);
    }
  });
});

describe('on wish a compiled graph is in float32 at its border too', () => {
  it.each(['float16', 'float64'] as const)('%s', async (type) => {
    const g = createBuilder();
    g.input('x', type, [1, 3]);
    g.node('Relu', ['x'], {}, { outputs: ['y'] });
    g.output('y', type, [1, 3]);
    const bytes = encodeModel(modelOf(g.graph));
    const { model } = compileExplanation(bytes, { types: 'float32' });
    const { graph } = decodeModel(model);
    for (const { type: at } of [...graph.inputs, ...graph.outputs]) expect(at).toBe('float32');
    const found = await runModel(model, {
      x: tensorOf('float32', [1, 3], [1, -2, 0.5]),
      target: tensorOf('float32', [1, 3], [1, 1, 1]),
    });
    expect([...numbersOf(found.get('y')!)]).toEqual([1, 0, 0.5]);
    expect([...numbersOf(found.get('relevance/x')!)]).toEqual([1, 0, 0.5]);
  });
});

describe.skipIf(modelsAbsent)('SqueezeNet in half precision', () => {
  it('keeps its outputs and is explained', { timeout: 120_000 }, async () => {
    const bytes = new Uint8Array(modelFile('squeezenet_fp16/SqueezeNet_fp16.onnx').read());
    const { model, report } = compileExplanation(bytes, { composite: 'epsilon-plus', audit: true });
    expect(report.explained.logits).not.toBe(report.explained.output);
    const target = tensorOf('float32', report.explained.shape, new Float64Array(sizeOf(report.explained.shape)));
    for (const seed of [1, 2]) {
      const picture = randomTensor({ type: 'float16', dims: [1, 3, 224, 224] }, seeded(seed), 100);
      const expected = (await runModel(bytes, { data_0: picture })).get('softmaxout_1')!;
      const found = await runModel(model, { data_0: picture, target });
      const [mine, own] = [numbersOf(found.get('softmaxout_1')!), numbersOf(expected)];
      expect(mine.indexOf(Math.max(...mine))).toBe(own.indexOf(Math.max(...own)));
      const worst = difference(found.get('softmaxout_1'), expected);
      console.log(
        `SqueezeNet in float16, picture ${seed}: differs by ${worst.toExponential(1)} of the greatest output`,
      );
      expect(worst).toBeLessThan(5e-3);
      const relevance = found.get('relevance/data_0')!;
      expect(relevance.type).toBe('float32');
      expect(relevance.dims).toEqual([1, 3, 224, 224]);
      const [conservation, absorbed] = ['conservation', 'absorbed'].map((name) => numbersOf(found.get(name)!));
      expect((conservation!.at(-1)! + absorbed!.at(-1)!) / conservation![0]!).toBeCloseTo(1, 1);
    }
  });
});
