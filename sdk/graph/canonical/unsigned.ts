import type { GraphBuilder } from '../builder.js';
import type { Graph, Node } from '../graph.js';
import { readsOf } from '../order.js';
import { numbersOf, tensorOf } from '../tensors.js';

/**
 * Activations quantized to int8 become uint8 with a zero point 128 higher: the same steps under other numbers, for which ONNX Runtime
 * has the faster kernels (it does so by itself, but not where an integer is read twice). Adds a sentence to `notes`.
 */
export function unsignedActivations(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of readsOf(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const shifted = new Map<Node, Node>();
  const withZero = (node: Node, zero: string): Node => ({ ...node, inputs: [...node.inputs.slice(0, 2), zero] });
  for (const node of graph.nodes) {
    const [integers] = node.outputs;
    if (node.op !== 'QuantizeLinear' || node.domain !== '' || integers === undefined || outputs.has(integers)) continue;
    const zero = graph.initializers.get(node.inputs[2] ?? '');
    const ends = readers.get(integers) ?? [];
    const isPlain = (end: Node): boolean =>
      end.op === 'DequantizeLinear' && end.domain === '' && end.inputs[0] === integers && end.inputs.length === 3;
    if (zero?.type !== 'int8' || !ends.every(isPlain)) continue;
    const points = ends.map((end) => graph.initializers.get(end.inputs[2]!));
    if (points.some((point) => point?.type !== 'int8')) continue;
    const higher = (name: string): string => {
      const value = graph.initializers.get(name)!;
      const point = tensorOf(
        'uint8',
        value.dims,
        numbersOf(value).map((number) => number + 128),
      );
      return builder.initializer(builder.name(`${name}/unsigned`), point);
    };
    shifted.set(node, withZero(node, higher(node.inputs[2]!)));
    for (const end of ends) shifted.set(end, withZero(end, higher(end.inputs[2]!)));
  }
  if (shifted.size === 0) return graph;
  notes.push('Activations of int8 were written as uint8 with zero points 128 higher.');
  return { ...graph, nodes: graph.nodes.map((node) => shifted.get(node) ?? node) };
}
