import { createBuilder, intTensor } from '../graph/builder.js';
import type { Graph } from '../graph/graph.js';

/** The size in bytes from which zeros are not stored: a node takes a hundred or so itself. */
const LEAST_BYTES = 1024;

/**
 * The graph with ConstantOfShape in the place of large float32 constants that are all 0, such as what pads channels. Folding made them
 * as large as an activation, and they cannot be rounded to less.
 */
export function withoutStoredZeros(graph: Graph): Graph {
  const builder = createBuilder({ ...graph, nodes: [] });
  const stored = new Map(graph.initializers);
  const isOutput = new Set(graph.outputs.map(({ name }) => name));
  for (const [name, { type, dims, bytes }] of graph.initializers) {
    if (type !== 'float32' || bytes.length < LEAST_BYTES || isOutput.has(name) || bytes.some((byte) => byte !== 0)) {
      continue;
    }
    stored.delete(name);
    const shape = builder.name(`${name}/shape`);
    stored.set(shape, intTensor(dims));
    builder.node('ConstantOfShape', [shape], {}, { outputs: [name] });
  }
  return { ...graph, nodes: [...builder.graph.nodes, ...graph.nodes], initializers: stored };
}
