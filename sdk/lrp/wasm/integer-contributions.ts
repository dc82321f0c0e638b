import { createBuilder } from '../../graph/builder.js';
import { producersOf } from '../../graph/canonical/draft.js';
import type { Attribute, Graph, Node, Tensor } from '../../graph/graph.js';
import { intAttribute, sizeOf, subgraph } from '../../graph/graph.js';
import { numbersOf } from '../../graph/tensors.js';
import { integerSums, realOf, writeNumbers } from './integer-sums.js';

/** Operators that take the positive or the negative part of weights. */
const PARTS = new Set(['Relu', 'Max', 'Min', 'Clip']);

/**
 * The sums of contributions x·w⁺ and x·w⁻ that rules divide by, on integers too: where a convolution of the backward pass has integers
 * for its data, and a part of integers for its weights. `graph` is that of a compiled explanation, in the open or in an `If`.
 */
export function withIntegerContributions(graph: Graph): Graph {
  return inScope(graph, graph.initializers, new Map(), 'lrp/sums/');
}

function inScope(
  graph: Graph,
  initializers: ReadonlyMap<string, Tensor>,
  outer: ReadonlyMap<string, Node>,
  prefix: string,
): Graph {
  const builder = createBuilder({ ...graph, inputs: [], outputs: [] }, prefix);
  const producers = new Map([...outer, ...producersOf(graph.nodes)]);
  const nodes = graph.nodes.flatMap((node): readonly Node[] => {
    const found = contributionsOf(initializers, producers, node);
    const before = builder.graph.nodes.length;
    if (found === undefined) return [withBranches(node, initializers, producers, prefix)];
    const { data, part, integers, steps } = found;
    const channels = initializers.get(integers)!.dims[0]!;
    const of = builder.node(
      part.op,
      [realOf(builder, integers), ...part.inputs.slice(1)],
      Object.fromEntries(part.attributes),
    );
    writeNumbers(builder, node, data, { sums: integerSums(builder, node, data, of), channels, steps });
    return builder.graph.nodes.slice(before);
  });
  return { ...graph, nodes, initializers: builder.graph.initializers };
}

function withBranches(
  node: Node,
  initializers: ReadonlyMap<string, Tensor>,
  producers: ReadonlyMap<string, Node>,
  prefix: string,
): Node {
  const attributes = [...node.attributes].map(([name, attribute]): [string, Attribute] => {
    if (attribute.kind !== 'graph') return [name, attribute];
    const all = new Map([...initializers, ...attribute.value.initializers]);
    return [name, subgraph(inScope(attribute.value, all, producers, `${prefix}${name}/`))];
  });
  return { ...node, attributes: new Map(attributes) };
}

/** A convolution of integers with the positive or negative part of integers. */
interface Contributions {
  readonly data: Node;
  readonly part: Node;
  readonly integers: string;
  /** The steps of the weights, a vector or a single number. */
  readonly steps: string;
}

function contributionsOf(
  initializers: ReadonlyMap<string, Tensor>,
  producers: ReadonlyMap<string, Node>,
  node: Node,
): Contributions | undefined {
  if (node.op !== 'Conv' || node.domain !== '' || intAttribute(node, 'group', 1) !== 1) return undefined;
  const data = producers.get(node.inputs[0]!);
  const part = producers.get(node.inputs[1]!);
  if (data?.op !== 'DequantizeLinear' || data.domain !== '' || part === undefined || !PARTS.has(part.op))
    return undefined;
  const step = initializers.get(data.inputs[1]!);
  const zero = initializers.get(data.inputs[2] ?? '');
  if (step === undefined || sizeOf(step.dims) !== 1 || zero?.type !== 'uint8') return undefined;
  // a bound other than 0 would not be the same for integers
  const bounds = part.inputs.slice(1).filter((name) => name !== '');
  const numbers = (name: string): readonly number[] => [...numbersOf(initializers.get(name)!)];
  const areZero = bounds.every((name) => initializers.has(name) && numbers(name).every((bound) => bound === 0));
  const product = producers.get(part.inputs[0]!);
  if (product?.op !== 'Mul' || !areZero) return undefined;
  const [cast, spread] = product.inputs.map((name) => producers.get(name));
  const steps = spread?.op === 'Reshape' ? spread.inputs[0]! : product.inputs[1]!;
  const integers = cast?.op === 'Cast' ? initializers.get(cast.inputs[0]!) : undefined;
  if (integers?.type !== 'int8' || integers.dims.length !== 4) return undefined;
  const each = initializers.get(steps);
  if (each === undefined || (sizeOf(each.dims) !== 1 && sizeOf(each.dims) !== integers.dims[0])) return undefined;
  if (!numbers(steps).every((size) => size > 0)) return undefined;
  return { data, part, integers: cast!.inputs[0]!, steps };
}
