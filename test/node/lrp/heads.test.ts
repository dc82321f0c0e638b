import { describe, expect, test } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { count, type Dense, dense, filled } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { evaluate, explain, type OracleOptions } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import { type Result, runModel } from '../../reference/run.js';
import { compiledRun, tolerance, wellConditioned, worstDeviation } from './agreement.js';

const random = seeded(85);
const weights = (...dims: number[]): Dense => signed(random, dims);
const convolution = (name: string, from: string, filters: number, channels: number, size = 3): Layer => ({
  name,
  inputs: [from],
  op: 'Conv',
  weight: weights(filters, channels, size, size),
  bias: weights(filters),
  pads: new Array<number>(4).fill((size - 1) / 2),
});
const relu = (name: string, from: string): Layer => ({ name, inputs: [from], op: 'Relu' });
const stem: Layer[] = [convolution('stem', 'x', 4, 3), relu('stem_relu', 'stem')];
const image: Network['inputs'] = [{ name: 'x', dims: [1, 3, 6, 5] }];

const heads: Readonly<Record<string, Network>> = {
  'a detector: [1, boxes, 85]': {
    inputs: image,
    layers: [
      ...stem,
      convolution('cells', 'stem_relu', 85, 4, 1),
      { name: 'last', inputs: ['cells'], op: 'Transpose', perm: [0, 2, 3, 1] },
      { name: 'boxes', inputs: ['last'], op: 'Reshape', shape: [1, 30, 85] },
    ],
    logits: 'boxes',
  },
  'a segmentation map: [1, classes, height, width]': {
    inputs: image,
    layers: [...stem, convolution('map', 'stem_relu', 3, 4, 1)],
    logits: 'map',
    terminal: 'Sigmoid',
  },
  'an embedding: [1, dimensions]': {
    inputs: image,
    layers: [
      ...stem,
      { name: 'pooled', inputs: ['stem_relu'], op: 'GlobalAveragePool' },
      { name: 'flat', inputs: ['pooled'], op: 'Flatten', axis: 1 },
      { name: 'embedding', inputs: ['flat'], op: 'Gemm', weight: weights(4, 8), bias: weights(8) },
    ],
    logits: 'embedding',
  },
};

const stabilizer = 0.02;
const settings: OracleOptions = { stabilizer };
const composite = { stabilizer, rules: [] };

function shapeOf(network: Network): readonly number[] {
  const zeros = network.inputs.map(({ name, dims }) => [name, filled(dims, 0)]);
  return evaluate(network, Object.fromEntries(zeros)).get(network.logits)!.dims;
}

const oneHot = (dims: readonly number[], at: number): Dense => {
  const target = filled(dims, 0);
  target.data[at] = 1;
  return target;
};

describe('the target has the shape of what is explained', () => {
  test.each(Object.entries(heads))('%s', async (_, network) => {
    const dims = shapeOf(network);
    const { model, report } = compileExplanation(onnxOf(network), { composite });
    expect(report.explained.shape).toEqual(dims);
    const { inputs } = wellConditioned(network, seeded(3), dims, settings);
    const { data } = evaluate(network, inputs).get(network.logits)!;
    const chosen = Math.floor(data.length * 0.6);
    for (const target of [oneHot(dims, chosen), signed(seeded(8), dims), filled(dims, 0)]) {
      const outputs = await runModel(model, { ...inputs, target });
      const reference = explain(network, inputs, target, settings);
      expect(worstDeviation(network, outputs, reference)).toBeLessThan(tolerance);
    }
    const strongest = data.indexOf(Math.max(...data));
    const [picked, left] = await Promise.all(
      [oneHot(dims, strongest), filled(dims, 0)].map((target) => runModel(model, { ...inputs, target })),
    );
    expect(deviation(left!['relevance/x']!.data, picked!['relevance/x']!.data)).toBeLessThan(1e-6);
  });
  test('one cell of a map has the pixels under it as its reasons', async () => {
    const network = heads['a segmentation map: [1, classes, height, width]']!;
    const x = signed(seeded(9), [1, 3, 6, 5]);
    const cell = { row: 1, column: 3 };
    const target = oneHot([1, 3, 6, 5], 2 * 30 + cell.row * 5 + cell.column);
    const { data } = (await compiledRun(network, { x }, target, { composite }))['relevance/x']!;
    data.forEach((relevance, index) => {
      const [row, column] = [Math.floor(index / 5) % 6, index % 5];
      if (Math.abs(row - cell.row) > 1 || Math.abs(column - cell.column) > 1) expect(Math.abs(relevance)).toBe(0);
    });
    expect(data.some((relevance) => relevance !== 0)).toBe(true);
  });
});

