import { usesOf } from '../graph/canonical/draft.js';
import type { Graph, Node, Tensor } from '../graph/graph.js';
import { floatAttribute, intAttribute, sizeOf } from '../graph/graph.js';
import { type LinearLayer, linearLayerOf } from '../graph/linear-layer.js';
import { readsOf } from '../graph/order.js';
import { staticTypeOf } from '../graph/shapes.js';
import { numbersOf } from '../graph/tensors.js';

/** A layer between channels that can be scaled: the class of each of its input and output channels. */
export interface ScalableLayer {
  readonly layer: LinearLayer;
  /** Undefined where what it reads, or what it gives, has to stay as it is. */
  readonly inputs: Int32Array | undefined;
  readonly outputs: Int32Array | undefined;
}

/** Channels that have to be scaled by the same factor, such as those that an addition joins, are one class. */
export interface ChannelClasses {
  readonly layers: readonly ScalableLayer[];
  /** Tensors that layers read, whose channels can be scaled → the class of each channel. */
  readonly tensors: ReadonlyMap<string, Int32Array>;
  /** Class → the tensors it belongs with: factors matter only in proportion to each other within them. */
  readonly families: Int32Array;
}

/**
 * Operators f with f(s·x) = s·f(x) for every s > 0 and each channel by itself. Clip is none of them: its bound would have to move
 * with the scale of each channel.
 */
const homogeneous: ReadonlySet<string> = new Set([
  ...['Relu', 'LeakyRelu', 'PRelu', 'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool', 'Flatten'],
  ...['Reshape', 'Resize'],
]);

/** Disjoint sets of whole numbers. */
class DisjointSets {
  readonly #parents: number[] = [];

  /** New sets of one number each; gives the first of them. */
  add(count: number): number {
    const first = this.#parents.length;
    for (let at = first; at < first + count; at++) this.#parents.push(at);
    return first;
  }

  find(member: number): number {
    let at = member;
    while (this.#parents[at] !== at) {
      this.#parents[at] = this.#parents[this.#parents[at]!]!;
      at = this.#parents[at]!;
    }
    return at;
  }

  join(a: number, b: number): void {
    this.#parents[this.find(a)] = this.find(b);
  }
}

/**
 * Which channels of a canonical graph can be scaled without any change of the function, and which of them only together. Channels lie
 * along dimension 1. They can be scaled where linear layers make them, linear layers read them, and between the two lies nothing but
 * homogeneous operators, sums and concatenations.
 */
