import { batchNormOf } from './cases.js';
import { type Dense, dense } from './dense.js';
import type { BatchNorm, Layer, Network } from './layers.js';
import { seeded, signed } from './random.js';

const random = seeded(314159);
const weights = (...dims: number[]): Dense => signed(random, dims);

/** A normalization with positive scales, as trained ones mostly are. */
function norm(channels: number): BatchNorm {
  const { scale, ...others } = batchNormOf(random, channels);
  return {
    ...others,
    scale: dense(
      scale.data.map((s) => Math.fround(Math.abs(s) + 0.25)),
      scale.dims,
    ),
  };
}

const relu = (name: string, from: string): Layer => ({ name, inputs: [from], op: 'Relu' });
const conv3 = (name: string, from: string, filters: number, channels: number, batchNorm?: BatchNorm): Layer => ({
  name,
  inputs: [from],
  op: 'Conv',
  weight: weights(filters, channels, 3, 3),
  ...(batchNorm ? { batchNorm } : { bias: weights(filters) }),
  pads: [1, 1, 1, 1],
});
const conv1 = (name: string, from: string, filters: number, channels: number, batchNorm?: BatchNorm): Layer => ({
  name,
  inputs: [from],
  op: 'Conv',
  weight: weights(filters, channels, 1, 1),
  ...(batchNorm ? { batchNorm } : { bias: weights(filters) }),
});
const classifier = (from: string, features: number, classes: number): Layer[] => [
  { name: 'flat', inputs: [from], op: 'Flatten', axis: 1 },
  {
    name: 'logits',
    inputs: ['flat'],
    op: 'Gemm',
    weight: weights(classes, features),
    bias: weights(classes),
    transB: true,
  },
];
const image = (size: number): Network['inputs'] => [{ name: 'x', dims: [1, 3, size, size] }];

/** Two residual blocks, one with an identity and one with a strided projection beside it. */
export const residual: Network = {
  inputs: image(8),
  layers: [
    conv3('stem', 'x', 4, 3, norm(4)),
    relu('stem_relu', 'stem'),
    conv3('block1a', 'stem_relu', 4, 4, norm(4)),
    relu('block1a_relu', 'block1a'),
    conv3('block1b', 'block1a_relu', 4, 4, norm(4)),
    { name: 'add1', inputs: ['block1b', 'stem_relu'], op: 'Add' },
    relu('add1_relu', 'add1'),
    { ...conv3('block2a', 'add1_relu', 6, 4), strides: [2, 2] } as Layer,
    relu('block2a_relu', 'block2a'),
    conv3('block2b', 'block2a_relu', 6, 6),
    { ...conv1('projection', 'add1_relu', 6, 4), strides: [2, 2] } as Layer,
    { name: 'add2', inputs: ['block2b', 'projection'], op: 'Add' },
    relu('add2_relu', 'add2'),
    { name: 'pooled', inputs: ['add2_relu'], op: 'GlobalAveragePool' },
    ...classifier('pooled', 6, 4),
  ],
  logits: 'logits',
};

/** Branches of different kernels and one of pooling, concatenated. */
export const inception: Network = {
  inputs: image(7),
  layers: [
    conv3('stem', 'x', 4, 3),
    relu('stem_relu', 'stem'),
    conv1('one', 'stem_relu', 2, 4),
    conv1('reduce', 'stem_relu', 2, 4),
    relu('reduce_relu', 'reduce'),
    conv3('three', 'reduce_relu', 3, 2),
    {
      name: 'five',
      inputs: ['stem_relu'],
      op: 'Conv',
      weight: weights(2, 4, 5, 5),
      bias: weights(2),
      pads: [2, 2, 2, 2],
    },
    { name: 'pool', inputs: ['stem_relu'], op: 'MaxPool', kernel: [3, 3], pads: [1, 1, 1, 1] },
    conv1('pooled_one', 'pool', 2, 4),
    { name: 'joined', inputs: ['one', 'three', 'five', 'pooled_one'], op: 'Concat', axis: 1 },
    relu('joined_relu', 'joined'),
    { name: 'averaged', inputs: ['joined_relu'], op: 'AveragePool', kernel: [3, 3], strides: [2, 2] },
    ...classifier('averaged', 9 * 9, 4),
  ],
  logits: 'logits',
};

