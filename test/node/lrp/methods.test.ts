import { describe, expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { NamedValue } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite, CompositeMethod } from '../../../sdk/lrp/composite.js';
import { presets } from '../../../sdk/lrp/presets.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { count, type Dense, dense, filled } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { audio, inception, residual } from '../../reference/networks.js';
import { evaluate } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import { type Result, runModel } from '../../reference/run.js';
import { compiledRun } from './agreement.js';

const random = seeded(2019);
const weights = (...dims: number[]): Dense => signed(random, dims);
const convolution = (name: string, from: string, filters: number, channels: number, biased = false): Layer => ({
  name,
  inputs: [from],
  op: 'Conv',
  weight: weights(filters, channels, 3, 3),
  ...(biased ? { bias: weights(filters) } : {}),
  pads: [1, 1, 1, 1],
});
const relu = (name: string, from: string): Layer => ({ name, inputs: [from], op: 'Relu' });

/** Convolutions, a pool between them, and global average pooling under a linear layer. */
const averaged = (biased: boolean, activation: 'Relu' | 'Softplus' = 'Relu'): Network => ({
  inputs: [{ name: 'x', dims: [2, 3, 9, 7] }],
  layers: [
    convolution('one', 'x', 4, 3, biased),
    { ...relu('one_active', 'one'), op: activation } as Layer,
    { name: 'pool', inputs: ['one_active'], op: 'AveragePool', kernel: [2, 2], strides: [2, 2] },
    convolution('two', 'pool', 5, 4, biased),
    { ...relu('two_active', 'two'), op: activation } as Layer,
    { name: 'pooled', inputs: ['two_active'], op: 'GlobalAveragePool' },
    { name: 'flat', inputs: ['pooled'], op: 'Flatten', axis: 1 },
    { name: 'logits', inputs: ['flat'], op: 'Gemm', weight: weights(5, 3), ...(biased ? { bias: weights(3) } : {}) },
  ],
  logits: 'logits',
});
const plain = averaged(false);
const x = signed(seeded(5), [2, 3, 9, 7]);
const target = dense([0, 1, 0, 1, 0, 0], [2, 3]);

const method = (name: string, options: Partial<CompositeMethod> = {}): CompositeMethod => ({
  method: name,
  ...options,
});
const run = (composite: Composite, options: CompileOptions = {}, network = plain): Promise<Record<string, Result>> =>
  compiledRun(network, { x }, target, { composite, ...options });
const relevanceOf = async (composite: Composite, network = plain): Promise<Result> =>
  (await run(composite, {}, network))['relevance/x']!;

/** Reduces [batch, channels, …places] over channels to [batch, …places]. */
function overChannels({ dims, data }: Dense | Result, reduce: (values: number[]) => number): number[] {
  const [batch, channels, ...places] = dims as [number, number, ...number[]];
  const size = count(places);
  return Array.from({ length: batch * size }, (_, place) => {
    const [sample, at] = [Math.floor(place / size), place % size];
    return reduce(Array.from({ length: channels }, (__, c) => data[(sample * channels + c) * size + at]!));
  });
}

/** In equal parts in every channel. */
function spread(perPlace: readonly number[], [batch, channels, ...places]: readonly number[]): Float64Array {
  const size = count(places);
  return Float64Array.from({ length: batch! * channels! * size }, (_, index) => {
    const sample = Math.floor(index / (channels! * size));
    return perPlace[sample * size + (index % size)]! / channels!;
  });
}

function failure(composite: Composite, network: Network, options: CompileOptions = {}): WhylightError {
  try {
    compileExplanation(onnxOf(network), { composite, ...options });
  } catch (error) {
    if (error instanceof WhylightError) return error;
    throw error;
  }
  throw new Error('it compiled');
}

describe('every preset and method', () => {
  test.each(Object.keys(presets))(
    '%s gives relevance of the shape of the input, gated and audited too',
    async (name) => {
      const composite = name === 'epsilon-gamma-box' ? name : method(name);
      const options = { inputRanges: { x: [-1, 1] }, audit: true } as const;
      const open = await run(composite, options);
      expect(open['relevance/x']!.dims).toEqual([2, 3, 9, 7]);
      expect(open['relevance/x']!.data.every(Number.isFinite)).toBe(true);
      expect(open['relevance/x']!.data.some((value) => value !== 0)).toBe(true);
      const { model } = compileExplanation(onnxOf(plain), { composite, gated: true, ...options });
      const gated = await runModel(model, { x, target, explain: { dims: [], data: [true] } });
      expect(deviation(gated['relevance/x']!.data, open['relevance/x']!.data)).toBeLessThan(1e-6);
      const shut = await runModel(model, { x, target, explain: { dims: [], data: [false] } });
      expect(deviation(shut.logits!.data, open.logits!.data)).toBeLessThan(1e-6);
    },
  );
});

