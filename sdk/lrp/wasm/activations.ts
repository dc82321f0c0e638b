import { createBuilder } from '../../graph/builder.js';
import { producersOf, usesOf } from '../../graph/canonical/draft.js';
import type { Graph, Node } from '../../graph/graph.js';
import { readsOf } from '../../graph/order.js';

/** Layers that the runtime computes a ReLU or a Clip within. */
const TAKING_IN = new Set(['Conv', 'Gemm']);

/**
 * Writes a Relu or Clip that stands alone as Max and Min, for which the runtime has vector instructions: signs that nobody can foretell
 * cost the others up to 3 ns an element, these 0.2. What a layer before it or a QuantizeLinear after it takes in stays as it is.
 */
export function vectorActivations(graph: Graph): Graph {
  const uses = usesOf(graph);
  const producers = producersOf(graph.nodes);
  const rounded = new Set(graph.nodes.flatMap((node) => (node.op === 'QuantizeLinear' ? readsOf(node) : [])));
  const builder = createBuilder({ ...graph, nodes: [], inputs: [], outputs: [] }, 'lrp/activations/');
  const isAlone = (node: Node): boolean => {
    const [input = ''] = node.inputs;
    const before = producers.get(input);
    const within = before !== undefined && TAKING_IN.has(before.op) && uses.get(input) === 1;
    return !within && !(rounded.has(node.outputs[0]!) && uses.get(node.outputs[0]!) === 1);
  };
  const written = (
    op: string,
    node: Node,
    inputs: readonly string[],
    output = builder.name(op.toLowerCase()),
  ): Node => ({
    ...node,
    ...{ op, name: output === node.outputs[0] ? node.name : output, inputs, outputs: [output], attributes: new Map() },
  });
  const nodes = graph.nodes.flatMap((node): readonly Node[] => {
    const isActivation = node.domain === '' && (node.op === 'Relu' || node.op === 'Clip');
    if (!isActivation || graph.values.get(node.inputs[0]!)?.type !== 'float32' || !isAlone(node)) return [node];
    const [input, low = '', high = ''] = node.op === 'Relu' ? [node.inputs[0]!, builder.floats([0])] : node.inputs;
    const [output] = node.outputs;
    if (low === '') return high === '' ? [node] : [written('Min', node, [input!, high], output)];
    if (high === '') return [written('Max', node, [input!, low], output)];
    const above = written('Max', node, [input!, low]);
    return [above, written('Min', node, [above.outputs[0]!, high], output)];
  });
  return { ...graph, nodes, initializers: builder.graph.initializers };
}
