import type { GraphBuilder } from './builder.js';
import type { Attribute, Node, Tensor } from './graph.js';
import { floatAttribute, int, intAttribute, sizeOf } from './graph.js';
import { numbersOf, tensorOf } from './tensors.js';

/** A layer y = W x + b with constant float32 weights, in a common form: weights by output (and by input) channel. */
export interface LinearLayer {
  readonly node: Node;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly outputs: number;
  readonly inputs: number;
  /** Output channel of the weight at a flat position. */
  readonly outputAt: (position: number) => number;
  /** Input channel of the weight at a flat position. */
  readonly inputAt: (position: number) => number;
  /** Gemm's factors, 1 elsewhere. */
  readonly alpha: number;
  readonly beta: number;
}

/**
 * A Conv, ConvTranspose, Gemm or MatMul as {@link LinearLayer}; `undefined` for other nodes, for weights that are computed or no
 * float32, and for a bias that differs by row. The channels of a product of matrices lie along the last axis of its data.
 */
export function linearLayerOf(node: Node, constantOf: (name: string) => Tensor | undefined): LinearLayer | undefined {
  if (node.domain !== '') return undefined;
  const weight = constantOf(node.inputs[1] ?? '');
  const biasName = node.inputs[2] ?? '';
  const bias = constantOf(biasName);
  if (weight?.type !== 'float32' || (biasName !== '' && bias?.type !== 'float32')) return undefined;
  const { dims } = weight;
  const common = { node, weight, bias, alpha: 1, beta: 1 };
  const group = intAttribute(node, 'group', 1);
  const inner = sizeOf(dims.slice(2));
  if (node.op === 'Conv') {
    const [outputs, perGroup] = [dims[0]!, dims[0]! / group];
    const outputAt = (position: number): number => Math.floor(position / (inner * dims[1]!));
    const inputAt = (position: number): number =>
      Math.floor(outputAt(position) / perGroup) * dims[1]! + (Math.floor(position / inner) % dims[1]!);
    return { ...common, outputs, inputs: dims[1]! * group, outputAt, inputAt };
  }
  if (node.op === 'ConvTranspose') {
    const perGroup = dims[0]! / group;
    const inputAt = (position: number): number => Math.floor(position / (inner * dims[1]!));
    const outputAt = (position: number): number =>
      Math.floor(inputAt(position) / perGroup) * dims[1]! + (Math.floor(position / inner) % dims[1]!);
    return { ...common, outputs: dims[1]! * group, inputs: dims[0]!, outputAt, inputAt };
  }
  if (node.op !== 'Gemm' && node.op !== 'MatMul') return undefined;
  if (dims.length !== 2) return undefined;
  const transposed = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0;
  const [inputs, outputs] = transposed ? [dims[1]!, dims[0]!] : [dims[0]!, dims[1]!];
  // a bias that differs by row is no bias of channels
  if (bias !== undefined && sizeOf(bias.dims) !== (bias.dims[bias.dims.length - 1] ?? 1)) return undefined;
  const row = (position: number): number => Math.floor(position / dims[1]!);
  const column = (position: number): number => position % dims[1]!;
  const gemm = node.op === 'Gemm';
  return {
    ...common,
    outputs,
    inputs,
    outputAt: transposed ? row : column,
    inputAt: transposed ? column : row,
    alpha: gemm ? floatAttribute(node, 'alpha', 1) : 1,
    beta: gemm ? floatAttribute(node, 'beta', 1) : 1,
  };
}

/** The layer with new weights and bias; MatMul becomes Gemm, which has a bias. `null` keeps the weight that is there. */
export function rebuilt(
  layer: LinearLayer,
  weight: Tensor | null,
  bias: Float64Array,
  output: string,
  builder: GraphBuilder,
): Node {
  const { node } = layer;
  const [data, weightName = '', biasName = ''] = node.inputs;
  const store = (like: string, value: Tensor): string => builder.initializer(builder.name(like), value);
  const newWeight = weight === null ? weightName : store(weightName, weight);
  const newBias = store(biasName === '' ? `${node.name}.bias` : biasName, tensorOf('float32', [bias.length], bias));
  const attributes = new Map<string, Attribute>(node.attributes);
  if (node.op === 'Gemm' && weight !== null) attributes.delete('alpha');
  if (node.op === 'Gemm') attributes.delete('beta');
  if (node.op === 'MatMul') attributes.set('transB', int(0));
  const op = node.op === 'MatMul' ? 'Gemm' : node.op;
  return { ...node, op, inputs: [data!, newWeight, newBias], outputs: [output], attributes };
}

/** The bias as one number per output, Gemm's beta included. */
export function biasOf(layer: LinearLayer): Float64Array {
  const bias = new Float64Array(layer.outputs);
  if (layer.bias === undefined) return bias;
  const values = numbersOf(layer.bias);
  return bias.map((_, output) => layer.beta * values[values.length === 1 ? 0 : output]!);
}
