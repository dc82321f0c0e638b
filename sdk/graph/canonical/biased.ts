import type { GraphBuilder } from '../builder.js';
import { intTensor } from '../builder.js';
import type { Graph, Node } from '../graph.js';
import { int, sizeOf } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { addNode, draftOf, soleSource } from './draft.js';

/**
 * A MatMul of rank 3 or more with a constant matrix, and the Add of a constant vector after it, are one layer with a bias: they
 * become a Gemm over all rows between two Reshapes. Each adds a sentence to `notes`; `builder` takes the new constants.
 */
export function mergeBiasedProducts(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const draft = draftOf(graph);
  const replaced = new Set<Node>();
  const constantOf = (name: string) => builder.graph.initializers.get(name);
  for (const node of graph.nodes) {
    const layer = biasedProduct(node);
    if (layer === undefined) {
      addNode(draft, node);
      continue;
    }
    const { product, bias } = layer;
    const [data, weights] = product.inputs as [string, string];
    const output = staticTypeOf(graph, product.outputs[0]!).dims;
    const columns = output.at(-1)!;
    const inner = staticTypeOf(graph, data).dims.at(-1)!;
    const rows = sizeOf(output) / columns;
    const shape = (dims: readonly number[]) => builder.initializer(builder.name('rows'), intTensor(dims));
    const named = (op: string, inputs: string[], out: string, suffix: string): Node => ({
      ...{ op, domain: '', name: `${product.name}${suffix}`, inputs, outputs: [out] },
      attributes: new Map(op === 'Gemm' ? [['transB', int(0)] as const] : []),
    });
    const [flat, multiplied] = [builder.name(`${data}/rows`), builder.name(`${product.outputs[0]!}/rows`)];
    const vector = builder.initializer(builder.name(`${product.name}.bias`), { ...constantOf(bias)!, dims: [columns] });
    addNode(draft, named('Reshape', [data, shape([rows, inner])], flat, '/rows'));
    addNode(draft, named('Gemm', [flat, weights, vector], multiplied, ''));
    addNode(draft, named('Reshape', [multiplied, shape(output)], node.outputs[0]!, '/shape'));
    replaced.add(product);
    notes.push(`Add "${node.name}" was merged into the bias of MatMul "${product.name}", now a Gemm over its rows.`);
  }
  return { ...graph, nodes: draft.nodes.filter((node) => !replaced.has(node)) };

  function biasedProduct(node: Node): { product: Node; bias: string } | undefined {
    if (node.op !== 'Add' || node.domain !== '') return undefined;
    for (const [data, bias] of [node.inputs, [...node.inputs].reverse()] as [string, string][]) {
      const constant = constantOf(bias);
      const product = soleSource(draft, data)?.node;
      if (constant?.type !== 'float32' || product?.op !== 'MatMul' || product.domain !== '') continue;
      const weights = constantOf(product.inputs[1]!);
      const dims = staticTypeOf(graph, data).dims;
      const columns = dims.at(-1)!;
      const isVector = constant.dims.at(-1) === columns && sizeOf(constant.dims) === columns;
      if (weights?.type !== 'float32' || weights.dims.length !== 2 || dims.length < 3 || !isVector) continue;
      if (constant.dims.length > dims.length || constantOf(product.inputs[0]!) !== undefined) continue;
      return { product, bias };
    }
    return undefined;
  }
}