describe('several outputs', () => {
  const network: Network = {
    inputs: image,
    layers: [...stem, convolution('boxes', 'stem_relu', 4, 4, 1), convolution('classes', 'stem_relu', 6, 4, 1)],
    otherOutputs: ['boxes'],
    logits: 'classes',
  };
  test.each(['boxes', 'classes'])('%s is chosen by name', async (output) => {
    const explained = { ...network, logits: output };
    const dims = shapeOf(explained);
    const { inputs, target, reference } = wellConditioned(explained, seeded(4), dims, settings);
    const outputs = await compiledRun(network, inputs, target, { composite, output });
    expect(worstDeviation(network, outputs, reference)).toBeLessThan(tolerance);
    expect(outputs.boxes!.dims).toEqual([1, 4, 6, 5]);
    expect(outputs.classes!.dims).toEqual([1, 6, 6, 5]);
  });
});

describe('several inputs', () => {
  /** A picture and a sound, and a third input that has no say in the classes. */
  const network: Network = {
    inputs: [...image, { name: 'sound', dims: [1, 2, 12] }, { name: 'other', dims: [1, 3] }],
    layers: [
      ...stem,
      { name: 'seen', inputs: ['stem_relu'], op: 'ReduceMean', axes: [2, 3], keepdims: false },
      { name: 'heard', inputs: ['sound'], op: 'Conv', weight: weights(3, 2, 4), bias: weights(3), strides: [2] },
      relu('heard_relu', 'heard'),
      { name: 'loud', inputs: ['heard_relu'], op: 'ReduceMean', axes: [2], keepdims: false },
      { name: 'both', inputs: ['seen', 'loud'], op: 'Concat', axis: 1 },
      { name: 'aside', inputs: ['other'], op: 'Gemm', weight: weights(3, 2) },
      { name: 'logits', inputs: ['both'], op: 'Gemm', weight: weights(7, 4), bias: weights(4) },
    ],
    otherOutputs: ['aside'],
    logits: 'logits',
  };
  test('have relevance each, in their own shapes, and what has no say has zero', async () => {
    const { inputs, target, reference } = wellConditioned(network, seeded(6), [1, 4], settings);
    const outputs = await compiledRun(network, inputs, target, { composite, output: 'logits' });
    for (const { name, dims } of network.inputs) expect(outputs[`relevance/${name}`]!.dims).toEqual(dims);
    for (const name of ['x', 'sound']) {
      expect(deviation(outputs[`relevance/${name}`]!.data, reference.relevance.get(name)!.data)).toBeLessThan(
        tolerance,
      );
      expect(outputs[`relevance/${name}`]!.data.some((value) => value !== 0)).toBe(true);
    }
    expect([...outputs['relevance/other']!.data]).toEqual([0, 0, 0]);
  });
  test.each(['gradient-x-input', 'sensitivity-l2', 'integrated-gradients', 'smoothgrad', 'occlusion'])(
    '%s, too',
    async (method) => {
      const { inputs, target } = wellConditioned(network, seeded(6), [1, 4], settings);
      const outputs = await compiledRun(network, inputs, target, { composite: { method }, output: 'logits' });
      for (const { name, dims } of network.inputs) {
        expect(outputs[`relevance/${name}`]!.dims).toEqual(dims);
        expect(outputs[`relevance/${name}`]!.data.some((value) => value !== 0)).toBe(name !== 'other');
      }
    },
  );
});

describe('seed', () => {
  const network = heads['an embedding: [1, dimensions]']!;
  const { inputs, target } = wellConditioned(network, seeded(2), [1, 8], settings);
  const of = async (options: CompileOptions, chosen = target): Promise<Float64Array> =>
    (await compiledRun(network, inputs, chosen, { composite, ...options }))['relevance/x']!.data;
  test('relevance: the target is what the explained output is given', async () => {
    const { data } = evaluate(network, inputs).get('embedding')!;
    const divided = dense(
      target.data.map((weight, k) => Math.fround(weight * data[k]!)),
      [1, 8],
    );
    expect(deviation(await of({ seed: 'relevance' }, divided), await of({}))).toBeLessThan(1e-5);
    expect(deviation(await of({ seed: 'relevance' }), await of({ composite: { ...composite, init: 'one' } }))).toBe(0);
  });
  test('logits: gradients times the logit', async () => {
    const seeded = await of({ seed: 'logits', composite: 'gradient' }, oneHot([1, 8], 3));
    const logit = evaluate(network, inputs).get('embedding')!.data[3]!;
    const expected = (await of({ composite: 'gradient' }, oneHot([1, 8], 3))).map((value) => value * logit);
    expect(deviation(seeded, expected)).toBeLessThan(1e-5);
  });
});

