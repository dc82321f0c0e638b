import { createBuilder } from '../graph/builder.js';
import { dataTypeCode } from '../graph/data-types.js';
import type { Graph } from '../graph/graph.js';
import { int } from '../graph/graph.js';
import { numbersOf, tensorOf } from '../graph/tensors.js';

/** The size in bytes from which a Cast is smaller than what it saves. */
const LEAST_BYTES = 1024;

/** The largest number of half precision. */
const LARGEST_HALF = 65504;

/**
 * The graph with its float32 weights stored in half precision, behind a Cast that every runtime folds: for models that had them so. Scales,
 * which are lists, stay exact.
 */
export function withHalfWeights(graph: Graph): Graph {
  const builder = createBuilder({ ...graph, nodes: [] });
  const stored = new Map(graph.initializers);
  const isOutput = new Set(graph.outputs.map(({ name }) => name));
  for (const [name, tensor] of graph.initializers) {
    const { type, dims, bytes } = tensor;
    if (type !== 'float32' || dims.length < 2 || bytes.length < LEAST_BYTES || isOutput.has(name)) continue;
    const values = numbersOf(tensor);
    // also NaN, which no comparison holds for
    if (!values.every((value) => Math.abs(value) <= LARGEST_HALF)) continue;
    stored.delete(name);
    const half = builder.name(`${name}/float16`);
    stored.set(half, tensorOf('float16', dims, values));
    builder.node('Cast', [half], { to: int(dataTypeCode('float32')) }, { outputs: [name] });
  }
  return { ...graph, nodes: [...builder.graph.nodes, ...graph.nodes], initializers: stored };
}
