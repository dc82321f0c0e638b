import type { Attribute, DataType, Graph, Model, NamedValue, Node, Tensor, ValueType } from './graph.js';
import { sizeOf } from './graph.js';

/** Settings of one node that a builder adds; outputs default to one tensor with a fresh name. */
export interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
  readonly outputs?: readonly string[];
}

/**
 * Writes a graph node by node. Names are made up where none is given, equal small constants are stored once.
 * A tensor is referred to by its name.
 */
export interface GraphBuilder {
  /** Declares a graph input. */
  input(name: string, type: DataType, dims: readonly (number | string)[]): string;
  /** Declares a graph output that some node (or input) has produced under `name`. */
  output(name: string, type: DataType, dims: readonly (number | string)[]): void;
  /** Adds a node with one output and returns the output's name. */
  node(op: string, inputs: readonly string[], attributes?: Record<string, Attribute>, options?: NodeOptions): string;
  /** Adds a node with several outputs. */
  nodes(
    op: string,
    inputs: readonly string[],
    outputs: number | readonly string[],
    attributes?: Record<string, Attribute>,
    options?: Omit<NodeOptions, 'outputs'>,
  ): readonly string[];
  /** Adds an initializer under a given name. */
  initializer(name: string, value: Tensor): string;
  /** A float32 constant; a one-element constant without `dims` is a scalar. */
  floats(values: readonly number[] | Float32Array, dims?: readonly number[]): string;
  /** An int64 constant, 1-D unless `dims` is given. */
  ints(values: readonly number[], dims?: readonly number[]): string;
  /** A fresh name that starts with `hint`. */
  name(hint: string): string;
  /** The nodes added so far, the initializers, inputs and outputs. */
  readonly graph: Graph;
}

/** A float32 tensor from numbers. Throws RangeError when the count does not fit `dims`. */
export function floatTensor(values: readonly number[] | Float32Array, dims: readonly number[]): Tensor {
  const array = values instanceof Float32Array ? values : Float32Array.from(values);
  if (array.length !== sizeOf(dims)) throw new RangeError(`${array.length} values do not fill [${dims.join(', ')}]`);
  return { type: 'float32', dims, bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) };
}

/** An int64 tensor from integers. */
export function intTensor(values: readonly number[], dims: readonly number[] = [values.length]): Tensor {
  const array = BigInt64Array.from(values, (value) => BigInt(value));
  return { type: 'int64', dims, bytes: new Uint8Array(array.buffer) };
}

/**
 * Starts a builder. With `base`, new nodes are appended to a copy of that graph and fresh names avoid those it uses.
 * `prefix` stands before every fresh name.
 */
export function createBuilder(base?: Graph, prefix = ''): GraphBuilder {
  const inputs: NamedValue[] = [...(base?.inputs ?? [])];
  const outputs: NamedValue[] = [...(base?.outputs ?? [])];
  const nodes: Node[] = [...(base?.nodes ?? [])];
  const initializers = new Map<string, Tensor>(base?.initializers ?? []);
  const values = new Map<string, ValueType>(base?.values ?? []);
  const constants = new Map<string, string>();
  const counters = new Map<string, number>();
  const used = new Set<string>([...initializers.keys(), ...values.keys(), ...inputs.map((value) => value.name)]);
  for (const node of nodes) for (const name of [...node.outputs, node.name]) used.add(name);

  const fresh = (hint: string): string => {
    const stem = `${prefix}${hint}`;
    let count = counters.get(stem) ?? 0;
    let name = count === 0 ? stem : `${stem}_${count}`;
    while (used.has(name)) {
      count += 1;
      name = `${stem}_${count}`;
    }
    counters.set(stem, count + 1);
    used.add(name);
    return name;
  };
  const constant = (value: Tensor, hint: string): string => {
    if (value.bytes.length > 256) {
      const name = fresh(hint);
      initializers.set(name, value);
      return name;
    }
    const key = `${value.type}[${value.dims.join()}]${value.bytes.join()}`;
    const known = constants.get(key);
    if (known !== undefined) return known;
    const name = fresh(hint);
    initializers.set(name, value);
    constants.set(key, name);
    return name;
  };

  const builder: GraphBuilder = {
    input(name, type, dims) {
      used.add(name);
      inputs.push({ name, type, dims });
      values.set(name, { type, dims });
      return name;
    },
    output(name, type, dims) {
      outputs.push({ name, type, dims });
      values.set(name, { type, dims });
    },
    node(op, nodeInputs, attributes = {}, options = {}) {
      return builder.nodes(op, nodeInputs, options.outputs ?? 1, attributes, options)[0]!;
    },
    nodes(op, nodeInputs, count, attributes = {}, options = {}) {
      const outs =
        typeof count === 'number' ? Array.from({ length: count }, () => fresh(op.toLowerCase())) : [...count];
      for (const out of outs) used.add(out);
      nodes.push({
        op,
        domain: options.domain ?? '',
        name: options.name ?? outs[0]!,
        inputs: nodeInputs,
        outputs: outs,
        attributes: new Map(Object.entries(attributes)),
      });
      return outs;
    },
    initializer(name, value) {
      used.add(name);
      initializers.set(name, value);
      return name;
    },
    floats(list, dims) {
      return constant(floatTensor(list, dims ?? (list.length === 1 ? [] : [list.length])), 'c');
    },
    ints(list, dims) {
      return constant(intTensor(list, dims), 'i');
    },
    name: fresh,
    get graph() {
      return { name: base?.name ?? 'graph', inputs, outputs, nodes, initializers, values };
    },
  };
  return builder;
}

/** Wraps a graph into a model. Opset 17 and IR version 8 unless given. */
export function modelOf(graph: Graph, opset = 17, irVersion = 8): Model {
  return { graph, irVersion, opsets: new Map([['', opset]]), metadata: new Map() };
}