describe('several samples at once', () => {
  /** The file leaves the number of samples open. */
  function openBatch(): Uint8Array {
    const builder = createBuilder();
    builder.input('x', 'float32', ['N', 3, 6, 5]);
    const constant = (name: string, value: Dense): string =>
      builder.initializer(name, floatTensor(Float32Array.from(value.data), value.dims));
    const convolved = builder.node('Conv', ['x', constant('w', signed(seeded(1), [4, 3, 3, 3]))], {
      kernel_shape: ints([3, 3]),
    });
    const pooled = builder.node('GlobalAveragePool', [builder.node('Relu', [convolved])]);
    const flat = builder.node('Flatten', [pooled]);
    builder.node('Gemm', [flat, constant('v', signed(seeded(2), [4, 5]))], {}, { outputs: ['logits'] });
    builder.output('logits', 'float32', ['N', 5]);
    return encodeModel(modelOf(builder.graph));
  }
  const size = count([3, 6, 5]);
  const noise = signed(seeded(7), [3, 3, 6, 5]);
  // another channel is bright in every sample, so that another output is the strongest
  const x = dense(
    noise.data.map((value, index) => value + (Math.floor(index / 30) % 4 === 0 ? 3 : 0)),
    noise.dims,
  );
  const sample = (data: Float64Array, index: number): Float64Array => data.slice(index * size, (index + 1) * size);

  test.each(['epsilon-plus-flat', 'gradient', 'grad-cam', 'integrated-gradients', 'smoothgrad', 'occlusion'])(
    '%s: each has its own strongest output, and no relevance leaks',
    async (method) => {
      const open = openBatch();
      const three = compileExplanation(open, { composite: method, inputShapes: { x: [3, 3, 6, 5] } });
      expect(three.report.explained.shape).toEqual([3, 5]);
      const run = (batch: Dense): Promise<Record<string, Result>> =>
        runModel(three.model, { x: batch, target: filled([3, 5], 0) });
      const together = await run(x);
      const one = compileExplanation(open, { composite: method, inputShapes: { x: [1, 3, 6, 5] } });
      const strongest = new Set<number>();
      for (const index of [0, 1, 2]) {
        const alone = await runModel(one.model, {
          x: dense(sample(x.data, index), [1, 3, 6, 5]),
          target: filled([1, 5], 0),
        });
        strongest.add(alone.logits!.data.indexOf(Math.max(...alone.logits!.data)));
        const relevance = sample(together['relevance/x']!.data, index);
        expect(deviation(relevance, alone['relevance/x']!.data)).toBeLessThan(1e-5);
      }
      expect(strongest.size).toBeGreaterThan(1);
      const changed = dense(x.data, x.dims);
      changed.data.fill(2, size, 2 * size);
      const after = await run(changed);
      for (const index of [0, 2]) {
        expect(sample(after['relevance/x']!.data, index)).toEqual(sample(together['relevance/x']!.data, index));
      }
      expect(sum(sample(after['relevance/x']!.data, 1))).not.toBe(sum(sample(together['relevance/x']!.data, 1)));
    },
  );
});

test('boxes of one picture are no samples: a target that names one leaves the others out', async () => {
  const network: Network = {
    inputs: image,
    layers: [
      ...stem,
      convolution('cells', 'stem_relu', 2, 4, 1),
      { name: 'last', inputs: ['cells'], op: 'Transpose', perm: [0, 2, 3, 1] },
      { name: 'boxes', inputs: ['last'], op: 'Reshape', shape: [30, 2] },
    ],
    logits: 'boxes',
  };
  const { model } = compileExplanation(onnxOf(network), { composite: { bias: 'distribute', rules: [] }, audit: true });
  const x = signed(seeded(3), [1, 3, 6, 5]);
  const target = filled([30, 2], 0);
  target.data[2 * 17 + 1] = 1;
  const run = (given: Dense): Promise<Record<string, Result>> => runModel(model, { x, target: given });
  const named = await run(target);
  expect(named.conservation!.data[0]).toBeCloseTo(named.boxes!.data[2 * 17 + 1]!, 5);
  const strongest = await run(filled([30, 2], 0));
  expect(strongest.conservation!.data[0]).toBeCloseTo(Math.max(...strongest.boxes!.data), 5);
});