describe('sensitivity', () => {
  test.each([
    ['sensitivity-l2', (values: number[]) => Math.hypot(...values)],
    ['sensitivity-linf', (values: number[]) => Math.max(...values.map(Math.abs))],
  ])('%s is the norm of the gradient over channels, in equal parts in every channel', async (name, norm) => {
    const gradient = await relevanceOf('gradient');
    const expected = spread(overChannels(gradient, norm), gradient.dims);
    expect(deviation((await relevanceOf(method(name))).data, expected)).toBeLessThan(1e-5);
  });
  test('channels last are seen by their number, or named', async () => {
    const transposed: Network = {
      ...plain,
      inputs: [{ name: 'y', dims: [2, 9, 7, 3] }],
      layers: [{ name: 'x', inputs: ['y'], op: 'Transpose', perm: [0, 3, 1, 2] }, ...plain.layers],
    };
    const y = dense(
      Array.from({ length: count(x.dims) }, (_, index) => {
        const [sample, place, channel] = [Math.floor(index / 189), Math.floor((index % 189) / 3), index % 3];
        return x.data[(sample * 3 + channel) * 63 + place]!;
      }),
      [2, 9, 7, 3],
    );
    const expected = overChannels(await relevanceOf(method('sensitivity-l2')), sum);
    for (const composite of [method('sensitivity-l2'), method('sensitivity-l2', { channelAxis: 3 })]) {
      const result = (await compiledRun(transposed, { y }, target, { composite }))['relevance/y']!;
      const perPlace = Array.from({ length: 2 * 63 }, (_, place) => sum(result.data.slice(place * 3, place * 3 + 3)));
      expect(deviation(perPlace, expected)).toBeLessThan(1e-5);
    }
    expect(failure(method('sensitivity-l2', { channelAxis: 4 }), plain).message).toContain('channelAxis');
  });
  test('of an input without channels is the absolute gradient', async () => {
    const network: Network = {
      inputs: [{ name: 'x', dims: [2, 6] }],
      layers: [{ name: 'logits', inputs: ['x'], op: 'Gemm', weight: weights(6, 3) }],
      logits: 'logits',
    };
    const features = signed(seeded(1), [2, 6]);
    const of = async (composite: Composite) =>
      (await compiledRun(network, { x: features }, target, { composite }))['relevance/x']!.data;
    const expected = (await of('gradient')).map(Math.abs);
    expect(deviation(await of(method('sensitivity-l2')), expected)).toBeLessThan(1e-5);
  });
});

describe('gradient × input', () => {
  test.each(['Conv and average', 'maximum', 'residual'])(
    'is the ε-rule for ε → 0 without biases (thesis 2.61), %s',
    async (kind) => {
      const maximum: Layer = { name: 'pool', inputs: ['one_active'], op: 'MaxPool', kernel: [2, 2], strides: [2, 2] };
      const added: Layer[] = [
        convolution('beside', 'one_active', 4, 4),
        { name: 'sum', inputs: ['beside', 'one_active'], op: 'Add' },
      ];
      const layers = plain.layers.flatMap((layer): Layer[] => {
        if (layer.name !== 'pool' || kind === 'Conv and average') return [layer];
        return kind === 'maximum' ? [maximum] : [...added, { ...layer, inputs: ['sum'] }];
      });
      const network = { ...plain, layers };
      const z = { stabilizer: 1e-9, rules: [{ match: {}, rule: 'z' }] } as const;
      const expected = await relevanceOf('gradient-x-input', network);
      expect(deviation((await relevanceOf(z, network)).data, expected.data)).toBeLessThan(1e-4);
    },
  );
});

