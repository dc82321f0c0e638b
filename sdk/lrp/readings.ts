import { WhylightError } from '../errors.js';
import { withoutDeadNodes } from '../graph/canonical/draft.js';
import { constantTensors } from '../graph/constant-tensors.js';
import type { DataType, Graph, Node } from '../graph/graph.js';
import { int, intAttribute, sizeOf } from '../graph/graph.js';
import { isFasterInFloat } from '../graph/kernels.js';
import { numbersOf } from '../graph/tensors.js';
import type { Emitter, Value } from './emitter.js';

/** How the backward pass reads tensors of the forward graph. */
export interface Readings {
  /** A tensor of the canonical graph. Throws `MODEL_TYPE` for one that is neither float32 nor an integer beside activations. */
  read(name: string, node?: Node): Value;
  /**
   * The tensor that a tensor is for the layers after it, where all that reads it is a QuantizeLinear, or a Relu or Clip before one: the runtime
   * has these in one integer kernel, and the tensor itself is never computed. Undefined for every other tensor.
   */
  quantized(name: string): string | undefined;
  /**
   * Integer weights of convolutions that no integer kernel takes in, by the name of their float32 values, and the name of the same values
   * in nodes that the runtime folds at session start: the forward pass need not dequantize them with every run.
   */
  folded(): ReadonlyMap<string, string>;
}

/** Conditions, indices and quantized integers that stand beside activations. */
const BESIDE: ReadonlySet<DataType> = new Set(['bool', 'int64', 'int32', 'int8', 'uint8', 'int16', 'uint16']);
/** Operators that the runtime carries a DequantizeLinear across, so that they run on integers too. */
const CARRIED = new Set([
  'MaxPool',
  'Reshape',
  'Flatten',
  'Transpose',
  'Squeeze',
  'Unsqueeze',
  'Slice',
  'DepthToSpace',
]);
/** What a quantized kernel takes in between its layer and the rounding. */
const CLIPPED = new Set(['Relu', 'Clip']);

/** Layers whose weights are worth to be dequantized once. */
const WEIGHTED = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul']);

/** A tensor of the forward graph as a {@link Value}; throws `MODEL_TYPE` for anything but float32. */
export function forwardValue(graph: Graph, name: string, node?: Node): Value {
  const type = graph.values.get(name);
  if (type?.type !== 'float32') {
    throw new WhylightError(
      'MODEL_TYPE',
      `Tensor "${name}"${node === undefined ? '' : ` of node "${node.name}" (${node.op})`} is ${type?.type ?? 'of no known type'}; relevance is computed for float32 models.`,
      { details: { tensor: name, type: type?.type ?? '' } },
    );
  }
  return { name, dims: type.dims.map(Number), constant: constantTensors(graph).has(name) };
}

/** As {@link forwardValue}, also for what stands beside activations. */
function nodeValue(graph: Graph, name: string, node?: Node): Value {
  const type = graph.values.get(name);
  if (type === undefined || !BESIDE.has(type.type)) return forwardValue(graph, name, node);
  return { name, dims: type.dims.map(Number), constant: constantTensors(graph).has(name) };
}

/** Who makes and who reads the tensors of a graph. */
interface Wiring {
  readonly producers: ReadonlyMap<string, Node>;
  readonly readers: ReadonlyMap<string, readonly Node[]>;
  readonly outputs: ReadonlySet<string>;
}

function wiringOf(graph: Graph): Wiring {
  const producers = new Map<string, Node>();
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) producers.set(name, node);
    for (const name of new Set(node.inputs)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  return { producers, readers, outputs: new Set(graph.outputs.map((output) => output.name)) };
}

/** The QuantizeLinear that takes in a tensor, at once or behind an activation, and is alone in reading it. */
function quantizerOf({ readers, outputs }: Wiring, name: string): Node | undefined {
  const [reader, ...others] = readers.get(name) ?? [];
  if (reader === undefined || others.length > 0 || outputs.has(name) || reader.inputs[0] !== name) return undefined;
  if (reader.op === 'QuantizeLinear') return reader;
  return CLIPPED.has(reader.op) ? quantizerOf({ readers, outputs } as Wiring, reader.outputs[0]!) : undefined;
}

/** The tensor that what a QuantizeLinear wrote is dequantized to. */
function dequantized({ readers }: Wiring, quantizer: Node): string | undefined {
  return readers.get(quantizer.outputs[0]!)?.find((node) => node.op === 'DequantizeLinear')?.outputs[0];
}

/** Reads every tensor where the forward pass has it. */
export function directReadings(graph: Graph): Readings {
  const wiring = wiringOf(graph);
  return {
    read: (name, node) => nodeValue(graph, name, node),
    quantized(name) {
      const quantizer = quantizerOf(wiring, name);
      return quantizer === undefined ? undefined : dequantized(wiring, quantizer);
    },
    folded: () => new Map(),
  };
}

/** A value whose node is written when its name is first asked for. */
function written(like: Value, write: () => Value): Value {
  return {
    dims: like.dims,
    constant: like.constant,
    get name() {
      return write().name;
    },
  };
}

