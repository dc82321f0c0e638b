import { describe, expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { constantTensors } from '../../../sdk/graph/constant-tensors.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompositeMethod } from '../../../sdk/lrp/composite.js';
import { operators } from '../../../sdk/lrp/operators/index.js';
import { contribute } from '../../reference/deeplift.js';
import { count, type Dense, dense, filled } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import type { Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { audio, inception, mobile, residual, smallNetworks } from '../../reference/networks.js';
import { operatorModels, operatorVariants } from '../../reference/operator-models.js';
import { evaluate } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import { openModel, runModel } from '../../reference/run.js';
import { compiledRun } from './agreement.js';
import { modelWith } from './one-node.js';

const rescale = (options: Partial<CompositeMethod> = {}): CompositeMethod => ({
  method: 'deeplift-rescale',
  ...options,
});

/** A baseline as the options say it, written out for every element. */
function writtenOut(baseline: number | readonly number[], dims: readonly number[]): Dense {
  const list = typeof baseline === 'number' ? [baseline] : baseline;
  const [channels, places] = [dims[1]!, count(dims.slice(2))];
  const at = (index: number): number => {
    if (list.length === 1) return list[0]!;
    return list.length === channels ? list[Math.floor(index / places) % channels]! : list[index % list.length]!;
  };
  return dense(
    Array.from({ length: count(dims) }, (_, index) => Math.fround(at(index))),
    dims,
  );
}

const anyOf = (dims: readonly number[], seed: number): Dense => signed(seeded(seed), dims);

/** Operators that take other elements of the input than of the reference. */
const choosing = ['TopK', 'Where', ...['Gather', 'GatherND', 'ScatterND'].map((name) => `${name} by computed indices`)];

describe('deeplift-rescale agrees with dense matrices in float64, and is complete', () => {
  test.each(Object.keys(smallNetworks))('%s', async (name) => {
    const network = smallNetworks[name]!;
    const { dims } = network.inputs[0]!;
    const x = anyOf(dims, 1);
    const sample = [...anyOf([count(dims.slice(1))], 2).data];
    const perChannel = Array.from({ length: dims[1]! }, (_, channel) => 0.25 * channel - 0.3);
    const number = Object.keys(smallNetworks).indexOf(name);
    for (const baseline of name === 'residual' ? [sample] : [[0, -0.5, perChannel][number % 3]!, sample]) {
      const reference = writtenOut(baseline, dims);
      const outputs = evaluate(network, { x }).get(network.logits)!;
      const before = evaluate(network, { x: reference }).get(network.logits)!;
      const target = anyOf(outputs.dims, 3);
      const expected = contribute(network, { x }, { x: reference }, target).contributions.get('x')!;
      const { 'relevance/x': relevance } = await compiledRun(network, { x }, target, {
        composite: rescale({ baseline }),
      });
      expect(deviation(relevance!.data, expected.data)).toBeLessThan(1e-4);
      const gain = target.data.reduce((total, w, k) => total + w * (outputs.data[k]! - before.data[k]!), 0);
      const scale = expected.data.reduce((total, value) => total + Math.abs(value), 0);
      expect(Math.abs(sum(relevance!.data) - gain)).toBeLessThan(1e-5 * scale);
      expect(sum(expected.data)).toBeCloseTo(gain, 9);
    }
  });

  test('a reference that is fed, gated and tapped, gives what a constant one gives', async () => {
    const { dims } = inception.inputs[0]!;
    const [x, reference] = [anyOf(dims, 4), anyOf([1, ...dims.slice(1)], 5)];
    const target = filled([dims[0]!, 4], 1);
    const fixed = compileExplanation(onnxOf(inception), {
      composite: rescale({ baseline: [...reference.data] }),
      taps: ['joined_relu'],
    });
    const fed = compileExplanation(onnxOf(inception), {
      composite: rescale({ baseline: 'input' }),
      taps: ['joined_relu'],
      gated: true,
    });
    const expected = await runModel(fixed.model, { x, target });
    const repeated = dense(
      Array.from({ length: count(dims) }, (_, k) => reference.data[k % reference.data.length]!),
      dims,
    );
    const explain = { dims: [], data: [true] };
    const outputs = await runModel(fed.model, { x, target, explain, 'baseline/x': repeated });
    for (const name of ['relevance/x', 'relevance/joined_relu']) {
      expect(deviation(outputs[name]!.data, expected[name]!.data)).toBeLessThan(1e-5);
    }
    // contributions are complete at every layer that all paths cross
    expect(sum(outputs['relevance/joined_relu']!.data)).toBeCloseTo(sum(outputs['relevance/x']!.data), 3);
    // the reference is folded at session start where it is constant, and costs a forward pass where it is fed
    expect(fed.report.backward - fixed.report.backward).toBeGreaterThan(0.9 * fixed.report.forward);
    const { graph } = decodeModel(fixed.model);
    const constants = constantTensors(graph);
    const convolutions = graph.nodes.filter(({ op }) => op === 'Conv');
    const perRun = convolutions.filter(({ outputs: [output] }) => !constants.has(output!));
    const forward = decodeModel(onnxOf(inception)).graph.nodes.filter(({ op }) => op === 'Conv').length;
    expect(convolutions.length - perRun.length).toBe(forward);
  });

  test.each(
    Object.entries({ ...operatorModels, ...operatorVariants }).filter(
      ([name]) => operators[name.split(/[ ,]/)[0]!]?.rescale !== undefined && !choosing.includes(name),
    ),
  )('%s alone: contributions add up to the difference of the outputs', async (name, one) => {
    const model = modelWith(one.inputs, one.dims, one.write, one.opset);
    const compiled = compileExplanation(model, { composite: rescale({ baseline: 'input' }) });
    // functions such as the logarithm want positive numbers; all the others get both signs
    const positive = ['Log', 'Sqrt', 'Reciprocal', 'Div'].includes(name);
    const drawn = (seed: number): Record<string, Dense> =>
      Object.fromEntries(
        Object.entries(one.inputs).map(([input, dims], k) => {
          const { data } = signed(seeded(seed + k), dims, 2);
          return [input, dense(positive ? data.map((v) => Math.abs(v) + 0.25) : data, dims)];
        }),
      );
    const [now, then] = [drawn(6), drawn(8)];
    const target = anyOf(one.dims, 10);
    const baselines = Object.fromEntries(Object.entries(then).map(([input, value]) => [`baseline/${input}`, value]));
    const outputs = await runModel(compiled.model, { ...now, ...baselines, target });
    const session = await openModel(model);
    const [y, before] = [(await session.run(now)).y!, (await session.run(then)).y!];
    await session.release();
    const gain = y.data.reduce((total, value, k) => total + target.data[k]! * (value - before.data[k]!), 0);
    const all = Object.keys(now).flatMap((input) => [...outputs[`relevance/${input}`]!.data]);
    const scale = all.reduce((total, value) => total + Math.abs(value), 0);
    // a step of quantization is passed over: what it rounds away is a tenth of its scale at most
    const tolerance = name.includes('Quantize') ? 0.02 : 2e-5;
    expect(Math.abs(sum(all) - gain)).toBeLessThan(tolerance * scale);
  });
});

describe('what the papers work out by hand', () => {
  const gemm = (name: string, from: string, rows: readonly (readonly number[])[], bias: readonly number[]) =>
    ({
      name,
      inputs: [from],
      op: 'Gemm',
      weight: dense(rows.flat(), [rows.length, rows[0]!.length]),
      bias: dense(bias, [bias.length]),
    }) as const;
  const relu = (name: string, from: string) => ({ name, inputs: [from], op: 'Relu' }) as const;
  const of = async (network: Network, x: readonly number[], composite: CompositeMethod): Promise<number[]> => {
    const outputs = await compiledRun(network, { x: dense(x, [1, x.length]) }, filled([1, 1], 1), { composite });
    return [...outputs['relevance/x']!.data];
  };
  const near = (actual: readonly number[], expected: readonly number[], digits = 5): void => {
    expect(actual).toHaveLength(expected.length);
    for (const [k, value] of expected.entries()) expect(actual[k]).toBeCloseTo(value, digits);
  };
  const network = (width: number, ...layers: Network['layers']): Network => ({
    inputs: [{ name: 'x', dims: [1, width] }],
    layers,
    logits: layers.at(-1)!.name,
  });

  test('a saturated sum, y = 1 − relu(1 − x₁ − x₂) (Shrikumar et al. 2017, figure 1)', async () => {
    const saturated = network(
      2,
      gemm('h', 'x', [[-1], [-1]], [1]),
      relu('active', 'h'),
      gemm('y', 'active', [[-1]], [1]),
    );
    // at (1, 1) the unit is off, so the gradient is 0; against (0, 0): Δh = −2, Δrelu = −1, slope ½, m = ½ each
    near(await of(saturated, [1, 1], rescale()), [0.5, 0.5]);
    near(await of(saturated, [1, 1], { method: 'gradient-x-input' }), [0, 0]);
    // against (0, 0), 1 − relu(1 − x) for x = 2 gains 1: all of it is the input's (Sundararajan et al. 2017, 2.1)
    near(await of(saturated, [2, 0], rescale()), [1, 0]);
    near(await of(saturated, [2, 0], { method: 'integrated-gradients', steps: 8 }), [1, 0]);
    near(await of(saturated, [2, 0], { method: 'gradient' }), [0, 0]);
  });

  test('a threshold, y = relu(x − 10), does not jump (Shrikumar et al. 2017, figure 2)', async () => {
    const threshold = network(1, gemm('h', 'x', [[1]], [-10]), relu('y', 'h'));
    // just above the threshold gradient × input gives x itself; the output has gained no more than x − 10
    near(await of(threshold, [10.5], { method: 'gradient-x-input' }), [10.5]);
    near(await of(threshold, [10.5], rescale()), [0.5]);
    near(await of(threshold, [9.5], rescale()), [0]);
  });

  test('min(x₁, x₂) as x₁ − relu(x₁ − x₂) goes to the smaller one alone (Shrikumar et al. 2017, figure 3)', async () => {
    const minimum = network(
      2,
      gemm(
        'h',
        'x',
        [
          [1, 1],
          [0, -1],
        ],
        [0, 0],
      ),
      // both units are positive for x₁ > x₂ > 0; for x₁ < x₂ the second is off
      relu('active', 'h'),
      gemm('y', 'active', [[1], [-1]], [0]),
    );
    // x = (3, 1): relu(2) = 2, slopes 1 and 1: m = (1 − 1, 1)
    near(await of(minimum, [3, 1], rescale()), [0, 1]);
    near(await of(minimum, [1, 3], rescale()), [1, 0]);
  });

  test('two networks that are one function (Sundararajan et al. 2017, appendix B)', async () => {
    // relu(relu(x₁) − 1 − relu(x₂)) and relu(relu(x₁ − 1) − relu(x₂)) are equal for x₁, x₂ ≥ 0
    const identity = [
      [1, 0],
      [0, 1],
    ];
    const f = network(
      2,
      gemm('in', 'x', identity, [0, 0]),
      relu('z', 'in'),
      gemm('out', 'z', [[1], [-1]], [-1]),
      relu('y', 'out'),
    );
    const g = network(
      2,
      gemm('in', 'x', identity, [-1, 0]),
      relu('z', 'in'),
      gemm('out', 'z', [[1], [-1]], [0]),
      relu('y', 'out'),
    );
    const path = { method: 'integrated-gradients', steps: 8 };
    // along α·(3, 1) both are active for α > ½, with gradient (1, −1): half of (3, −1)
    near(await of(f, [3, 1], path), [1.5, -0.5]);
    near(await of(g, [3, 1], path), [1.5, -0.5]);
    // f: out goes from −1 to 1, y from 0 to 1: slope ½ of (3, −1)
    near(await of(f, [3, 1], rescale()), [1.5, -0.5]);
    // g: z₁ goes from 0 to 2 over Δx₁ = 3, y as out: 2/3 · 3 and −1
    near(await of(g, [3, 1], rescale()), [2, -1]);
  });
});

describe('where the methods are one', () => {
  /** Without biases, so that a reference of zeros gives zeros everywhere. */
  const unbiased = (network: Network): Network => ({
    ...network,
    layers: network.layers.map((layer) => {
      if (!('weight' in layer)) return layer;
      const { bias: _, batchNorm: __, ...rest } = layer as typeof layer & { batchNorm?: unknown };
      return rest as typeof layer;
    }),
  });
  test.each([
    ['residual', residual],
    ['audio', audio],
    ['mobile', mobile],
  ] as const)(
    'without biases, against zeros, it is gradient × input and the z-rule (Ancona et al. 2018): %s',
    async (name, network) => {
      const free = unbiased(network);
      const x = anyOf(free.inputs[0]!.dims, 12);
      const logits = evaluate(free, { x }).get(free.logits)!;
      const target = filled(logits.dims, 1);
      const relevance = async (composite: Parameters<typeof compileExplanation>[1] & object) =>
        (await compiledRun(free, { x }, target, composite))['relevance/x']!.data;
      const ours = await relevance({ composite: rescale() });
      const z = { stabilizer: 1e-9, rules: [{ match: {}, rule: 'z' }] } as const;
      expect(deviation(ours, await relevance({ composite: z }))).toBeLessThan(1e-4);
      // a bend away from zero (relu6) has a slope of its own, and no equality of the gradient
      if (name !== 'mobile') {
        expect(deviation(ours, await relevance({ composite: 'gradient-x-input' }))).toBeLessThan(1e-4);
        // along the way from zeros nothing bends, so one gradient is as good as all
        const path = { method: 'integrated-gradients', steps: 3 };
        expect(deviation(ours, await relevance({ composite: path }))).toBeLessThan(1e-4);
      }
    },
  );
});

describe('what it cannot explain, it says', () => {
  const failure = (act: () => unknown): WhylightError => {
    try {
      act();
    } catch (error) {
      if (error instanceof WhylightError) return error;
      throw error;
    }
    throw new Error('it compiled');
  };
  test.each(['LSTM', 'GRU', 'RNN', ...choosing])('%s', (name) => {
    const one = { ...operatorModels, ...operatorVariants }[name]!;
    const model = modelWith(one.inputs, one.dims, one.write, one.opset);
    const error = failure(() => compileExplanation(model, { composite: rescale() }));
    expect(error.code).toBe('UNSUPPORTED_OPERATOR');
    expect(error.message).toContain('DeepLIFT');
    expect(error.message).toContain(name.split(' ')[0]);
  });
  test.each([
    ['a reference of another size', { baseline: [1, 2] }, 'baseline'],
    ['a reference that is a word', { baseline: 'black' as never }, 'baseline'],
    ['an end of the decomposition', { flatBelow: 1 }, 'flatBelow'],
  ])('%s', (_, options, field) => {
    const error = failure(() => compileExplanation(onnxOf(residual), { composite: rescale(options) }));
    expect(error.code).toBe('COMPOSITE_INVALID');
    expect(error.message).toContain(field);
  });
  test('its rule without its reference', () => {
    const error = failure(() =>
      compileExplanation(onnxOf(residual), { composite: { rules: [{ match: {}, rule: 'rescale' }] } }),
    );
    expect(error.message).toContain('deeplift-rescale');
  });
});
