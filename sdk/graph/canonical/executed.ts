import type { DataType, Graph, Node } from '../graph.js';
import { sortNodes } from '../order.js';
import { producersOf } from './draft.js';

const INTEGERS: ReadonlySet<DataType> = new Set(['uint8', 'int8', 'uint16', 'int16', 'uint4', 'int4']);
const STEPS = new Set(['QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear']);

/**
 * The canonical graph as it is to run on a CPU: whatever `original` computes by layers on integers (QLinearConv, MatMulInteger with
 * the Cast and Mul after it, MatMulNBits …) is computed by those very nodes. Names of tensors mean the same in both graphs; the
 * float32 layers that stand for the integer layers are still there, and run only if something reads what they alone compute.
 */
export function withOwnIntegerLayers(canonical: Graph, original: Graph): Graph {
  const producers = producersOf(original.nodes);
  const known = new Set([...canonical.initializers.keys(), ...canonical.inputs.map(({ name }) => name)]);
  for (const node of canonical.nodes) for (const name of node.outputs) known.add(name);

  /** The nodes of the original that compute a tensor from tensors of the canonical graph, in order. */
  const chainOf = (name: string): readonly Node[] => {
    const chain = new Set<Node>();
    const visit = (tensor: string, isEnd: boolean): void => {
      const node = producers.get(tensor);
      if (node === undefined || chain.has(node) || (!isEnd && known.has(tensor))) return;
      for (const input of node.inputs) visit(input, false);
      chain.add(node);
    };
    visit(name, true);
    return [...chain];
  };
  // what is stored in blocks or in 4 bits the runtime has its own kernels for
  const isPacked = (node: Node): boolean => {
    const type = original.values.get(node.inputs[0] ?? '')?.type;
    return node.op === 'DequantizeLinear' && (node.attributes.has('block_size') || type === 'int4' || type === 'uint4');
  };
  const onIntegers = (node: Node): boolean =>
    (!STEPS.has(node.op) || isPacked(node)) &&
    node.inputs.some((input) => INTEGERS.has(original.values.get(input)?.type ?? 'float32'));

  const nodes = new Set<Node>();
  for (const node of canonical.nodes) {
    const [output] = node.outputs;
    const own = output === undefined ? undefined : producers.get(output);
    const chain = own === undefined || own === node ? [] : chainOf(output!);
    for (const part of chain.some(onIntegers) ? chain : [node]) nodes.add(part);
  }
  return {
    ...canonical,
    nodes: sortNodes([...nodes]),
    initializers: new Map([...original.initializers, ...canonical.initializers]),
    values: new Map([...original.values, ...canonical.values]),
  };
}
