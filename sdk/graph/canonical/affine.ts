import type { Node, StaticType, Tensor } from '../graph.js';
import { floatAttribute, sizeOf } from '../graph.js';
import { numbersOf } from '../tensors.js';

/** y = scale[c] · x + shift[c] for every channel c (dimension 1). */
export interface ChannelAffine {
  /** Which input of the node is the data. */
  readonly data: number;
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/**
 * Reads a node as an affine map of channels: BatchNormalization, or Add, Sub, Mul with a constant per channel. `undefined` for
 * everything else. The maps are float64, so that a merged weight is rounded once.
 */
export function channelAffineOf(
  node: Node,
  typeOf: (name: string) => StaticType,
  constantOf: (name: string) => Tensor | undefined,
): ChannelAffine | undefined {
  if (node.domain !== '') return undefined;
  if (node.op === 'BatchNormalization') return batchNorm(node, constantOf);
  if (node.op !== 'Add' && node.op !== 'Sub' && node.op !== 'Mul') return undefined;
  for (const data of node.op === 'Sub' ? [0] : [0, 1]) {
    const input = node.inputs[data]!;
    const other = constantOf(node.inputs[1 - data]!);
    if (other === undefined || constantOf(input) !== undefined) continue;
    const type = typeOf(input);
    const values = perChannel(other, type);
    if (values === undefined) return undefined;
    const channels = type.dims[1]!;
    if (node.op === 'Mul') return { data, scale: values, shift: new Float64Array(channels) };
    const ones = new Float64Array(channels).fill(1);
    return { data, scale: ones, shift: node.op === 'Sub' ? values.map((value) => -value) : values };
  }
  return undefined;
}

function batchNorm(node: Node, constantOf: (name: string) => Tensor | undefined): ChannelAffine | undefined {
  const parameters = node.inputs.slice(1, 5).map(constantOf);
  if (parameters.length < 4 || parameters.some((parameter) => parameter?.type !== 'float32')) return undefined;
  const [gamma, beta, mean, variance] = parameters.map((parameter) => numbersOf(parameter!));
  const epsilon = Math.fround(floatAttribute(node, 'epsilon', 1e-5));
  const scale = gamma!.map((value, channel) => value / Math.sqrt(variance![channel]! + epsilon));
  return { data: 0, scale, shift: beta!.map((value, channel) => value - mean![channel]! * scale[channel]!) };
}

/** A constant that broadcasts to data [N, C, …] with one value per channel, as C numbers. */
function perChannel(constant: Tensor, data: StaticType): Float64Array | undefined {
  if (constant.type !== 'float32' || data.type !== 'float32') return undefined;
  const rank = data.dims.length;
  const lead = rank - constant.dims.length;
  if (rank < 2 || lead < 0) return undefined;
  if (!constant.dims.every((dim, axis) => dim === 1 || (axis + lead === 1 && dim === data.dims[1]))) return undefined;
  const values = numbersOf(constant);
  const channels = data.dims[1]!;
  return sizeOf(constant.dims) === 1 ? new Float64Array(channels).fill(values[0]!) : values;
}
