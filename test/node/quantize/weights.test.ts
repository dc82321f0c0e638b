import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { quantizeBlock } from '../../../sdk/quantize/int4.js';
import { quantize } from '../../../sdk/quantize/quantize.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { dense } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import { merged } from '../../reference/forward.js';
import { kindOf, type Layer, type Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { mobile, residual } from '../../reference/networks.js';
import { evaluate, explain } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { byName, compositeOf, type Rules, tolerance } from '../lrp/agreement.js';

const open = wasmRuntime();

function inputOf(network: Network): Float32Array {
  const random = seeded(8);
  return Float32Array.from({ length: network.inputs[0]!.dims.reduce((a, b) => a * b, 1) }, () => random() * 2 - 1);
}

async function outputOf(model: Uint8Array, network: Network): Promise<Float32Array> {
  const opened = await open(model);
  try {
    return (await opened.run({ x: { dims: network.inputs[0]!.dims, data: inputOf(network) } })).logits!
      .data as Float32Array;
  } finally {
    await opened.close();
  }
}

/** Weights of one output of a layer → what integers make of them. */
type Rounding = (weights: Float64Array) => Float64Array;

/** The network with rounded weights, in the order in which each output sums over them. */
function rounded(network: Network, rounding: Rounding): Network {
  const layers = network.layers.map((layer): Layer => {
    if (layer.op !== 'Conv' && layer.op !== 'Gemm') return layer;
    const { weight, ...rest } = layer.op === 'Conv' ? { ...layer, ...merged(layer) } : layer;
    const isFirst = layer.op === 'Conv' || layer.transB === true;
    const outputs = weight.dims[isFirst ? 0 : 1]!;
    const summed = weight.data.length / outputs;
    const place = (output: number, k: number): number => (isFirst ? output * summed + k : k * outputs + output);
    const data = new Float64Array(weight.data.length);
    for (let output = 0; output < outputs; output++) {
      const own = Float64Array.from({ length: summed }, (_, k) => Math.fround(weight.data[place(output, k)]!));
      for (const [k, value] of rounding(own).entries()) data[place(output, k)] = value;
    }
    const { batchNorm: _, ...plain } = { batchNorm: undefined, ...rest };
    return { ...plain, weight: { dims: weight.dims, data } } as Layer;
  });
  return { ...network, layers };
}

const toInt8: Rounding = (weights) => {
  const scale = Math.fround(Math.max(...weights.map(Math.abs)) / 127);
  return weights.map((weight) => Math.round(weight / scale) * scale);
};

const toInt4: Rounding = (weights) => {
  const result = new Float64Array(weights.length);
  for (let start = 0; start < weights.length; start += 32) {
    const { integers, scale } = quantizeBlock(weights.subarray(start, start + 32));
    for (const [k, integer] of integers.entries()) result[start + k] = integer * scale;
  }
  return result;
};

const roundings = [
  ['int8-weights', residual, toInt8],
  ['int8-weights', mobile, toInt8],
  ['int4-weights', residual, toInt4],
  // its reduction has axes of the older form
  ['int4-weights', mobile, toInt4],
] as const;

describe('weights alone', () => {
  it.each(roundings)(
    '%s compute what the network with rounded weights computes in float64',
    async (scheme, network, rounding) => {
      const { model } = await quantize(onnxOf(network), [], { open, scheme });
      const input = { x: dense(inputOf(network), network.inputs[0]!.dims) };
      const expected = evaluate(rounded(network, rounding), input).get('logits')!;
      expect(deviation(await outputOf(model, network), expected.data)).toBeLessThan(1e-5);
    },
  );

  it.each(roundings)(
    '%s are explained as the network with rounded weights is in float64',
    async (scheme, network, rounding) => {
      const { model } = await quantize(onnxOf(network), [], { open, scheme });
      const random = seeded(9);
      const x = dense(inputOf(network), network.inputs[0]!.dims);
      const reference = rounded(network, rounding);
      const target = signed(random, evaluate(reference, { x }).get('logits')!.dims);
      const rules: Rules = Object.fromEntries(
        network.layers
          .filter(({ op }) => kindOf[op] === 'weighted')
          .map(({ name }) => [name, { rule: 'epsilon', epsilon: 0.05 }]),
      );
      const settings = { stabilizer: 0.02 };
      const expected = explain(reference, { x }, target, { ...settings, rule: byName(rules) });
      const compiled = compileExplanation(model, { composite: compositeOf(rules, settings) });
      const outputs = await runModel(compiled.model, { x, target });
      expect(deviation(outputs.logits!.data, expected.values.get('logits')!.data)).toBeLessThan(1e-5);
      expect(deviation(outputs['relevance/x']!.data, expected.relevance.get('x')!.data)).toBeLessThan(tolerance);
    },
  );

  it('are measured over frames, where there are some', async () => {
    const frames = [{ x: { dims: residual.inputs[0]!.dims, data: inputOf(residual) } }];
    const { report } = await quantize(onnxOf(residual), frames, { open, scheme: 'int8-weights' });
    expect(report.outputs[0]!.sqnr).toBeGreaterThan(30);
    expect(report.layers.every(({ scheme, sqnr }) => scheme === 'int8-weights' && sqnr! > 25)).toBe(true);
  });

  it('hold a bound, with what harms most in float32', async () => {
    const frames = [{ x: { dims: residual.inputs[0]!.dims, data: inputOf(residual) } }];
    const { report } = await quantize(onnxOf(residual), frames, { open, scheme: 'int4-weights', bound: 25 });
    expect(report.outputs[0]!.sqnr).toBeGreaterThanOrEqual(25);
    expect(report.layers.some(({ scheme }) => scheme === 'float32')).toBe(true);
  });

  it.each(['int8', 'int4-weights'] as const)('are what a transposed convolution gets with %s', async (scheme) => {
    const random = seeded(2);
    const builder = createBuilder();
    builder.input('x', 'float32', [1, 2, 4, 4]);
    const weights = Float32Array.from({ length: 2 * 3 * 4 }, () => random() - 0.5);
    const w = builder.initializer('kernel', floatTensor(weights, [2, 3, 2, 2]));
    builder.node(
      'ConvTranspose',
      ['x', w],
      { strides: ints([2, 2]), kernel_shape: ints([2, 2]) },
      { outputs: ['y'], name: 'up' },
    );
    builder.output('y', 'float32', [1, 3, 8, 8]);
    const frame = { x: { dims: [1, 2, 4, 4], data: Float32Array.from({ length: 32 }, () => random()) } };
    const { model, report } = await quantize(encodeModel(modelOf(builder.graph)), [frame], { open, scheme });
    expect(report.layers).toMatchObject([{ name: 'up', scheme: 'int8-weights', reason: expect.stringMatching(/\w/) }]);
    expect(report.outputs[0]!.sqnr).toBeGreaterThan(35);
    const types = [...decodeModel(model).graph.initializers.values()].map(({ type }) => type);
    expect(types).toContain('int8');
  });

  it('in blocks lose no more than rounding by the largest weight does', () => {
    const random = seeded(6);
    for (let round = 0; round < 50; round++) {
      const weights = Float64Array.from({ length: 32 }, () => (random() - 0.5) * (random() < 0.05 ? 10 : 1));
      const { integers, scale } = quantizeBlock(weights);
      const plain = Math.max(...weights.map(Math.abs)) / 7;
      const error = (step: number, of: (weight: number, k: number) => number) =>
        weights.reduce((sum, weight, k) => sum + (weight - of(weight, k) * step) ** 2, 0);
      expect(Math.max(...integers.map(Math.abs))).toBeLessThanOrEqual(7);
      expect(error(scale, (_, k) => integers[k]!)).toBeLessThanOrEqual(
        error(plain, (weight) => Math.round(weight / plain)) + 1e-6,
      );
    }
  });
});
