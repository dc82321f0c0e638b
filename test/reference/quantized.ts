import { type Dense, dense } from './dense.js';
import type { Layer, Network } from './layers.js';
import { seeded } from './random.js';

/**
 * A small residual network as static quantization leaves it: int8 weights per channel, uint8 activations, zero point 0 after a ReLU. The
 * constants are exactly what their integers stand for in float32, so that the oracle and the runtime see the same network. `reach` is the
 * share of its range that a convolution's activation is given, of each anew: what lies beyond saturates, and is missing after it.
 */
export function quantizedNetwork(seed: number, reach = 1): Network {
  const random = seeded(seed);
  const layers: Layer[] = [];
  const scales = new Map<string, number>();
  /** Weights and bias in integers, with the network's own steps. */
  const constants = (from: string, dims: readonly number[]) => {
    const outputs = dims[0]!;
    const inner = dims.slice(1).reduce((product, dim) => product * dim, 1);
    const steps = Float64Array.from({ length: outputs }, () =>
      Math.fround(((0.6 + 0.4 * random()) * Math.sqrt(3 / inner)) / 127),
    );
    const input = scales.get(from)!;
    const weights = Float64Array.from({ length: outputs * inner }, (_, at) =>
      Math.fround((Math.floor(random() * 255) - 127) * steps[Math.floor(at / inner)]!),
    );
    const bias = steps.map((step) => Math.fround(Math.floor((random() - 0.3) * 2000) * Math.fround(step * input)));
    return {
      weight: dense(weights, dims),
      bias: dense(bias, [outputs]),
      stored: { weight: dense(steps, [outputs]) satisfies Dense, input },
    };
  };
  const quantize = (name: string, from: string, scale: number, zero = 0): string => {
    const rounded = Math.fround(scale);
    scales.set(name, rounded);
    layers.push({ name, inputs: [from], op: 'Quantize', scale: rounded, zero });
    return name;
  };
  const conv = (name: string, from: string, dims: readonly number[], windows: { strides?: number[] } = {}): string => {
    const pads = [1, 1, 1, 1];
    layers.push({ name, inputs: [from], op: 'Conv', ...constants(from, dims), pads, strides: [1, 1], ...windows });
    return name;
  };
  const relu = (name: string, from: string): string => {
    layers.push({ name, inputs: [from], op: 'Relu' });
    return name;
  };
  const input = quantize('q0', 'x', 2 / 255, 128);
  const first = quantize('q1', relu('relu1', conv('conv1', input, [8, 3, 3, 3])), (reach * 2.13) / 255);
  layers.push({ name: 'pool', inputs: [first], op: 'MaxPool', kernel: [2, 2], strides: [2, 2] });
  const pooled = quantize('q2', 'pool', scales.get(first)!);
  const inner = quantize('q3', relu('relu2', conv('conv2', pooled, [8, 8, 3, 3])), (reach ** 2 * 1.87) / 255);
  const outer = quantize('q4', conv('conv3', inner, [8, 8, 3, 3]), (reach ** 3 * 3.07) / 255, 117);
  layers.push({ name: 'sum', inputs: [pooled, outer], op: 'Add' });
  const merged = quantize('q5', relu('relu3', 'sum'), 2.71 / 255);
  layers.push({ name: 'mean', inputs: [merged], op: 'GlobalAveragePool' });
  const mean = quantize('q6', 'mean', 1.19 / 255);
  layers.push({ name: 'flat', inputs: [mean], op: 'Flatten', axis: 1 });
  scales.set('flat', scales.get(mean)!);
  layers.push({ name: 'dense', inputs: ['flat'], op: 'Gemm', transB: true, ...constants('flat', [6, 8]) });
  const hidden = quantize('q7', relu('relu4', 'dense'), 1.31 / 255);
  layers.push({ name: 'logits', inputs: [hidden], op: 'Gemm', transB: true, ...constants(hidden, [4, 6]) });
  return { inputs: [{ name: 'x', dims: [1, 3, 8, 8] }], layers, logits: 'logits' };
}
