import type { Graph, Node, StaticType } from '../graph.js';
import { intAttribute, intsAttribute } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { renamed } from './rename.js';

/** Operators that can be the identity: when their output has the input's type and shape (and, where listed, a condition holds). */
const candidates: Readonly<Record<string, (node: Node) => boolean>> = {
  Identity: () => true,
  Cast: () => true,
  CastLike: () => true,
  Reshape: () => true,
  Flatten: () => true,
  Squeeze: () => true,
  Unsqueeze: () => true,
  Expand: () => true,
  Tile: () => true,
  Concat: (node) => node.inputs.length === 1,
  Split: (node) => node.outputs.length === 1,
  Sum: (node) => node.inputs.length === 1,
  Transpose: (node) => intsAttribute(node, 'perm', [1, 0]).every((axis, index) => axis === index),
  AveragePool: isUnitWindow,
  MaxPool: isUnitWindow,
};

function isUnitWindow(node: Node): boolean {
  // a window of one element with stride 1 that keeps the shape has no padding either
  return (
    intsAttribute(node, 'kernel_shape', [0]).every((size) => size === 1) &&
    node.outputs.length === 1 &&
    intAttribute(node, 'ceil_mode', 0) === 0 &&
    intsAttribute(node, 'pads', []).every((size) => size === 0)
  );
}

/**
 * Without nodes that only pass their input on. Outputs of the graph keep their names: the node before takes over the name of the
 * output; only an output that is an input, a constant or another output under a second name keeps an Identity.
 */
export function dissolveIdentities(graph: Graph): { graph: Graph; removed: readonly string[] } {
  const isOutput = new Set(graph.outputs.map((output) => output.name));
  const made = new Set(graph.nodes.flatMap((node) => node.outputs));
  const alias = new Map<string, string>();
  const resolve = (name: string): string => {
    let at = name;
    for (let next = alias.get(at); next !== undefined; next = alias.get(at)) at = next;
    return at;
  };
  const removed: string[] = [];
  const kept: Node[] = [];
  const typeOf = (name: string): StaticType => staticTypeOf(graph, name);
  for (const node of graph.nodes) {
    const input = node.inputs[0] ?? '';
    const output = node.outputs[0] ?? '';
    const condition = node.domain === '' && Object.hasOwn(candidates, node.op) ? candidates[node.op] : undefined;
    const passes =
      condition?.(node) === true && input !== '' && output !== '' && sameType(typeOf(input), typeOf(output));
    if (!passes) {
      kept.push(node);
      continue;
    }
    const source = resolve(input);
    if (!isOutput.has(output)) alias.set(output, source);
    else if (made.has(source) && !isOutput.has(source)) alias.set(source, output);
    else {
      kept.push({ ...node, op: 'Identity', inputs: [input], outputs: [output], attributes: new Map() });
      continue;
    }
    removed.push(node.name);
  }
  const names = new Map([...alias.keys()].map((name) => [name, resolve(name)]));
  return { graph: { ...graph, nodes: kept.map((node) => renamed(node, names)) }, removed };
}

function sameType(a: StaticType, b: StaticType): boolean {
  return a.type === b.type && a.dims.join() === b.dims.join();
}
