import { constantTensors } from '../graph/constant-tensors.js';
import type { Graph, Node } from '../graph/graph.js';
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
  readonly originals: ReadonlyMap<Node, Node>;
}

/**
 * Writes the nodes between the inputs and the logits again. What depends on constant inputs alone goes to `main`, where the runtime
 * computes it once, at session start.
 */
export function copyOf({ graph, main, body, logits }: Scene, inputs: ReadonlyMap<string, Value>): Copy {
  const path = pathTo(graph, logits);
  const names = new Map([...inputs].map(([name, value]) => [name, value.name]));
  const named = (name: string): string => names.get(name) ?? name;
  const values = new Map(graph.values);
  const originals = new Map<Node, Node>();
  const constants = new Set([...inputs.values()].flatMap(({ name, constant }) => (constant ? [name] : [])));
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
    originals.set(copy, node);
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
