import { createBuilder, type GraphBuilder } from '../../graph/builder.js';
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
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
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
  const { dims } = graph.initializers.get(weights.inputs[0]!)!;
  const channels = [dims[0]!, 1, 1];
  const constant = (type: 'uint8' | 'float32', value: number): string =>
    builder.initializer(`lrp/sums/${type}/${value}`, tensorOf(type, [], [value]));
  const real = builder.node('Cast', [weights.inputs[0]!], { to: int(1) });
  const moved = builder.node('Cast', [builder.node('Add', [real, constant('float32', MIDDLE)])], { to: int(2) });
  const zero = (data.inputs[2] ?? '') === '' ? constant('uint8', 0) : data.inputs[2]!;
  const inputs = [data.inputs[0]!, moved, zero, constant('uint8', MIDDLE)];
  const sums = builder.node('ConvInteger', inputs, Object.fromEntries(node.attributes));
  const along = { axis: int(1) };
  const perChannel = (vector: string): string => builder.node('Reshape', [vector, builder.ints(channels)]);
  if (bias !== undefined) {
    const whole = builder.node('Add', [sums, perChannel(bias.inputs[0]!)]);
    builder.node('DequantizeLinear', [whole, bias.inputs[1]!], along, { name: node.name, outputs: node.outputs });
    return;
  }
  const steps = builder.node('Mul', [data.inputs[1]!, weights.inputs[1]!]);
  const name = node.inputs[2] ?? '';
  if (name === '') {
    builder.node('DequantizeLinear', [sums, steps], along, { name: node.name, outputs: node.outputs });
    return;
  }
  const without = builder.node('DequantizeLinear', [sums, steps], along);
  builder.node('Add', [without, perChannel(name)], {}, { name: node.name, outputs: node.outputs });
}
