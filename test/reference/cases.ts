import { type Dense, dense } from './dense.js';
import type { BatchNorm, Layer, Network, WeightedOperation } from './layers.js';
import { seeded, signed } from './random.js';

/** One layer with weights and the shape of its input. */
export interface WeightedCase {
  readonly title: string;
  readonly dims: readonly number[];
  readonly operation: WeightedOperation;
}

const random = seeded(20190503);
const weights = (...dims: number[]): Dense => signed(random, dims);

/** Constants of a batch normalization of `channels` channels; scales of both signs. */
export function batchNormOf(next: () => number, channels: number): BatchNorm {
  return {
    scale: signed(next, [channels]),
    shift: signed(next, [channels], 0.5),
    mean: signed(next, [channels], 0.5),
    variance: dense(
      Array.from({ length: channels }, () => Math.fround(0.3 + next())),
      [channels],
    ),
    epsilon: 1e-5,
  };
}

/** Every layer with weights that the compiler has rules for, in the geometries that have been got wrong before. */
export const weightedCases: readonly WeightedCase[] = [
  {
    title: 'Conv 2D, same padding, batch of two',
    dims: [2, 3, 5, 4],
    operation: { op: 'Conv', weight: weights(4, 3, 3, 3), bias: weights(4), pads: [1, 1, 1, 1] },
  },
  {
    title: 'Conv 2D, no padding, no bias',
    dims: [1, 2, 5, 5],
    operation: { op: 'Conv', weight: weights(3, 2, 2, 3) },
  },
  {
    title: 'Conv 2D, strides 2 and 1, asymmetric pads',
    dims: [1, 2, 6, 5],
    operation: { op: 'Conv', weight: weights(3, 2, 3, 2), bias: weights(3), strides: [2, 1], pads: [1, 0, 2, 1] },
  },
  {
    title: 'Conv 2D, strides that leave inputs unread at the end',
    dims: [1, 2, 6, 6],
    operation: { op: 'Conv', weight: weights(3, 2, 2, 2), bias: weights(3), strides: [3, 3] },
  },
  {
    title: 'Conv 2D, strides larger than the kernel',
    dims: [1, 2, 7, 7],
    operation: { op: 'Conv', weight: weights(2, 2, 1, 1), bias: weights(2), strides: [2, 2] },
  },
  {
    title: 'Conv 2D, dilations',
    dims: [1, 2, 7, 6],
    operation: { op: 'Conv', weight: weights(2, 2, 3, 2), bias: weights(2), dilations: [2, 3], pads: [2, 1, 0, 2] },
  },
  {
    title: 'Conv 2D, dilations and strides',
    dims: [1, 1, 8, 8],
    operation: {
      op: 'Conv',
      weight: weights(2, 1, 3, 3),
      bias: weights(2),
      dilations: [2, 2],
      strides: [2, 2],
      pads: [2, 2, 2, 2],
    },
  },
  {
    title: 'Conv 2D, two groups',
    dims: [1, 4, 4, 4],
    operation: { op: 'Conv', weight: weights(6, 2, 3, 3), bias: weights(6), group: 2, pads: [1, 1, 1, 1] },
  },
  {
    title: 'Conv 2D, depthwise with multiplier 2 and stride 2',
    dims: [1, 3, 5, 5],
    operation: {
      op: 'Conv',
      weight: weights(6, 1, 3, 3),
      bias: weights(6),
      group: 3,
      pads: [1, 1, 1, 1],
      strides: [2, 2],
    },
  },
  {
    title: 'Conv 2D with a BatchNormalization after it',
    dims: [1, 2, 4, 4],
    operation: {
      op: 'Conv',
      weight: weights(3, 2, 3, 3),
      bias: weights(3),
      pads: [1, 1, 1, 1],
      batchNorm: batchNormOf(random, 3),
    },
  },
  {
    title: 'Conv 1D, stride 2, asymmetric pads',
    dims: [2, 2, 11],
    operation: { op: 'Conv', weight: weights(3, 2, 5), bias: weights(3), strides: [2], pads: [2, 1] },
  },
  {
    title: 'Conv 1D, dilated, depthwise',
    dims: [1, 3, 10],
    operation: { op: 'Conv', weight: weights(3, 1, 3), bias: weights(3), dilations: [3], pads: [3, 3], group: 3 },
  },
  {
    title: 'Conv 3D',
    dims: [1, 2, 3, 4, 3],
    operation: {
      op: 'Conv',
      weight: weights(2, 2, 2, 3, 2),
      bias: weights(2),
      strides: [1, 2, 1],
      pads: [1, 1, 0, 0, 1, 1],
    },
  },
  {
    title: 'ConvTranspose 2D, stride 2, output padding',
    dims: [1, 2, 3, 3],
    operation: {
      op: 'ConvTranspose',
      weight: weights(2, 3, 3, 3),
      bias: weights(3),
      strides: [2, 2],
      pads: [1, 1, 1, 1],
      outputPadding: [1, 0],
    },
  },
  {
    title: 'ConvTranspose 2D, stride 1, two groups, asymmetric pads',
    dims: [1, 4, 4, 3],
    operation: { op: 'ConvTranspose', weight: weights(4, 1, 2, 3), bias: weights(2), group: 2, pads: [0, 1, 1, 0] },
  },
  {
    title: 'ConvTranspose 2D, dilations',
    dims: [1, 2, 3, 4],
    operation: {
      op: 'ConvTranspose',
      weight: weights(2, 2, 2, 2),
      bias: weights(2),
      dilations: [2, 3],
      strides: [1, 2],
    },
  },
  {
    title: 'ConvTranspose 1D, stride 3 larger than the kernel',
    dims: [1, 3, 5],
    operation: { op: 'ConvTranspose', weight: weights(3, 2, 2), bias: weights(2), strides: [3] },
  },
  {
    title: 'Gemm, transposed weights',
    dims: [2, 9],
    operation: { op: 'Gemm', weight: weights(6, 9), bias: weights(6), transB: true },
  },
  {
    title: 'Gemm, alpha and beta',
    dims: [2, 7],
    operation: { op: 'Gemm', weight: weights(7, 5), bias: weights(5), alpha: 0.5, beta: -2 },
  },
  { title: 'MatMul, no bias', dims: [2, 8], operation: { op: 'MatMul', weight: weights(8, 5) } },
  {
    title: 'MatMul over a sequence, with an Add as its bias',
    dims: [2, 3, 6],
    operation: { op: 'MatMul', weight: weights(6, 4), bias: weights(4) },
  },
  {
    title: 'MatMul with the weights on the left',
    dims: [2, 5, 3],
    operation: { op: 'MatMul', weight: weights(4, 5), side: 'left' },
  },
];

/** The layer alone: x → [ReLU →] layer → flatten. With `rectified` the layer's inputs are proven to be ≥ 0. */
export function layerAlone({ dims, operation }: WeightedCase, rectified: boolean): Network {
  const layers: Layer[] = [
    ...(rectified ? [{ name: 'rectified', inputs: ['x'], op: 'Relu' } as const] : []),
    { name: 'layer', inputs: [rectified ? 'rectified' : 'x'], ...operation },
    { name: 'logits', inputs: ['layer'], op: 'Flatten', axis: 1 },
  ];
  return { inputs: [{ name: 'x', dims }], layers, logits: 'logits' };
}