/** Bilinear interpolation with half-pixel centres, as the usual libraries enlarge a map. */
function enlarged(map: readonly number[], [h, w]: [number, number], [toH, toW]: [number, number]): number[] {
  const along = (place: number, from: number, to: number) => {
    const source = Math.min(from - 1, Math.max(0, ((place + 0.5) * from) / to - 0.5));
    const low = Math.floor(source);
    return { low, high: Math.min(from - 1, low + 1), share: source - low };
  };
  const samples = map.length / (h * w);
  return Array.from({ length: samples * toH * toW }, (_, index) => {
    const sample = Math.floor(index / (toH * toW));
    const row = along(Math.floor(index / toW) % toH, h, toH);
    const column = along(index % toW, w, toW);
    const at = (r: number, c: number): number => map[(sample * h + r) * w + c]!;
    const top = at(row.low, column.low) * (1 - column.share) + at(row.low, column.high) * column.share;
    const bottom = at(row.high, column.low) * (1 - column.share) + at(row.high, column.high) * column.share;
    return top * (1 - row.share) + bottom * row.share;
  });
}

const biased = averaged(true);

describe('cam', () => {
  test('is the z-rule on the last layer, under global average pooling and a linear layer', async () => {
    // stabilizers off and the bias absorbed: R = w·A / p at every place of the last activation
    const composite = { stabilizer: 1e-9, rules: [{ match: {}, rule: 'z' }] } as const;
    const seedOne = await run(composite, { taps: ['two_active'] }, biased);
    const map = overChannels(seedOne['relevance/two_active']!, sum);
    const expected = spread(enlarged(map, [4, 3], [9, 7]), [2, 3, 9, 7]);
    expect(deviation((await relevanceOf(method('cam'), biased)).data, expected)).toBeLessThan(1e-4);
  });
  test('is refused where a unit behind the layer is not linear', () => {
    const error = failure(method('cam', { layer: 'one_active' }), biased);
    expect(error.code).toBe('COMPOSITE_INVALID');
    expect(error.message).toContain('two_active');
    expect(error.message).toContain('grad-cam');
  });
});

describe('grad-cam', () => {
  async function expectedMap(layer: string, [h, w]: [number, number]): Promise<number[]> {
    const gradient = (await run('gradient', { taps: [layer] }, biased))[`relevance/${layer}`]!;
    const activation = evaluate(biased, { x }).get(layer)!;
    const [, channels] = activation.dims as [number, number];
    const mean = (index: number): number =>
      sum(gradient.data.slice(Math.floor(index / (h * w)) * h * w, (Math.floor(index / (h * w)) + 1) * h * w)) /
      (h * w);
    const weighted = activation.data.map((value, index) => value * mean(index));
    expect(channels).toBe(layer === 'one_active' ? 4 : 5);
    const map = overChannels({ dims: activation.dims, data: weighted }, (values) => Math.max(0, sum(values)));
    return enlarged(map, [h, w], [9, 7]);
  }
  test('is the positive part of the channels weighted by their mean gradient, at the last convolution', async () => {
    const expected = spread(await expectedMap('two_active', [4, 3]), [2, 3, 9, 7]);
    expect(deviation((await relevanceOf(method('grad-cam'), biased)).data, expected)).toBeLessThan(1e-4);
  });
  test('or at a layer that is named', async () => {
    const expected = spread(await expectedMap('one_active', [9, 7]), [2, 3, 9, 7]);
    const composite = method('grad-cam', { layer: 'one_active' });
    expect(deviation((await relevanceOf(composite, biased)).data, expected)).toBeLessThan(1e-4);
  });
  test('guided-grad-cam is its product with guided-backprop', async () => {
    const map = spread(await expectedMap('two_active', [4, 3]), [2, 3, 9, 7]);
    const guided = (await relevanceOf('guided-backprop', biased)).data;
    const expected = guided.map((value, index) => value * map[index]! * 3);
    expect(deviation((await relevanceOf(method('guided-grad-cam'), biased)).data, expected)).toBeLessThan(1e-4);
  });
  test('takes the sum of a residual block, the joined branches, and frames of sound', async () => {
    for (const [network, layer] of [
      [residual, 'add2_relu'],
      [inception, 'joined_relu'],
      [audio, 'context_leaky'],
    ] as const) {
      const [input] = network.inputs;
      const some = signed(seeded(3), input!.dims);
      const target4 = filled([input!.dims[0]!, 4], 1);
      const of = async (composite: Composite) =>
        (await compiledRun(network, { x: some }, target4, { composite }))['relevance/x']!.data;
      expect(deviation(await of(method('grad-cam')), await of(method('grad-cam', { layer })))).toBe(0);
    }
  });
  test('costs the backward pass down to its layer only', () => {
    const cost = (name: string): number => compileExplanation(onnxOf(biased), { composite: name }).report.backward;
    expect(cost('grad-cam')).toBeLessThan(cost('gradient') / 10);
  });
  test.each([
    ['a layer that is not there', 'nowhere', 'nowhere'],
    ['a layer without places', 'flat', 'flat'],
  ])('refuses %s', (_, layer, word) => {
    const error = failure(method('grad-cam', { layer }), biased);
    expect(error.code).toBe('COMPOSITE_INVALID');
    expect(error.message).toContain(word);
  });
});

