import type { Dense } from './dense.js';

/** Where the windows of a convolution or pooling lie, one number per spatial axis; `pads` as in ONNX: all begins, then all ends. */
export interface Windows {
  readonly strides?: readonly number[];
  readonly pads?: readonly number[];
  readonly dilations?: readonly number[];
}

/** Per-channel constants of a batch normalization in its inference form. */
export interface BatchNorm {
  readonly scale: Dense;
  readonly shift: Dense;
  readonly mean: Dense;
  readonly variance: Dense;
  readonly epsilon: number;
}

/** How a layer's constants are stored: int8 weights in steps per output channel, an int32 bias in those times the input's step. */
export interface IntegerWeights {
  readonly stored?: { readonly weight: Dense; readonly input: number };
}

/** Layers with weights: the ones that the rules of thesis 2.10–2.28 are about. */
export type WeightedOperation =
  /** `batchNorm` follows the convolution in the ONNX file; the oracle sees the merged weights only. */
  | ({
      readonly op: 'Conv';
      readonly weight: Dense;
      readonly bias?: Dense;
      readonly group?: number;
      readonly batchNorm?: BatchNorm;
    } & Windows &
      IntegerWeights)
  | ({
      readonly op: 'ConvTranspose';
      readonly weight: Dense;
      readonly bias?: Dense;
      readonly group?: number;
      readonly outputPadding?: readonly number[];
    } & Windows)
  /** y = alpha · x · W + beta · c, W transposed where `transB` */
  | ({
      readonly op: 'Gemm';
      readonly weight: Dense;
      readonly bias?: Dense;
      readonly transB?: boolean;
      readonly alpha?: number;
      readonly beta?: number;
    } & IntegerWeights)
  /** y = x · W, or W · x with `side: 'left'`; `bias` is an Add node of its own in the ONNX file */
  | { readonly op: 'MatMul'; readonly weight: Dense; readonly bias?: Dense; readonly side?: 'left' | 'right' };

/** Elementwise functions; `alpha`, `beta`, `low`, `high` as their ONNX definitions use them. */
export interface ActivationOperation {
  readonly op:
    | 'Relu'
    | 'LeakyRelu'
    | 'PRelu'
    | 'Sigmoid'
    | 'Tanh'
    | 'Clip'
    | 'Elu'
    | 'Selu'
    | 'Softplus'
    | 'Softsign'
    | 'HardSigmoid'
    | 'HardSwish'
    /** x · sigmoid(x), written as two nodes */
    | 'SiLU'
    /** x · (1 + erf(x/√2)) / 2, written as five nodes */
    | 'Gelu'
    /** rounded to steps of `scale`, halves to even, clipped to uint8 around `zero`: a QuantizeLinear and a DequantizeLinear */
    | 'Quantize';
  readonly scale?: number;
  readonly zero?: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly low?: number;
  readonly high?: number;
}

export type PoolOperation =
  | ({ readonly op: 'MaxPool'; readonly kernel: readonly number[]; readonly ceil?: boolean } & Windows)
  | ({
      readonly op: 'AveragePool';
      readonly kernel: readonly number[];
      readonly ceil?: boolean;
      readonly countIncludePad?: boolean;
    } & Windows)
  | { readonly op: 'GlobalAveragePool' | 'GlobalMaxPool' }
  | {
      readonly op: 'ReduceMean' | 'ReduceSum' | 'ReduceMax';
      readonly axes: readonly number[];
      readonly keepdims: boolean;
    };

export type MergeOperation = { readonly op: 'Add' | 'Sub' } | { readonly op: 'Concat'; readonly axis: number };

/** One-to-one affine layers with constants. */
export type AffineOperation =
  | { readonly op: 'BatchNormalization'; readonly batchNorm: BatchNorm }
  | { readonly op: 'Mul' | 'Div'; readonly constant: Dense };

/** Layers that only move elements. */
export type MoveOperation =
  | { readonly op: 'Flatten'; readonly axis: number }
  | { readonly op: 'Reshape'; readonly shape: readonly number[] }
  | { readonly op: 'Squeeze' | 'Unsqueeze'; readonly axes: readonly number[] }
  | { readonly op: 'Transpose'; readonly perm: readonly number[] }
  | {
      readonly op: 'Pad';
      readonly pads: readonly number[];
      readonly mode: 'constant' | 'reflect' | 'edge';
      readonly value?: number;
    }
  | {
      readonly op: 'Slice';
      readonly starts: readonly number[];
      readonly ends: readonly number[];
      readonly axes: readonly number[];
      readonly steps: readonly number[];
    }
  | { readonly op: 'Split'; readonly axis: number; readonly sizes: readonly number[] }
  | { readonly op: 'Gather'; readonly axis: number; readonly indices: readonly number[] };

export type Operation =
  | WeightedOperation
  | ActivationOperation
  | PoolOperation
  | MergeOperation
  | AffineOperation
  | MoveOperation;

/** One layer. Its output is called like the layer, unless it has several (`outputs`). */
export type Layer = {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs?: readonly string[];
} & Operation;

/** A small network. Layers are in the order in which they run. */
export interface Network {
  readonly inputs: readonly { readonly name: string; readonly dims: readonly number[] }[];
  readonly layers: readonly Layer[];
  /** the explained tensor */
  readonly logits: string;
  /** further tensors that the model gives out, before the explained one */
  readonly otherOutputs?: readonly string[];
  /** what stands between the logits and the model's output, as trained classifiers end */
  readonly terminal?: 'Softmax' | 'LogSoftmax' | 'Sigmoid';
}

export type LayerKind = 'weighted' | 'activation' | 'winner' | 'norm' | 'batchNorm' | 'scale' | 'move';

/** What the thesis treats alike. `norm` is thesis 2.39, `winner` 2.33–2.35, `move` 2.41, `scale` and `activation` 2.37. */
export const kindOf: Record<Operation['op'], LayerKind> = {
  Conv: 'weighted',
  ConvTranspose: 'weighted',
  Gemm: 'weighted',
  MatMul: 'weighted',
  Relu: 'activation',
  LeakyRelu: 'activation',
  PRelu: 'activation',
  Sigmoid: 'activation',
  Tanh: 'activation',
  Clip: 'activation',
  Elu: 'activation',
  Selu: 'activation',
  Softplus: 'activation',
  Softsign: 'activation',
  HardSigmoid: 'activation',
  HardSwish: 'activation',
  SiLU: 'activation',
  Gelu: 'activation',
  Quantize: 'activation',
  MaxPool: 'winner',
  GlobalMaxPool: 'winner',
  ReduceMax: 'winner',
  AveragePool: 'norm',
  GlobalAveragePool: 'norm',
  ReduceMean: 'norm',
  ReduceSum: 'norm',
  Add: 'norm',
  Sub: 'norm',
  Concat: 'move',
  BatchNormalization: 'batchNorm',
  Mul: 'scale',
  Div: 'scale',
  Flatten: 'move',
  Reshape: 'move',
  Squeeze: 'move',
  Unsqueeze: 'move',
  Transpose: 'move',
  Pad: 'move',
  Slice: 'move',
  Split: 'move',
  Gather: 'move',
};

export const outputsOf = (layer: Layer): readonly string[] => layer.outputs ?? [layer.name];
