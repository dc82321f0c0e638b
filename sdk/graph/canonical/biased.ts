import type { GraphBuilder } from '../builder.js';
import { intTensor } from '../builder.js';
import type { Graph, Node } from '../graph.js';
import { int, sizeOf } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { addNode, draftOf, soleSource } from './draft.js';

/**
 * A MatMul with a constant matrix, and the Add of a constant vector after it, are one layer with a bias: a Gemm, over all rows
 * between two Reshapes where the rank is 3 or more. (Of rank 2 only those whose matrix is dequantized are left to this step.)
 * Each adds a sentence to `notes`; `builder` takes the new constants.
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
    if (output.length === 2) addNode(draft, named('Gemm', [data, weights, vector], node.outputs[0]!, ''));
    else {
      addNode(draft, named('Reshape', [data, shape([rows, inner])], flat, '/rows'));
      addNode(draft, named('Gemm', [flat, weights, vector], multiplied, ''));
      addNode(draft, named('Reshape', [multiplied, shape(output)], node.outputs[0]!, '/shape'));
    }
    replaced.add(product);
    const over = output.length === 2 ? '' : ' over its rows';
    notes.push(`Add "${node.name}" was merged into the bias of MatMul "${product.name}", now a Gemm${over}.`);
  }
  return { ...graph, nodes: draft.nodes.filter((node) => !replaced.has(node)) };

  function isDequantizedConstant(name: string): boolean {
    const source = draft.nodes[draft.producers.get(name) ?? -1];
    return source?.op === 'DequantizeLinear' && source.inputs.every((input) => constantOf(input) !== undefined);
  }

  function biasedProduct(node: Node): { product: Node; bias: string } | undefined {
    if (node.op !== 'Add' || node.domain !== '') return undefined;
    for (const [data, bias] of [node.inputs, [...node.inputs].reverse()] as [string, string][]) {
      const constant = constantOf(bias);
      const product = soleSource(draft, data)?.node;
      if (constant?.type !== 'float32' || product?.op !== 'MatMul' || product.domain !== '') continue;
      const stored = constantOf(product.inputs[1]!);
      const isDequantized = stored === undefined && isDequantizedConstant(product.inputs[1]!);
      const weights = stored !== undefined || isDequantized ? staticTypeOf(graph, product.inputs[1]!) : undefined;
      const dims = staticTypeOf(graph, data).dims;
      const columns = dims.at(-1)!;
      const isVector = constant.dims.at(-1) === columns && sizeOf(constant.dims) === columns;
      if (weights?.type !== 'float32' || weights.dims.length !== 2 || !isVector) continue;
      if (dims.length < (isDequantized ? 2 : 3)) continue;
      if (constant.dims.length > dims.length || constantOf(product.inputs[0]!) !== undefined) continue;
      return { product, bias };
    }
    return undefined;
  }
}
