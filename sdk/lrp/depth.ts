import type { Graph, Node } from '../graph/graph.js';
import type { CompositeEntry } from './composite.js';
import { invalid } from './invalid.js';

/** Where a weighted layer stands among the others. */
export interface LayerPlace {
  /** weighted layers before it on the longest path from an input; 0 = input side */
  readonly depth: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** The place of every weighted layer; other nodes are not in it. */
export type LayerOrder = ReadonlyMap<Node, LayerPlace>;

/** Finds first, last and depth of the nodes that `isWeighted` names, over a graph in topological order. */
export function layerOrder(graph: Graph, isWeighted: (node: Node) => boolean): LayerOrder {
  // per tensor: weighted layers on the longest path that ends in it
  const before = new Map<string, number>();
  const depths = new Map<Node, number>();
  for (const node of graph.nodes) {
    const depth = Math.max(0, ...node.inputs.map((input) => before.get(input) ?? 0));
    const weighted = isWeighted(node);
    if (weighted) depths.set(node, depth);
    for (const output of node.outputs) before.set(output, depth + (weighted ? 1 : 0));
  }
  const followed = new Set<string>();
  const last = new Set<Node>();
  for (const node of [...graph.nodes].reverse()) {
    const weighted = depths.has(node);
    const hasFollower = node.outputs.some((output) => followed.has(output));
    if (weighted && !hasFollower) last.add(node);
    if (weighted || hasFollower) for (const input of node.inputs) followed.add(input);
  }
  return new Map(
    [...depths].map(([node, depth]) => [node, { depth, first: depth === 0, last: last.has(node) }] as const),
  );
}

/** The entry that stands before all others where the decomposition ends at `flatBelow` (thesis 5.4.2). */
export function flatEntries(order: LayerOrder, flatBelow: number | string | undefined): readonly CompositeEntry[] {
  if (flatBelow === undefined) return [];
  if (typeof flatBelow === 'number') return [{ match: { depth: [0, flatBelow] }, rule: 'flat' }];
  for (const [node, { depth }] of order) {
    if (node.name === flatBelow || node.outputs.includes(flatBelow)) {
      return [{ match: { depth: [0, depth] }, rule: 'flat' }];
    }
  }
  const names = [...order.keys()].map((node) => node.name);
  return invalid(
    'flatBelow',
    `names "${flatBelow}", which is no layer with weights on the way to the explained output; there are ${names.join(', ')}`,
  );
}
