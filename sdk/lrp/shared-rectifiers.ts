import { type Graph, type Node, subgraph } from '../graph/graph.js';
import { scalarOf } from '../graph/tensors.js';
import { rectifierOf } from './vanishing.js';

/** A Clip of z between 0 and a bound, and everything else that reads z: Max(z, 0). */
interface Shared {
  readonly clip: Node;
  readonly maxima: ReadonlySet<Node>;
}

/**
 * Writes a ReLU6, whose max(0, z) the backward pass divides by, as Min(Relu(z), 6) of the Relu that both then read. z itself is no longer
 * read: the runtime has the Relu within the convolution, where a Clip beside a Max would be two more passes over z. The values are the same.
 */
export function shareRectifiers(graph: Graph): Graph {
  const found = sharedIn(graph);
  if (found.length === 0) return graph;
  const ofClip = new Map(found.map((shared) => [shared.clip, shared]));
  const gone = new Set(found.flatMap(({ maxima }) => [...maxima]));
  const renamed = new Map<string, string>();
  for (const { clip, maxima } of found) for (const { outputs } of maxima) renamed.set(outputs[0]!, rectifiedName(clip));
  const rewritten = (nodes: readonly Node[]): Node[] =>
    nodes.flatMap((node) => {
      if (gone.has(node)) return [];
      const shared = ofClip.get(node);
      if (shared !== undefined) return split(node);
      const attributes = new Map(
        [...node.attributes].map(([name, attribute]) =>
          attribute.kind === 'graph'
            ? [name, subgraph({ ...attribute.value, nodes: rewritten(attribute.value.nodes) })]
            : [name, attribute],
        ),
      );
      return [{ ...node, attributes, inputs: node.inputs.map((name) => renamed.get(name) ?? name) }];
    });
  return { ...graph, nodes: rewritten(graph.nodes) };
}

const rectifiedName = (clip: Node): string => `lrp/rectified/${clip.outputs[0]!}`;

function split(clip: Node): Node[] {
  const [z = '', , high = ''] = clip.inputs;
  const attributes = new Map();
  const rectified = rectifiedName(clip);
  return [
    { ...clip, name: rectified, op: 'Relu', inputs: [z], outputs: [rectified], attributes },
    { ...clip, op: 'Min', inputs: [rectified, high], attributes },
  ];
}

function sharedIn(graph: Graph): Shared[] {
  const readers = new Map<string, Node[]>();
  const maxima = new Set<Node>();
  const visit = (within: Graph, zeros: readonly Graph[]): void => {
    const isZero = (name: string): boolean => zeros.some((scope) => scalarOf(scope, name) === 0);
    const shown = new Set(within.outputs.map(({ name }) => name));
    for (const node of within.nodes) {
      for (const name of new Set(node.inputs)) readers.set(name, [...(readers.get(name) ?? []), node]);
      const [, zero = '', ...others] = node.inputs;
      const isMax = node.domain === '' && node.op === 'Max' && others.length === 0 && isZero(zero);
      if (isMax && !shown.has(node.outputs[0]!)) maxima.add(node);
      for (const { kind, value } of node.attributes.values()) if (kind === 'graph') visit(value, [...zeros, value]);
    }
  };
  visit(graph, [graph]);
  const shown = new Set(graph.outputs.map(({ name }) => name));
  return graph.nodes.flatMap((clip) => {
    const rectifier = rectifierOf(clip, (name) => scalarOf(graph, name));
    const [z = '', , high = ''] = clip.inputs;
    if (rectifier === undefined || rectifier.whole || clip.op !== 'Clip' || shown.has(z)) return [];
    const rank = graph.values.get(z)?.dims.length ?? 0;
    const others = (readers.get(z) ?? []).filter((node) => node !== clip);
    const isShared = others.length > 0 && others.every((node) => maxima.has(node) && node.inputs[0] === z);
    return isShared && rank >= (graph.initializers.get(high)?.dims.length ?? 0)
      ? [{ clip, maxima: new Set(others) }]
      : [];
  });
}