describe('integrated gradients', () => {
  const smooth = averaged(true, 'Softplus');
  const outputAt = (input: Dense): number[] => {
    const { data } = evaluate(smooth, { x: input }).get('logits')!;
    return [data[1]!, data[3]!];
  };
  test.each([
    ['zero', 0, [0, 0, 0]],
    ['one number', -0.5, [-0.5, -0.5, -0.5]],
    ['one number per channel', [0.5, -0.25, 0], [0.5, -0.25, 0]],
  ])('sums to what the target gains over the baseline: %s', async (_, baseline, perChannel) => {
    const composite = method('integrated-gradients', { steps: 16, baseline });
    const relevance = (await relevanceOf(composite, smooth)).data;
    const from = dense(
      Array.from({ length: count(x.dims) }, (__, index) => perChannel[Math.floor(index / 63) % 3]!),
      x.dims,
    );
    const [before, after] = [outputAt(from), outputAt(x)];
    for (const sample of [0, 1]) {
      const gain = after[sample]! - before[sample]!;
      expect(sum(relevance.slice(sample * 189, (sample + 1) * 189))).toBeCloseTo(gain, 2);
    }
  });
  test('with one step is the gradient half-way times the difference', async () => {
    const half = dense(
      x.data.map((value) => value / 2),
      x.dims,
    );
    const gradient = (await compiledRun(smooth, { x: half }, target, { composite: 'gradient' }))['relevance/x']!;
    const expected = gradient.data.map((value, index) => value * x.data[index]!);
    const composite = method('integrated-gradients', { steps: 1 });
    expect(deviation((await relevanceOf(composite, smooth)).data, expected)).toBeLessThan(1e-4);
  });
  test('explains the strongest output of the input itself, not of the points on the way', async () => {
    const run = async (composite: Composite, chosen: Dense) =>
      (await compiledRun(smooth, { x }, chosen, { composite }))['relevance/x']!.data;
    const { data } = evaluate(smooth, { x }).get('logits')!;
    const best = dense(
      [...data].map((value, k) => (value === Math.max(...data.slice(k < 3 ? 0 : 3, k < 3 ? 3 : 6)) ? 1 : 0)),
      [2, 3],
    );
    const composite = method('integrated-gradients', { baseline: 3 });
    expect(deviation(await run(composite, filled([2, 3], 0)), await run(composite, best))).toBe(0);
  });
  test('shares the weights between its steps and reports what they cost', () => {
    const compile = (steps: number) =>
      compileExplanation(onnxOf(smooth), { composite: method('integrated-gradients', { steps }) });
    const [four, eight] = [compile(4), compile(8)];
    const ratio = eight.report.backward / four.report.backward;
    // the linear head is the same at every step, so it is written once
    expect(ratio).toBeGreaterThan(1.99);
    expect(ratio).toBeLessThanOrEqual(2);
    const kernels = ({ model }: { model: Uint8Array }): number =>
      [...decodeModel(model).graph.initializers.values()].filter(({ dims }) => dims.join() === '5,4,3,3').length;
    expect(kernels(eight)).toBe(1);
    expect(failure(method('integrated-gradients', { steps: 0 }), smooth).message).toContain('steps');
    expect(failure(method('integrated-gradients', { baseline: [0, 0] }), smooth).message).toContain('baseline');
    expect(failure(method('integrated-gradients'), smooth, { taps: ['pool'] }).code).toBe('COMPOSITE_INVALID');
  });
});

describe('smoothgrad', () => {
  test('without noise is the gradient, with noise the same one for the same seed', async () => {
    const of = async (options: Partial<CompositeMethod>) =>
      (await relevanceOf(method('smoothgrad', options), biased)).data;
    const gradient = (await relevanceOf('gradient', biased)).data;
    expect(deviation(await of({ noise: 0, steps: 3 }), gradient)).toBeLessThan(1e-5);
    const noisy = await of({ noise: 0.2, seed: 7 });
    expect(deviation(await of({ noise: 0.2, seed: 7 }), noisy)).toBe(0);
    expect(deviation(await of({ noise: 0.2, seed: 8 }), noisy)).toBeGreaterThan(1e-3);
    expect(deviation(noisy, gradient)).toBeGreaterThan(1e-3);
  });
});

