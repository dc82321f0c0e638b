import type { Graph, NamedValue, Node, Tensor } from '../graph.js';
import { readsOf } from '../order.js';

/** A graph while it is rewritten node by node, in topological order: who made a tensor, and how often it is read. */
export interface Draft {
  readonly nodes: Node[];
  /** Index into `nodes` of the node that makes a tensor. */
  readonly producers: Map<string, number>;
  /** Number of reads of every tensor; being an output of the graph counts as one. */
  readonly uses: ReadonlyMap<string, number>;
}

/** Starts an empty draft of a graph: nodes are added to it with {@link addNode} in the graph's order. */
export function draftOf(graph: Graph): Draft {
  return { nodes: [], producers: new Map(), uses: usesOf(graph) };
}

/** Appends a node. */
export function addNode(draft: Draft, node: Node): void {
  for (const name of node.outputs) draft.producers.set(name, draft.nodes.length);
  draft.nodes.push(node);
}

/** Puts a node in the place of an earlier one. */
export function replaceNode(draft: Draft, index: number, node: Node): void {
  for (const name of node.outputs) draft.producers.set(name, index);
  draft.nodes[index] = node;
}

/** The node that makes a tensor which nothing else reads, with its place; `undefined` where there is none. */
export function soleSource(draft: Draft, name: string | undefined): { node: Node; index: number } | undefined {
  if (name === undefined || name === '' || draft.uses.get(name) !== 1) return undefined;
  const index = draft.producers.get(name);
  return index === undefined ? undefined : { node: draft.nodes[index]!, index };
}

/** How often every tensor of a graph is read; being an output of the graph counts as one. */
export function usesOf(graph: Graph): Map<string, number> {
  const uses = new Map<string, number>();
  const use = (name: string): unknown => uses.set(name, (uses.get(name) ?? 0) + 1);
  for (const node of graph.nodes) readsOf(node).forEach(use);
  for (const output of graph.outputs) use(output.name);
  return uses;
}

/** The node that computes each tensor. */
export function producersOf(nodes: readonly Node[]): Map<string, Node> {
  return new Map(
    nodes.flatMap((node) => node.outputs.filter((name) => name !== '').map((name) => [name, node] as const)),
  );
}

/** Without nodes that no output depends on, and without initializers that nothing reads. */
export function withoutDeadNodes(
  nodes: readonly Node[],
  initializers: ReadonlyMap<string, Tensor>,
  outputs: readonly NamedValue[],
): { nodes: Node[]; initializers: Map<string, Tensor> } {
  const needed = new Set(outputs.map((output) => output.name));
  const alive: Node[] = [];
  for (let index = nodes.length - 1; index >= 0; index--) {
    const node = nodes[index]!;
    if (!node.outputs.some((name) => needed.has(name))) continue;
    alive.push(node);
    for (const name of readsOf(node)) needed.add(name);
  }
  return {
    nodes: alive.reverse(),
    initializers: new Map([...initializers].filter(([name]) => needed.has(name))),
  };
}
