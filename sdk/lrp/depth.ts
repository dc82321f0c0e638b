import type { Graph, Node } from '../graph/graph.js';
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

/** Whether a node is a layer with weights. */
type IsWeighted = (node: Node) => boolean;

/** Per tensor, the weighted layers on the longest path that ends in it. */
function layersBefore(graph: Graph, isWeighted: IsWeighted): ReadonlyMap<string, number> {
  const before = new Map<string, number>();
  for (const node of graph.nodes) {
    const depth = Math.max(0, ...node.inputs.map((input) => before.get(input) ?? 0));
    for (const output of node.outputs) before.set(output, depth + (isWeighted(node) ? 1 : 0));
  }
  return before;
}

const depthOf = (node: Node, before: ReadonlyMap<string, number>): number =>
  Math.max(0, ...node.inputs.map((input) => before.get(input) ?? 0));

/** Finds first, last and depth of the nodes that `isWeighted` names, over a graph in topological order. */
export function layerOrder(graph: Graph, isWeighted: IsWeighted): LayerOrder {
  const before = layersBefore(graph, isWeighted);
  const depths = new Map(graph.nodes.filter(isWeighted).map((node) => [node, depthOf(node, before)] as const));
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

/** The depth that `flatBelow` means; −1 where the decomposition goes on to the input. */
function lastFlatDepth(order: LayerOrder, flatBelow: number | string | undefined): number {
  if (flatBelow === undefined) return -1;
  if (typeof flatBelow === 'number') return flatBelow;
  for (const [node, { depth }] of order) {
    if (node.name === flatBelow || node.outputs.includes(flatBelow)) return depth;
  }
  const names = [...order.keys()].map((node) => node.name);
  return invalid(
    'flatBelow',
    `names "${flatBelow}", which is no layer with weights on the way to the explained output; there are ${names.join(', ')}`,
  );
}

/** The nodes at or below the depth where the decomposition ends (thesis 5.4.2), whether they have weights or not. */
export function flatNodes(graph: Graph, order: LayerOrder, flatBelow: number | string | undefined): ReadonlySet<Node> {
  const last = lastFlatDepth(order, flatBelow);
  if (last < 0) return new Set();
  const before = layersBefore(graph, (node) => order.has(node));
  return new Set(graph.nodes.filter((node) => depthOf(node, before) <= last));
}