/** Every layer sees all the ones before it; normalizations stand before the ReLUs, so they cannot be merged. */
export const denselyConnected: Network = {
  inputs: image(6),
  layers: [
    conv3('stem', 'x', 4, 3),
    { name: 'pool', inputs: ['stem'], op: 'MaxPool', kernel: [2, 2], strides: [2, 2] },
    { name: 'norm1', inputs: ['pool'], op: 'BatchNormalization', batchNorm: norm(4) },
    relu('relu1', 'norm1'),
    conv3('grow1', 'relu1', 3, 4),
    { name: 'joined1', inputs: ['pool', 'grow1'], op: 'Concat', axis: 1 },
    { name: 'norm2', inputs: ['joined1'], op: 'BatchNormalization', batchNorm: norm(7) },
    relu('relu2', 'norm2'),
    conv3('grow2', 'relu2', 3, 7),
    { name: 'joined2', inputs: ['joined1', 'grow2'], op: 'Concat', axis: 1 },
    { name: 'norm3', inputs: ['joined2'], op: 'BatchNormalization', batchNorm: norm(10) },
    relu('relu3', 'norm3'),
    { name: 'pooled', inputs: ['relu3'], op: 'GlobalAveragePool' },
    ...classifier('pooled', 10, 4),
  ],
  logits: 'logits',
};

/** Inverted residuals with depthwise convolutions and ReLU6. */
export const mobile: Network = {
  inputs: image(8),
  layers: [
    { ...conv3('stem', 'x', 4, 3, norm(4)), strides: [2, 2] } as Layer,
    { name: 'stem_relu6', inputs: ['stem'], op: 'Clip', low: 0, high: 6 },
    conv1('expand', 'stem_relu6', 8, 4, norm(8)),
    { name: 'expand_relu6', inputs: ['expand'], op: 'Clip', low: 0, high: 6 },
    {
      name: 'depthwise',
      inputs: ['expand_relu6'],
      op: 'Conv',
      weight: weights(8, 1, 3, 3),
      group: 8,
      pads: [1, 1, 1, 1],
      batchNorm: norm(8),
    },
    { name: 'depthwise_relu6', inputs: ['depthwise'], op: 'Clip', low: 0, high: 6 },
    conv1('project', 'depthwise_relu6', 4, 8, norm(4)),
    { name: 'add', inputs: ['stem_relu6', 'project'], op: 'Add' },
    { name: 'pooled', inputs: ['add'], op: 'ReduceMean', axes: [2, 3], keepdims: false },
    { name: 'logits', inputs: ['pooled'], op: 'Gemm', weight: weights(4, 3), bias: weights(3) },
  ],
  logits: 'logits',
};

/** A waveform through strided and dilated convolutions; MatMul with an Add as its last layer. */
export const audio: Network = {
  inputs: [{ name: 'x', dims: [2, 1, 64] }],
  layers: [
    {
      name: 'frames',
      inputs: ['x'],
      op: 'Conv',
      weight: weights(6, 1, 8),
      bias: weights(6),
      strides: [4],
      pads: [2, 2],
    },
    relu('frames_relu', 'frames'),
    { name: 'pool', inputs: ['frames_relu'], op: 'MaxPool', kernel: [3], strides: [2], pads: [1, 0] },
    {
      name: 'context',
      inputs: ['pool'],
      op: 'Conv',
      weight: weights(5, 6, 3),
      bias: weights(5),
      dilations: [2],
      pads: [2, 2],
    },
    { name: 'context_leaky', inputs: ['context'], op: 'LeakyRelu', alpha: 0.125 },
    { name: 'mean', inputs: ['context_leaky'], op: 'ReduceMean', axes: [2], keepdims: false },
    { name: 'hidden', inputs: ['mean'], op: 'MatMul', weight: weights(5, 6), bias: weights(6) },
    relu('hidden_relu', 'hidden'),
    { name: 'logits', inputs: ['hidden_relu'], op: 'MatMul', weight: weights(6, 4), bias: weights(4) },
  ],
  logits: 'logits',
};

/** All of them by name. */
export const smallNetworks: Readonly<Record<string, Network>> = {
  residual,
  inception,
  'densely connected': denselyConnected,
  mobile,
  audio,
};

/**
 * The same network with biases that are never positive and weights that mostly are. No unit is then active by its bias alone,
 * so every output with relevance has positive contributions to hand it to, and the conserving rules conserve.
 */
export function withoutPositiveBias(network: Network): Network {
  const map = (x: Dense, change: (v: number) => number): Dense =>
    dense(
      x.data.map((v) => Math.fround(change(v))),
      x.dims,
    );
  const below = (x: Dense): Dense => map(x, (v) => -Math.abs(v) / 4);
  return {
    ...network,
    layers: network.layers.map((layer): Layer => {
      if (!('weight' in layer)) return layer;
      const weight = map(layer.weight, (w) => w + 0.25);
      const bias = layer.bias === undefined ? {} : { bias: below(layer.bias) };
      if (layer.op !== 'Conv' || layer.batchNorm === undefined) return { ...layer, weight, ...bias };
      const { shift, mean } = layer.batchNorm;
      const batchNorm = { ...layer.batchNorm, shift: below(shift), mean: map(mean, Math.abs) };
      return { ...layer, weight, ...bias, batchNorm };
    }),
  };
}
