import { batchNormOf } from './cases.js';
import { dense } from './dense.js';
import type { ActivationOperation, Layer, MoveOperation, Network, Operation, PoolOperation } from './layers.js';
import { seeded, signed } from './random.js';

/** A small network around one operator; its explained output is that operator's, flattened. */
export interface OperatorCase {
  readonly title: string;
  readonly network: Network;
  readonly opset?: number;
}

const random = seeded(2019);

/** inputs a, b, … → operator → flatten; a second input where the operator merges. */
function around(title: string, operation: Operation, ...dims: (readonly number[])[]): OperatorCase {
  const inputs = dims.map((shape, index) => ({ name: 'ab'[index]!, dims: shape }));
  return {
    title,
    network: {
      inputs,
      layers: [
        { name: 'operator', inputs: inputs.map(({ name }) => name), ...operation },
        { name: 'logits', inputs: ['operator'], op: 'Flatten', axis: 1 },
      ],
      logits: 'logits',
    },
  };
}

/** The same with layers written out; the last one's output is flattened. */
function chain(title: string, dims: readonly (readonly number[])[], layers: readonly Layer[]): OperatorCase {
  return {
    title,
    network: {
      inputs: dims.map((shape, index) => ({ name: 'ab'[index]!, dims: shape })),
      layers: [...layers, { name: 'logits', inputs: [layers.at(-1)!.name], op: 'Flatten', axis: 1 }],
      logits: 'logits',
    },
  };
}

const activations: readonly ActivationOperation[] = [
  { op: 'Relu' },
  { op: 'LeakyRelu', alpha: 0.125 },
  { op: 'PRelu', alpha: 0.25 },
  { op: 'Sigmoid' },
  { op: 'Tanh' },
  { op: 'Clip', low: -0.5, high: 0.5 },
  { op: 'Clip', low: 0, high: 0.75 },
  { op: 'Elu', alpha: 0.5 },
  { op: 'Selu' },
  { op: 'Softplus' },
  { op: 'Softsign' },
  { op: 'HardSigmoid', alpha: 0.75, beta: 0.5 },
  { op: 'HardSwish' },
  { op: 'SiLU' },
  { op: 'Gelu' },
];

/** Followed by a factor, so that a Sigmoid is not taken for the model's terminal one. */
export const activationCases: readonly OperatorCase[] = activations.map((operation) =>
  chain(
    operation.op === 'Clip' ? `Clip to [${operation.low}, ${operation.high}]` : operation.op,
    [[2, 3, 4]],
    [
      { name: 'operator', inputs: ['a'], ...operation },
      { name: 'scaled', inputs: ['operator'], op: 'Mul', constant: dense([-1.5], []) },
    ],
  ),
);

const pooled = (op: 'MaxPool' | 'AveragePool', title: string, rest: object, dims: readonly number[]): OperatorCase =>
  around(`${op} ${title}`, { op, ...rest } as PoolOperation, dims);

const windowCases: readonly (readonly [title: string, rest: object, dims: readonly number[]])[] = [
  ['2×2, stride 2', { kernel: [2, 2], strides: [2, 2] }, [2, 2, 4, 6]],
  ['2×2, stride 2, rows left over', { kernel: [2, 2], strides: [2, 2] }, [1, 2, 5, 7]],
  ['3×3, stride 2, overlapping, padded', { kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }, [1, 2, 7, 6]],
  ['3×3, stride 1, same', { kernel: [3, 3], pads: [1, 1, 1, 1] }, [1, 2, 4, 5]],
  ['3×2, asymmetric pads', { kernel: [3, 2], strides: [2, 1], pads: [0, 1, 2, 0] }, [1, 2, 6, 5]],
  ['2×2, stride 3, gaps', { kernel: [2, 2], strides: [3, 3] }, [1, 1, 8, 8]],
  ['3×3, stride 2, ceil', { kernel: [3, 3], strides: [2, 2], ceil: true }, [1, 2, 6, 8]],
  ['1D, 4, stride 2, padded', { kernel: [4], strides: [2], pads: [1, 2] }, [2, 3, 9]],
  ['3D', { kernel: [2, 2, 2], strides: [1, 2, 2], pads: [1, 0, 0, 0, 0, 0] }, [1, 1, 3, 4, 4]],
];

