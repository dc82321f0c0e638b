import { createBuilder } from '../builder.js';
import { dataTypeCode, dataTypeOf } from '../data-types.js';
import type { Attribute, DataType, Graph, NamedValue, Node, StaticType, Tensor, ValueType } from '../graph.js';
import { int } from '../graph.js';
import { numbersOf, tensorOf } from '../tensors.js';
import { renamed } from './rename.js';

/** Floating-point types that are computed as float32. float16 and bfloat16 fit into it exactly, float64 is rounded to it. */
const OTHER_FLOATS: ReadonlySet<DataType> = new Set(['float16', 'bfloat16', 'float64']);

/** The model's own types of inputs and outputs that are float32 in its canonical graph, by name. */
export interface Border {
  readonly inputs: ReadonlyMap<string, DataType>;
  readonly outputs: ReadonlyMap<string, DataType>;
}

/** A graph that computes in float32 from end to end, and what its inputs and outputs were before. */
export interface SinglePrecision {
  readonly graph: Graph;
  readonly border: Border;
  /** Number of weights that were brought to float32. */
  readonly weights: number;
  /** Types that the graph computed in; empty where it was float32 already, and comes back as it is. */
  readonly types: readonly DataType[];
}

/**
 * Brings a float16, bfloat16, float64 or mixed graph to float32: constants, inputs, outputs, and what nodes name as their type.
 * Casts between such types then change nothing any more. Float64 beyond the range of float32 stays finite, so that a mask of the
 * lowest float64 is no infinity.
 */
export function inSinglePrecision(graph: Graph): SinglePrecision {
  const types = new Set<DataType>();
  for (const { type } of valuesOf(graph)) if (OTHER_FLOATS.has(type)) types.add(type);
  const border: Border = { inputs: ownTypes(graph.inputs), outputs: ownTypes(graph.outputs) };
  if (types.size === 0) return { graph, border, weights: 0, types: [] };
  const weights = [...graph.initializers.values()].filter((weight) => OTHER_FLOATS.has(weight.type)).length;
  return { graph: widened(graph), border, weights, types: [...types].sort() };
}

/**
 * The graph with the types at its border that the model itself has: one Cast behind every input that is no float32, which keeps
 * its name, and one in front of every such output.
 */
export function withOwnTypes(graph: Graph, { inputs, outputs }: Border): Graph {
  if (inputs.size === 0 && outputs.size === 0) return graph;
  const builder = createBuilder(graph);
  const names = new Map<string, string>();
  for (const name of [...inputs.keys(), ...outputs.keys()]) {
    if (!names.has(name)) names.set(name, builder.name(`${name}/float32`));
  }
  const cast = (from: string, to: string, type: DataType): Node => ({
    ...{ op: 'Cast', domain: '', name: builder.name(`${from}/${type}`), inputs: [from], outputs: [to] },
    attributes: new Map<string, Attribute>([['to', int(dataTypeCode(type))]]),
  });
  const wide = (name: string): string => names.get(name)!;
  const nodes = [
    ...[...inputs.keys()].map((name) => cast(name, wide(name), 'float32')),
    ...graph.nodes.map((node) => renamed(node, names)),
    // an input that is an output too needs no way back
    ...[...outputs].filter(([name]) => !inputs.has(name)).map(([name, type]) => cast(wide(name), name, type)),
  ];
  const initializers = new Map([...graph.initializers].map(([name, value]) => [names.get(name) ?? name, value]));
  const values = new Map<string, ValueType>();
  for (const [name, value] of graph.values) values.set(names.get(name) ?? name, value);
  const typed = (own: ReadonlyMap<string, DataType>) => (value: NamedValue) => {
    const type = own.get(value.name);
    if (type === undefined) return value;
    const { name, ...shape } = { ...value, type };
    values.set(name, shape);
    return { name, ...shape };
  };
  return {
    ...graph,
    nodes,
    initializers,
    values,
    inputs: graph.inputs.map(typed(inputs)),
    outputs: graph.outputs.map(typed(outputs)),
  };
}

function ownTypes(values: readonly NamedValue[]): Map<string, DataType> {
  return new Map(values.filter(({ type }) => OTHER_FLOATS.has(type)).map(({ name, type }) => [name, type]));
}

/** Types of all values of a graph and of the branches in it. */
function* valuesOf(graph: Graph): Generator<ValueType | Tensor> {
  yield* graph.values.values();
  yield* graph.initializers.values();
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === 'graph') yield* valuesOf(attribute.value);
    }
  }
}

function widened(graph: Graph): Graph {
  const typed = <T extends ValueType | StaticType>(value: T): T => ({ ...value, type: widenedType(value.type) });
  return {
    ...graph,
    inputs: graph.inputs.map(typed),
    outputs: graph.outputs.map(typed),
    nodes: graph.nodes.map(widenedNode),
    initializers: new Map([...graph.initializers].map(([name, weight]) => [name, widenedTensor(weight)])),
    values: new Map([...graph.values].map(([name, value]) => [name, typed(value)])),
  };
}

function widenedNode(node: Node): Node {
  if (node.attributes.size === 0) return node;
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of node.attributes) attributes.set(name, widenedAttribute(name, attribute));
  return { ...node, attributes };
}

/** Attributes that name an element type, by operators such as Cast, RandomNormal and DequantizeLinear. */
const NAMES_TYPE: ReadonlySet<string> = new Set(['to', 'dtype', 'output_dtype']);

function widenedAttribute(name: string, attribute: Attribute): Attribute {
  if (attribute.kind === 'graph') return { kind: 'graph', value: widened(attribute.value) };
  if (attribute.kind === 'tensor') return { kind: 'tensor', value: widenedTensor(attribute.value) };
  if (attribute.kind !== 'int' || !NAMES_TYPE.has(name)) return attribute;
  const type = dataTypeOf(attribute.value);
  return type === undefined ? attribute : int(dataTypeCode(widenedType(type)));
}

function widenedType(type: DataType): DataType {
  return OTHER_FLOATS.has(type) ? 'float32' : type;
}

const LARGEST = 3.4028234663852886e38;

function widenedTensor(tensor: Tensor): Tensor {
  if (!OTHER_FLOATS.has(tensor.type)) return tensor;
  const values = numbersOf(tensor);
  if (tensor.type === 'float64') {
    for (const [index, value] of values.entries()) {
      if (Number.isFinite(value)) values[index] = Math.max(-LARGEST, Math.min(LARGEST, value));
    }
  }
  return tensorOf('float32', tensor.dims, values);
}