export function channelClasses(graph: Graph): ChannelClasses {
  const channels = new DisjointSets();
  const families = new DisjointSets();
  const known = new Map<string, { readonly first: number; readonly count: number; readonly family: number }>();
  const fixed: number[] = [];
  const tensorOf = (name: string) => {
    let entry = known.get(name);
    if (entry === undefined) {
      const { dims } = staticTypeOf(graph, name);
      const count = dims.length < 2 ? 1 : dims[1]!;
      entry = { first: channels.add(count), count, family: families.add(1) };
      known.set(name, entry);
    }
    return entry;
  };
  const isConstant = (name: string): boolean => name === '' || graph.initializers.has(name);
  const fix = (names: readonly string[]): void => {
    for (const name of names) if (!isConstant(name)) fixed.push(tensorOf(name).family);
  };
  /** The channels of `a` from `offset` on are those of `b`. */
  const join = (a: string, b: string, offset = 0): void => {
    const [whole, part] = [tensorOf(a), tensorOf(b)];
    for (let channel = 0; channel < part.count; channel++) {
      channels.join(whole.first + offset + channel, part.first + channel);
    }
    families.join(whole.family, part.family);
  };

  const uses = usesOf(graph);
  const found: LinearLayer[] = [];
  fix([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  for (const node of graph.nodes) {
    const layer = linearLayerOf(node, (name): Tensor | undefined => graph.initializers.get(name));
    const [output] = node.outputs as readonly [string];
    const activations = node.inputs.filter((name) => !isConstant(name));
    if (layer !== undefined && isScalable(graph, layer, uses)) found.push(layer);
    else if (keepsChannels(graph, node)) join(output, node.inputs[0]!);
    else if (isSum(graph, node)) for (const input of activations) join(output, input);
    else if (joinsChannels(graph, node)) {
      let offset = 0;
      for (const input of node.inputs) {
        if (!isConstant(input)) join(output, input, offset);
        offset += staticTypeOf(graph, input).dims[1]!;
      }
    } else fix([...readsOf(node), ...node.outputs.filter((name) => name !== '')]);
  }

  const fixedFamilies = new Set(fixed.map((family) => families.find(family)));
  const classOf = new Map<number, number>();
  const familyOfClass: number[] = [];
  const classesOf = (name: string): Int32Array | undefined => {
    const { first, count, family } = tensorOf(name);
    const root = families.find(family);
    if (fixedFamilies.has(root)) return undefined;
    return Int32Array.from({ length: count }, (_, channel) => {
      const set = channels.find(first + channel);
      const index = classOf.get(set) ?? classOf.size;
      classOf.set(set, index);
      familyOfClass[index] = root;
      return index;
    });
  };
  const tensors = new Map<string, Int32Array>();
  const layers = found.map((layer): ScalableLayer => {
    const [input, output] = [layer.node.inputs[0]!, layer.node.outputs[0]!];
    const inputs = classesOf(input);
    if (inputs !== undefined) tensors.set(input, inputs);
    return { layer, inputs, outputs: classesOf(output) };
  });
  return { layers, tensors, families: Int32Array.from(familyOfClass) };
}

/** Weights that several layers share are one tensor in the file, and stay one. */
function isScalable(graph: Graph, { node }: LinearLayer, uses: ReadonlyMap<string, number>): boolean {
  if (graph.initializers.has(node.inputs[0]!) || uses.get(node.inputs[1]!) !== 1) return false;
  if (intAttribute(node, 'transA', 0) !== 0) return false;
  // the columns of a product of matrices are its channels, and lie along dimension 1 only there
  const isProduct = node.op === 'Gemm' || node.op === 'MatMul';
  return !isProduct || staticTypeOf(graph, node.inputs[0]!).dims.length === 2;
}

/** A Reshape keeps channels apart where only dimensions of 1 follow them, a leaky slope of a negative sign keeps no sign. */
function keepsChannels(graph: Graph, node: Node): boolean {
  if (!homogeneous.has(node.op) || node.domain !== '' || node.outputs.length > 1) return false;
  if (graph.initializers.has(node.inputs[0]!)) return false;
  if (node.op === 'LeakyRelu') return floatAttribute(node, 'alpha', 0.01) >= 0;
  if (node.op === 'PRelu') {
    const slope = graph.initializers.get(node.inputs[1]!);
    return slope !== undefined && numbersOf(slope).every((value) => value >= 0);
  }
  const from = staticTypeOf(graph, node.inputs[0]!).dims;
  const to = staticTypeOf(graph, node.outputs[0]!).dims;
  if (from.length < 2 || from[0] !== to[0] || from[1] !== to[1]) return false;
  return (node.op !== 'Reshape' && node.op !== 'Flatten') || sizeOf(from.slice(2)) === 1;
}

/** An addition of activations of the same shape. */
function isSum(graph: Graph, node: Node): boolean {
  if (node.op !== 'Add' || node.domain !== '') return false;
  const shape = staticTypeOf(graph, node.outputs[0]!).dims.join();
  return node.inputs.every((name) => !graph.initializers.has(name) && staticTypeOf(graph, name).dims.join() === shape);
}

/** A concatenation of channels; constant ones among them have to be zeros. */
function joinsChannels(graph: Graph, node: Node): boolean {
  if (node.op !== 'Concat' || node.domain !== '') return false;
  const rank = staticTypeOf(graph, node.outputs[0]!).dims.length;
  const axis = intAttribute(node, 'axis', 0);
  if (rank < 2 || (axis < 0 ? axis + rank : axis) !== 1) return false;
  return node.inputs.every((name) => {
    const constant = graph.initializers.get(name);
    return constant === undefined || numbersOf(constant).every((value) => value === 0);
  });
}