/** An input that is left out. */
const OMITTED: Value = { name: '', dims: [], constant: true };

/**
 * Reads a network whose layers run on integers without getting in the way of its kernels. The runtime makes one kernel of a layer
 * between DequantizeLinear and QuantizeLinear only as long as nothing else reads the float32 tensors in between. So what was
 * dequantized is dequantized once more, from the same integers, and what lies within a kernel is computed once more from that. Weights
 * are dequantized by Cast, Sub and Mul, which the runtime folds at session start; DequantizeLinear it leaves standing.
 *
 * `executed` is the forward graph as it runs, with every tensor of the canonical `graph`.
 */
export function integerReadings(graph: Graph, executed: Graph, emit: Emitter): Readings {
  const wiring = wiringOf(graph);
  const { producers } = wiring;
  const direct = directReadings(graph);
  const alive = withoutDeadNodes(executed.nodes, executed.initializers, executed.outputs).nodes;
  const available = new Set(alive.flatMap((node) => node.outputs));
  for (const input of graph.inputs) available.add(input.name);
  const standing = new Set(graph.nodes);
  // what other nodes compute than those of the canonical graph is computed as it is, whatever reads it
  const apart = new Set(alive.filter((node) => !standing.has(node)).flatMap((node) => node.outputs));
  const carried = new Set<string>();
  for (const node of graph.nodes) {
    const isCarried = node.op === 'DequantizeLinear' || (CARRIED.has(node.op) && carried.has(node.inputs[0]!));
    for (const name of node.outputs) {
      if (isCarried) carried.add(name);
      if (isCarried || (quantizerOf(wiring, name) !== undefined && !apart.has(name))) available.delete(name);
    }
  }

  const read = (name: string, node?: Node): Value => {
    if (name === '') return OMITTED;
    const value = direct.read(name, node);
    const producer = producers.get(name);
    if (producer === undefined || producer.domain !== '' || available.has(name)) return value;
    if (producer.outputs.length > 1) return value;
    return written(value, () => again(producer, value));
  };
  const again = (node: Node, value: Value): Value => {
    if (node.op === 'DequantizeLinear' && value.constant) return weightsOf(graph, emit, node, value);
    const inputs = node.inputs.map((input) => read(input, node));
    const attributes = Object.fromEntries(node.attributes);
    // one scale has no axis. Another one than the layer's own keeps the runtime from seeing that both are the same, and from making
    // one node of every two: what is computed again here would then be what the kernels are broken up for
    const isOwn = node.op === 'DequantizeLinear' && sizeOf(inputs[1]!.dims) === 1;
    const axis = intAttribute(node, 'axis', 1) === 0 ? 1 : 0;
    return emit.op(node.op, inputs, value.dims, isOwn ? { ...attributes, axis: int(axis) } : attributes);
  };
  const isFastOnIntegers = (node: Node): boolean => {
    // a kernel for one row takes twice as long as in float32
    if (node.op === 'Gemm' || node.op === 'MatMul') return sizeOf(direct.read(node.inputs[0]!).dims.slice(0, -1)) !== 1;
    const { inputs = [] } = producers.get(node.inputs[1]!) ?? {};
    const weights = graph.initializers.get(inputs[0] ?? '');
    const isGrouped = intAttribute(node, 'group', 1) > 1;
    if (isGrouped && weights !== undefined && isFasterInFloat(node, weights)) return false;
    return quantizerOf(wiring, node.outputs[0]!) !== undefined;
  };
  const folded = (): Map<string, string> => {
    const names = new Map<string, string>();
    const inKernels = new Set<string>();
    for (const node of graph.nodes) {
      const weights = node.inputs[1] ?? '';
      const isKernel = carried.has(node.inputs[0] ?? '') && isFastOnIntegers(node);
      if (!WEIGHTED.has(node.op) || isKernel) for (const name of node.inputs) inKernels.add(name);
      else if (carried.has(weights) && read(weights).constant) names.set(weights, read(weights).name);
    }
    for (const name of inKernels) names.delete(name);
    return names;
  };
  return { ...direct, read, folded };
}

/** (integers − zero point) · scale, in nodes that are folded at session start. */
function weightsOf(graph: Graph, emit: Emitter, node: Node, value: Value): Value {
  const [integers, scale, zero] = node.inputs.map((name) => (name === '' ? undefined : nodeValue(graph, name, node)));
  const axis = intAttribute(node, 'axis', 1);
  const rank = value.dims.length;
  const along = value.dims.map((dim, k) => (k === (axis < 0 ? axis + rank : axis) ? dim : 1));
  const spread = (steps: Value): Value =>
    steps.dims.length === 0 ? steps : emit.reshape(steps, steps.dims[0] === 1 ? value.dims.map(() => 1) : along);
  const points = graph.initializers.get(node.inputs[2] ?? '');
  const isCentred = zero === undefined || (points !== undefined && numbersOf(points).every((point) => point === 0));
  const real = (from: Value): Value => emit.op('Cast', [from], from.dims, { to: int(1) });
  const apart = isCentred ? real(integers!) : emit.sub(real(integers!), spread(real(zero!)));
  return emit.mul(apart, spread(scale!));
}
