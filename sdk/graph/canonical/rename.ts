import type { Attribute, Graph, Node } from '../graph.js';

/** A node with tensors renamed, also where its subgraphs read them. */
export function renamed(node: Node, names: ReadonlyMap<string, string>): Node {
  const rename = (name: string): string => names.get(name) ?? name;
  const attributes = new Map<string, Attribute>();
  for (const [key, attribute] of node.attributes) {
    attributes.set(
      key,
      attribute.kind === 'graph' ? { kind: 'graph', value: renamedInside(attribute.value, names) } : attribute,
    );
  }
  return { ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename), attributes };
}

function renamedInside(graph: Graph, names: ReadonlyMap<string, string>): Graph {
  // a name that the subgraph defines itself hides the outer one
  const own = [...graph.initializers.keys(), ...graph.nodes.flatMap((node) => node.outputs)];
  const outer = new Map(names);
  for (const name of [...own, ...graph.inputs.map((input) => input.name)]) outer.delete(name);
  return {
    ...graph,
    nodes: graph.nodes.map((node) => renamed(node, outer)),
    outputs: graph.outputs.map((output) => ({ ...output, name: outer.get(output.name) ?? output.name })),
  };
}
