import type { GraphBuilder } from '../builder.js';
import type { Graph, Node } from '../graph.js';
import { numbersOf, tensorOf } from '../tensors.js';

/** Lowest float32: a softmax makes of it what it makes of −∞, which is nothing. */
const LOWEST = -3.4028234663852886e38;

/**
 * Masks of −∞ that are added to the scores under a softmax, as the lowest finite number: shares of an infinite sum would be no numbers.
 * What else the sum is read by keeps it infinite.
 */
export function withFiniteMasks(graph: Graph, builder: GraphBuilder): Graph {
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  let changed = false;
  const nodes = graph.nodes.map((node) => {
    const [output] = node.outputs as [string];
    const read = readers.get(output) ?? [];
    const isUnderSoftmax = !outputs.has(output) && read.length > 0 && read.every(({ op }) => op === 'Softmax');
    if (node.op !== 'Add' || node.domain !== '' || !isUnderSoftmax) return node;
    const inputs = node.inputs.map((name) => {
      const mask = graph.initializers.get(name);
      const values = mask?.type === 'float32' ? numbersOf(mask) : undefined;
      if (mask === undefined || values?.includes(Number.NEGATIVE_INFINITY) !== true) return name;
      changed = true;
      const finite = values.map((value) => Math.max(value, LOWEST));
      return builder.initializer(builder.name(name), tensorOf('float32', mask.dims, finite));
    });
    return { ...node, inputs };
  });
  return changed ? { ...graph, nodes } : graph;
}