describe('occlusion', () => {
  test('is what the target loses when a patch is covered', async () => {
    const relevance = await relevanceOf(method('occlusion', { patches: 2, baseline: 0.5 }), biased);
    const borders = { rows: [0, 4, 9], columns: [0, 3, 7] };
    const before = evaluate(biased, { x }).get('logits')!.data;
    for (const [r, c] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const inside = (index: number): boolean => {
        const [row, column] = [Math.floor(index / 7) % 9, index % 7];
        return (
          row >= borders.rows[r]! &&
          row < borders.rows[r + 1]! &&
          column >= borders.columns[c]! &&
          column < borders.columns[c + 1]!
        );
      };
      const covered = dense(
        x.data.map((value, index) => (inside(index) ? 0.5 : value)),
        x.dims,
      );
      const after = evaluate(biased, { x: covered }).get('logits')!.data;
      for (const [sample, output] of [
        [0, 1],
        [1, 3],
      ] as const) {
        const patch = relevance.data.filter((_, index) => inside(index) && Math.floor(index / 189) === sample);
        expect(sum(patch)).toBeCloseTo(before[output]! - after[output]!, 4);
        expect(Math.max(...patch) - Math.min(...patch)).toBeLessThan(1e-6);
      }
    }
  });
  test.each([
    [3, 1],
    [5, 2],
  ])('covers %d × %d patches in batches where the file leaves the batch open', async (patches, batches) => {
    const single: Network = { ...biased, inputs: [{ name: 'x', dims: [1, 3, 9, 7] }] };
    const fixed = decodeModel(onnxOf(single));
    const open = (value: NamedValue): NamedValue => ({ ...value, dims: ['N', ...value.dims.slice(1)] });
    const { graph } = fixed;
    const model = encodeModel({
      ...fixed,
      graph: { ...graph, inputs: graph.inputs.map(open), outputs: graph.outputs.map(open), values: new Map() },
    });
    const composite = method('occlusion', { patches, baseline: 0.5 });
    const inputShapes = { x: [1, 3, 9, 7] };
    const together = compileExplanation(model, { composite, inputShapes });
    const apart = compileExplanation(onnxOf(single), { composite });
    const convolutions = ({ model: bytes }: { model: Uint8Array }): number =>
      decodeModel(bytes).graph.nodes.filter(({ op }) => op === 'Conv').length;
    expect(convolutions(apart)).toBe(2 * (1 + patches ** 2));
    expect(convolutions(together)).toBe(2 * (1 + batches));
    // the same arithmetic, in fewer nodes
    expect(together.report.backward).toBe(apart.report.backward);
    const feeds = { x: signed(seeded(5), [1, 3, 9, 7]), target: dense([0, 1, 0], [1, 3]) };
    const [one, other] = [await runModel(together.model, feeds), await runModel(apart.model, feeds)];
    expect(deviation(one['relevance/x']!.data, other['relevance/x']!.data)).toBeLessThan(1e-5);
    const gated = compileExplanation(model, { composite, inputShapes, gated: true });
    const opened = await runModel(gated.model, { ...feeds, explain: { dims: [], data: [true] } });
    expect(deviation(opened['relevance/x']!.data, other['relevance/x']!.data)).toBeLessThan(1e-5);
  });
  test('has a limit', () => {
    const clip: Network = {
      inputs: [{ name: 'x', dims: [1, 2, 16, 16, 16] }],
      layers: [{ name: 'logits', inputs: ['x'], op: 'ReduceMean', axes: [2, 3, 4], keepdims: false }],
      logits: 'logits',
    };
    expect(failure(method('occlusion', { patches: 16 }), clip).message).toContain('4096');
  });
});

test.each([
  ['an option of another method', { method: 'gradient', steps: 3 }, 'steps'],
  ['noise below zero', { method: 'smoothgrad', noise: -1 }, 'noise'],
  ['a layer that is no name', { method: 'grad-cam', layer: 3 as never }, 'layer'],
])('a method refuses %s', (_, composite, word) => {
  const error = failure(composite, plain);
  expect(error.code).toBe('COMPOSITE_INVALID');
  expect(error.message).toContain(word);
});
