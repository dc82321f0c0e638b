import { constantTensors } from '../graph/constant-tensors.js';
import type { Graph, Node, Tensor } from '../graph/graph.js';
import { pathTo } from './backward.js';
import type { Value } from './emitter.js';
import { forwardValue } from './readings.js';
import type { Scene } from './scene.js';

/** The forward pass once more, from other inputs; the constants are shared. */
export interface Copy {
  readonly graph: Graph;
  /** what a tensor of the model is called in the copy */
  readonly named: (name: string) => string;
  /** a tensor of the model in the copy */
  readonly value: (name: string) => Value;
  /** the model's node for every node of the copy */
  readonly originals: ReadonlyMap<Node, Node>;
}

const sameTensor = (a: Tensor | undefined, b: Tensor): boolean =>
  a !== undefined &&
  a.type === b.type &&
  a.dims.join() === b.dims.join() &&
  a.bytes.length === b.bytes.length &&
  // most of them are the same place in the file
  ((a.bytes.buffer === b.bytes.buffer && a.bytes.byteOffset === b.bytes.byteOffset) ||
    a.bytes.every((byte, at) => byte === b.bytes[at]));

/**
 * Writes the nodes between the inputs and the logits again. What depends on constant inputs alone goes to `main`, where the runtime
 * computes it once, at session start. `graph` is the model's own, or the same model for another batch size, whose shapes are others.
 */
export function copyOf(scene: Scene, inputs: ReadonlyMap<string, Value>, graph = scene.graph): Copy {
  const { main, body, logits } = scene;
  const path = pathTo(graph, logits);
  const names = new Map([...inputs].map(([name, value]) => [name, value.name]));
  const named = (name: string): string => names.get(name) ?? name;
  const values = new Map(graph.values);
  const originals = new Map<Node, Node>();
  const own = new Map(scene.graph.nodes.map((node) => [node.name, node]));
  const constants = new Set([...inputs.values()].flatMap(({ name, constant }) => (constant ? [name] : [])));
  for (const [name, tensor] of graph.initializers) {
    if (sameTensor(scene.graph.initializers.get(name), tensor)) continue;
    const other = main.initializer(main.name(name), tensor);
    names.set(name, other);
    values.set(other, { type: tensor.type, dims: tensor.dims });
    constants.add(other);
  }
  const isConstant = (name: string): boolean => name === '' || constants.has(name) || constantTensors(graph).has(name);
  for (const [name, value] of inputs) values.set(value.name, graph.values.get(name)!);
  const nodes = graph.nodes.map((node) => {
    if (!node.outputs.some((output) => path.has(output))) return node;
    const from = node.inputs.map(named);
    const constant = from.every(isConstant);
    const builder = constant ? main : body;
    const outputs = node.outputs.map((output) => (output === '' ? '' : builder.name(output)));
    node.outputs.forEach((output, index) => {
      if (output === '') return;
      names.set(output, outputs[index]!);
      if (constant) constants.add(outputs[index]!);
      const type = graph.values.get(output);
      if (type !== undefined) values.set(outputs[index]!, type);
    });
    const options = { name: builder.name(node.name), domain: node.domain };
    builder.nodes(node.op, from, outputs, Object.fromEntries(node.attributes), options);
    const copy = { ...node, name: options.name, inputs: from, outputs };
    const original = own.get(node.name);
    if (original !== undefined) originals.set(copy, original);
    return copy;
  });
  const renamed = graph.inputs.map((input) => ({ ...input, name: named(input.name) }));
  return {
    graph: { ...graph, inputs: renamed, nodes, values },
    named,
    value: (name) => ({ name: named(name), dims: forwardValue(graph, name).dims, constant: isConstant(named(name)) }),
    originals,
  };
}