export const maximumCases: readonly OperatorCase[] = [
  ...windowCases.map(([title, rest, dims]) => pooled('MaxPool', title, rest, dims)),
  pooled('MaxPool', '2×2, dilated', { kernel: [2, 2], dilations: [2, 3], pads: [1, 0, 0, 1] }, [1, 2, 6, 6]),
  chain(
    'MaxPool after a ReLU, many zeros',
    [[1, 2, 6, 6]],
    [
      { name: 'rectified', inputs: ['a'], op: 'Relu' },
      { name: 'pool', inputs: ['rectified'], op: 'MaxPool', kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
    ],
  ),
  around('GlobalMaxPool', { op: 'GlobalMaxPool' }, [2, 3, 3, 4]),
  around('ReduceMax over space', { op: 'ReduceMax', axes: [2, 3], keepdims: false }, [2, 3, 3, 4]),
  around('ReduceMax over channels', { op: 'ReduceMax', axes: [1], keepdims: true }, [2, 3, 3, 4]),
];

export const normCases: readonly OperatorCase[] = [
  ...windowCases.flatMap(([title, rest, dims]) => [
    pooled('AveragePool', title, rest, dims),
    // with ceil_mode the two conventions are known to differ between versions of ONNX Runtime
    ...('ceil' in rest
      ? []
      : [pooled('AveragePool', `${title}, padding counts`, { ...rest, countIncludePad: true }, dims)]),
  ]),
  around('GlobalAveragePool', { op: 'GlobalAveragePool' }, [2, 3, 3, 4]),
  around('GlobalAveragePool 1D', { op: 'GlobalAveragePool' }, [2, 3, 7]),
  around('ReduceMean over space', { op: 'ReduceMean', axes: [2, 3], keepdims: false }, [2, 3, 3, 4]),
  {
    ...around('ReduceMean over channels, opset 18', { op: 'ReduceMean', axes: [1], keepdims: true }, [2, 3, 3, 4]),
    opset: 18,
  },
  around('ReduceSum over time', { op: 'ReduceSum', axes: [2], keepdims: false }, [2, 3, 5]),
  around('Add', { op: 'Add' }, [2, 3, 4], [2, 3, 4]),
  around('Add, one value per channel', { op: 'Add' }, [2, 3, 2, 2], [2, 3, 1, 1]),
  around('Add, the smaller one first', { op: 'Add' }, [1, 3, 1], [1, 3, 4]),
  around('Add, both broadcast', { op: 'Add' }, [1, 3, 1, 2], [1, 1, 4, 2]),
  around('Sub', { op: 'Sub' }, [2, 3, 4], [2, 3, 4]),
  around('Sub, one value per channel', { op: 'Sub' }, [1, 3, 2, 2], [1, 3, 1, 1]),
  chain('Add of a tensor to itself', [[2, 5]], [{ name: 'sum', inputs: ['a', 'a'], op: 'Add' }]),
  chain(
    'Add around a branch',
    [[2, 5]],
    [
      { name: 'scaled', inputs: ['a'], op: 'Mul', constant: signedNonZero([5]) },
      { name: 'sum', inputs: ['a', 'scaled'], op: 'Add' },
    ],
  ),
];

/** Constants without zeros, as a divisor or a scale needs them. */
function signedNonZero(dims: readonly number[]): ReturnType<typeof dense> {
  return dense(
    signed(random, dims).data.map((v) => Math.fround(v < 0 ? v - 0.25 : v + 0.25)),
    dims,
  );
}

export const affineCases: readonly OperatorCase[] = [
  around('BatchNormalization alone', { op: 'BatchNormalization', batchNorm: batchNormOf(random, 3) }, [2, 3, 2, 2]),
  around('BatchNormalization alone, 1D', { op: 'BatchNormalization', batchNorm: batchNormOf(random, 4) }, [1, 4, 5]),
  around('Mul by a scalar', { op: 'Mul', constant: dense([-1.5], []) }, [2, 3, 4]),
  around('Mul per channel', { op: 'Mul', constant: signedNonZero([1, 3, 1]) }, [2, 3, 4]),
  around('Div per channel', { op: 'Div', constant: signedNonZero([3, 1]) }, [2, 3, 4]),
];

const move = (title: string, operation: MoveOperation, ...dims: number[]): OperatorCase =>
  around(title, operation, dims);

export const moveCases: readonly OperatorCase[] = [
  move('Flatten', { op: 'Flatten', axis: 1 }, 2, 3, 2, 2),
  move('Reshape', { op: 'Reshape', shape: [2, 4, 3] }, 2, 3, 2, 2),
  move('Squeeze', { op: 'Squeeze', axes: [2] }, 2, 3, 1, 2),
  move('Unsqueeze', { op: 'Unsqueeze', axes: [1, 3] }, 2, 3, 4),
  move('Transpose', { op: 'Transpose', perm: [0, 2, 3, 1] }, 2, 3, 2, 4),
  move('Pad with a value', { op: 'Pad', pads: [0, 0, 1, 0, 0, 1, 2, 0], mode: 'constant', value: 0.5 }, 1, 2, 3, 2),
  move('Pad, negative', { op: 'Pad', pads: [0, 0, -1, 1, 0, 0, 0, -1], mode: 'constant', value: 0 }, 1, 2, 4, 4),
  move('Pad, reflected', { op: 'Pad', pads: [0, 0, 2, 1, 0, 0, 1, 2], mode: 'reflect' }, 1, 2, 4, 4),
  move('Pad, edge', { op: 'Pad', pads: [0, 2, 0, 1], mode: 'edge' }, 1, 4),
  move('Slice', { op: 'Slice', starts: [1, 0], ends: [3, -1], axes: [1, 2], steps: [1, 1] }, 2, 4, 5),
  move('Slice with a step', { op: 'Slice', starts: [0], ends: [100], axes: [2], steps: [2] }, 1, 2, 7),
  move('Slice backwards', { op: 'Slice', starts: [-1], ends: [-1000], axes: [2], steps: [-1] }, 1, 2, 5),
  move('Gather with repeats', { op: 'Gather', axis: 1, indices: [2, 0, 2, 1] }, 2, 3, 4),
  around('Concat of channels', { op: 'Concat', axis: 1 }, [2, 3, 2, 2], [2, 1, 2, 2]),
  around('Concat of columns', { op: 'Concat', axis: 3 }, [2, 3, 2, 2], [2, 3, 2, 3]),
  chain('Concat of a tensor with itself', [[2, 3]], [{ name: 'both', inputs: ['a', 'a'], op: 'Concat', axis: 1 }]),
  chain(
    'Split, one part unused',
    [[1, 6, 3]],
    [
      { name: 'parts', inputs: ['a'], outputs: ['first', 'second', 'third'], op: 'Split', axis: 1, sizes: [1, 3, 2] },
      { name: 'joined', inputs: ['third', 'first'], op: 'Concat', axis: 1 },
    ],
  ),
];
