import { createBuilder, type GraphBuilder } from '../../graph/builder.js';
import { producersOf } from '../../graph/canonical/draft.js';
import { dataTypeCode } from '../../graph/data-types.js';
import type { Graph, Node, Tensor } from '../../graph/graph.js';
import { int, intAttribute, sizeOf } from '../../graph/graph.js';
import { numbersOf, tensorOf } from '../../graph/tensors.js';

/** A convolution of integers that stand for numbers: x·w summed up, each sum in steps of its output channel. */
interface IntegerConvolution {
  readonly node: Node;
  /** The DequantizeLinear before its data, before its weights, and, where its integers are such sums too, before its bias. */
  readonly data: Node;
  readonly weights: Node;
  readonly bias: Node | undefined;
}

/** The middle of uint8, that int8 weights are moved to. */
const MIDDLE = 128;

/**
 * Computes convolutions of integers as ConvInteger and one DequantizeLinear of its int32 sums. A QLinearConv, which the runtime would
 * make where the output is rounded, brings a sum to the steps of the output so slowly that short ones take longer than in float32; and
 * where the output is not rounded the runtime computes in float32. Its int32 products are fast for uint8 alone, so weights of int8 are
 * moved by 128, in nodes that are folded at session start. Measured on one thread, in milliseconds:
 *
 * | map | kernel | float32 | QLinearConv | ConvInteger, DequantizeLinear |
 * |---|---|---|---|---|
 * | 64 → 384×14×14 | 1×1 | 0.34 | | **0.14** |
 * | 384 → 64×14×14 | 1×1 | 0.31 | 0.16 | **0.14** |
 * | 320 → 1280×7×7 | 1×1 | 1.70 | 1.07 | **0.60** |
 * | 32 → 192×28×28 | 1×1 | 0.35 | | **0.17** |
 * | 64 → 64×56×56 | 3×3 | 7.33 | 3.71 | **3.59** |
 *
 * Sums are the same integers. What they are rounded to after that are those of the QLinearConv but for ties that float32 makes or breaks.
 */
export function withIntegerSums(graph: Graph): Graph {
  const builder = createBuilder({ ...graph, nodes: [], inputs: [], outputs: [] }, 'lrp/sums/');
  const producers = producersOf(graph.nodes);
  const nodes = graph.nodes.flatMap((node): readonly Node[] => {
    const convolution = integerConvolutionOf(graph, producers, node);
    if (convolution === undefined) return [node];
    const before = builder.graph.nodes.length;
    writeSums(builder, graph, convolution);
    return builder.graph.nodes.slice(before);
  });
  return { ...graph, nodes, initializers: builder.graph.initializers };
}

function integerConvolutionOf(
  graph: Graph,
  producers: ReadonlyMap<string, Node>,
  node: Node,
): IntegerConvolution | undefined {
  // the kernels for groups sum up one group after the other
  if (node.op !== 'Conv' || node.domain !== '' || intAttribute(node, 'group', 1) !== 1) return undefined;
  const constant = (name: string | undefined): Tensor | undefined => graph.initializers.get(name ?? '');
  const [data, weights, bias] = node.inputs.map((name) => {
    const producer = producers.get(name);
    return producer?.op === 'DequantizeLinear' && producer.domain === '' ? producer : undefined;
  });
  if (data === undefined || weights === undefined) return undefined;
  const [integers, steps] = [constant(weights.inputs[0]), constant(weights.inputs[1])];
  const step = constant(data.inputs[1]);
  if (graph.values.get(data.inputs[0]!)?.type !== 'uint8' || integers?.type !== 'int8') return undefined;
  if (integers.dims.length !== 4 || step === undefined || steps === undefined || sizeOf(step.dims) !== 1)
    return undefined;
  const isAlongOutputs = sizeOf(steps.dims) === 1 || intAttribute(weights, 'axis', 1) === 0;
  const isCentred = (of: Node): boolean => {
    const zero = constant(of.inputs[2]);
    return (of.inputs[2] ?? '') === '' || (zero !== undefined && numbersOf(zero).every((value) => value === 0));
  };
  if (!isAlongOutputs || !isCentred(weights) || !constantOrNone(data.inputs[2], constant)) return undefined;
  const own = bias !== undefined && isCentred(bias) && isOfProducts(constant(bias.inputs[1]), step, steps);
  return { node, data, weights, bias: own && constant(bias.inputs[0]) !== undefined ? bias : undefined };
}

const constantOrNone = (name: string | undefined, constant: (name: string) => Tensor | undefined): boolean =>
  name === undefined || name === '' || constant(name) !== undefined;

/** Whether the steps of a bias are those of the sums, to the last bit. */
function isOfProducts(bias: Tensor | undefined, step: Tensor, steps: Tensor): boolean {
  if (bias === undefined || sizeOf(bias.dims) !== sizeOf(steps.dims)) return false;
  const [one = 0] = numbersOf(step);
  const each = numbersOf(steps);
  return numbersOf(bias).every((value, channel) => value === Math.fround(one * each[channel]!));
}

function writeSums(builder: GraphBuilder, graph: Graph, { node, data, weights, bias }: IntegerConvolution): void {
  const channels = graph.initializers.get(weights.inputs[0]!)!.dims[0]!;
  const real = realOf(builder, weights.inputs[0]!);
  const sums = integerSums(builder, node, data, real);
  if (bias === undefined) {
    writeNumbers(builder, node, data, { sums, channels, steps: weights.inputs[1]! });
    return;
  }
  const whole = builder.node('Add', [sums, perChannel(builder, bias.inputs[0]!, channels)]);
  const named = { name: node.name, outputs: node.outputs };
  builder.node('DequantizeLinear', [whole, bias.inputs[1]!], { axis: int(1) }, named);
}

/** Integers in float32, in which they are moved and cut. */
export function realOf(builder: GraphBuilder, integers: string): string {
  return builder.node('Cast', [integers], { to: int(dataTypeCode('float32')) });
}

/** The int32 sums of a convolution, without a bias; `real` are the integers of its weights, in float32. */
export function integerSums(builder: GraphBuilder, node: Node, data: Node, real: string): string {
  const constant = (type: 'uint8' | 'float32', value: number): string =>
    builder.initializer(`lrp/sums/${type}/${value}`, tensorOf(type, [], [value]));
  const moved = builder.node('Cast', [builder.node('Add', [real, constant('float32', MIDDLE)])], {
    to: int(dataTypeCode('uint8')),
  });
  const zero = (data.inputs[2] ?? '') === '' ? constant('uint8', 0) : data.inputs[2]!;
  const inputs = [data.inputs[0]!, moved, zero, constant('uint8', MIDDLE)];
  return builder.node('ConvInteger', inputs, Object.fromEntries(node.attributes));
}

/** What a convolution gives: its sums in float32, and its bias. */
export function writeNumbers(
  builder: GraphBuilder,
  node: Node,
  data: Node,
  { sums, channels, steps }: { readonly sums: string; readonly channels: number; readonly steps: string },
): void {
  const named = { name: node.name, outputs: node.outputs };
  const each = builder.node('Mul', [data.inputs[1]!, steps]);
  const bias = node.inputs[2] ?? '';
  const outputs = bias === '' ? named : {};
  const without = builder.node('DequantizeLinear', [sums, each], { axis: int(1) }, outputs);
  if (bias !== '') builder.node('Add', [without, perChannel(builder, bias, channels)], {}, named);
}

const perChannel = (builder: GraphBuilder, vector: string, channels: number): string =>
  builder.node('Reshape', [vector, builder.ints([channels, 1, 1])]);
