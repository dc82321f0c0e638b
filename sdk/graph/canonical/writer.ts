import type { GraphBuilder } from '../builder.js';
import type { Attribute, DataType, Node, Tensor } from '../graph.js';
import { tensorOf } from '../tensors.js';

/** Writes the nodes that stand for one node. Values are names of tensors. */
export interface Writer {
  /** Adds a node and returns its output. The first that `main` marks keeps the name of the node that is written out, which composites match. */
  op(op: string, inputs: readonly string[], attributes?: Readonly<Record<string, Attribute>>, main?: 'main'): string;
  /** Adds a node with several outputs. */
  ops(
    op: string,
    inputs: readonly string[],
    count: number,
    attributes?: Readonly<Record<string, Attribute>>,
    main?: 'main',
  ): string[];
  /** A constant of the floating-point type that the node computes in; one value without `dims` is a scalar. */
  numbers(values: ArrayLike<number>, dims?: readonly number[]): string;
  /** Any other constant. */
  tensor(value: Tensor): string;
  /** A constant of int64. */
  ints(values: readonly number[], dims?: readonly number[]): string;
  reshape(value: string, dims: readonly number[]): string;
  transpose(value: string, permutation: readonly number[]): string;
  /** The elements from `start` to `end` (exclusive) of an axis. */
  slice(value: string, axis: number, start: number, end: number): string;
  /** Says that `value` is what the node gives as `output`; an output that is not used is ''. */
  give(output: string | undefined, value: string): void;
}

/** The nodes that `write` puts in the place of `node`, which computes in `type`. */
export function written(
  node: Node,
  type: DataType,
  builder: GraphBuilder,
  write: (writer: Writer) => void,
): readonly Node[] {
  const nodes: Node[] = [];
  const given = new Map<string, string>();
  const writer: Writer = {
    op: (op, inputs, attributes, main) => writer.ops(op, inputs, 1, attributes, main)[0]!,
    ops(op, inputs, count, attributes = {}, main) {
      const outputs = Array.from({ length: count }, () => builder.name(`${node.name}/${op.toLowerCase()}`));
      const isFirst = main !== undefined && !nodes.some((own) => own.name === node.name);
      const name = isFirst ? node.name : outputs[0]!;
      nodes.push({ op, domain: '', name, inputs, outputs, attributes: new Map(Object.entries(attributes)) });
      return outputs;
    },
    numbers: (values, dims = values.length === 1 ? [] : [values.length]) => writer.tensor(tensorOf(type, dims, values)),
    tensor: (value) => builder.initializer(builder.name(`${node.name}/constant`), value),
    ints: (values, dims) => builder.ints(values, dims),
    reshape: (value, dims) => writer.op('Reshape', [value, builder.ints(dims)]),
    transpose: (value, permutation) =>
      permutation.every((axis, index) => axis === index)
        ? value
        : writer.op('Transpose', [value], { perm: { kind: 'ints', value: permutation } }),
    slice: (value, axis, start, end) =>
      writer.op('Slice', [value, builder.ints([start]), builder.ints([end]), builder.ints([axis])]),
    give(output, value) {
      if (output === undefined || output === '') return;
      const isOwn = nodes.some((own) => own.outputs.includes(value));
      if (isOwn && !given.has(value)) given.set(value, output);
      else {
        nodes.push({
          ...{ op: 'Identity', domain: '', name: output, inputs: [value], outputs: [output], attributes: new Map() },
        });
      }
    },
  };
  write(writer);
  const rename = (name: string): string => given.get(name) ?? name;
  return nodes.map((own) => ({ ...own, inputs: own.inputs.map(rename), outputs: own.outputs.map(rename) }));
}
