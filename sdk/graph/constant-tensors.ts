import type { Graph } from './graph.js';

const known = new WeakMap<Graph, ReadonlySet<string>>();

/**
 * The tensors that no input of the model reaches: initializers, and what nodes make of them (canonicalization leaves the
 * dequantization of integer weights standing, so that the runtime can keep its integer kernels).
 */
export function constantTensors(graph: Graph): ReadonlySet<string> {
  const found = known.get(graph);
  if (found !== undefined) return found;
  const constants = new Set(graph.initializers.keys());
  for (const node of graph.nodes) {
    if (node.inputs.every((input) => input === '' || constants.has(input))) {
      for (const output of node.outputs) constants.add(output);
    }
  }
  known.set(graph, constants);
  return constants;
}
