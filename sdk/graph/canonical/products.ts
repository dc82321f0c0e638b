import type { GraphBuilder } from '../builder.js';
import { constantTensors } from '../constant-tensors.js';
import type { Graph, Node, StaticType } from '../graph.js';
import { float, floatAttribute, int, intAttribute } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { type Writer, written } from './writer.js';

/** What is known of the graph that a product stands in. */
interface Surroundings {
  readonly isConstant: (name: string) => boolean;
  readonly typeOf: (name: string) => StaticType;
}

/** Writes the nodes that stand for a product; undefined where it is in its plain form. */
type Plain = (node: Node, surroundings: Surroundings) => ((write: Writer) => void) | undefined;

/** A MatMul of a vector, as a matrix of one row or column. */
const matMul: Plain = (node, { typeOf }) => {
  const shapes = node.inputs.map((name) => typeOf(name).dims);
  if (shapes.every((dims) => dims.length > 1)) return undefined;
  return (write) => {
    const matrices = shapes.map((dims, index) => {
      if (dims.length > 1) return node.inputs[index]!;
      return write.reshape(node.inputs[index]!, index === 0 ? [1, dims[0]!] : [dims[0]!, 1]);
    });
    const product = write.op('MatMul', matrices, {}, 'main');
    write.give(node.outputs[0], write.reshape(product, typeOf(node.outputs[0]!).dims));
  };
};

/**
 * α·op(A)·op(B) + β·C as a layer, A not transposed and B and C constant; or, where a factor that is no such layer's is computed, as a
 * product of matrices and a sum.
 */
const gemm: Plain = (node, { isConstant }) => {
  const [a, b, c = ''] = node.inputs as [string, string, string?];
  const transposedA = intAttribute(node, 'transA', 0) !== 0;
  const isLayer = isConstant(b);
  const isBiased = c !== '' && isConstant(c);
  if (isLayer && !isConstant(a) && !transposedA && (c === '' || isBiased)) return undefined;
  return (write) => {
    const alpha = floatAttribute(node, 'alpha', 1);
    const beta = floatAttribute(node, 'beta', 1);
    const scaled = (value: string, factor: number): string =>
      factor === 1 ? value : write.op('Mul', [value, write.numbers([factor])]);
    const transB = intAttribute(node, 'transB', 0);
    const left = transposedA ? write.transpose(a, [1, 0]) : a;
    let result: string;
    if (isLayer) {
      const attributes = { alpha: float(alpha), beta: float(beta), transB: int(transB) };
      result = write.op('Gemm', [left, b, ...(isBiased ? [c] : [])], attributes, 'main');
    } else {
      const right = transB === 0 ? b : write.transpose(b, [1, 0]);
      result = scaled(write.op('MatMul', [left, right], {}, 'main'), alpha);
    }
    const rest = c !== '' && !(isLayer && isBiased);
    write.give(node.outputs[0], rest ? write.op('Add', [result, scaled(c, beta)]) : result);
  };
};

/** A bias that is computed, or that of computed kernels, stands beside the convolution: one number per channel. */
const convolution: Plain = (node, { isConstant, typeOf }) => {
  const [x, w, bias = ''] = node.inputs as [string, string, string?];
  if (bias === '' || (isConstant(bias) && isConstant(w))) return undefined;
  return (write) => {
    const layer = write.op(node.op, [x, w], Object.fromEntries(node.attributes), 'main');
    const { dims } = typeOf(node.outputs[0]!);
    const shaped = write.reshape(
      bias,
      dims.slice(1).map((dim, axis) => (axis === 0 ? dim : 1)),
    );
    write.give(node.outputs[0], write.op('Add', [layer, shaped]));
  };
};

/** Bounds that are computed are a maximum and a minimum. */
const clip: Plain = (node, { isConstant }) => {
  const [x, low = '', high = ''] = node.inputs as [string, string?, string?];
  if ([low, high].every((bound) => bound === '' || isConstant(bound))) return undefined;
  return (write) => {
    const above = low === '' ? x : write.op('Max', [x, low]);
    write.give(node.outputs[0], high === '' ? above : write.op('Min', [above, high]));
  };
};

const plainForms: Readonly<Record<string, Plain>> = {
  MatMul: matMul,
  Gemm: gemm,
  Conv: convolution,
  ConvTranspose: convolution,
  Clip: clip,
};

/** Products in the forms that the compiler knows: layers with constant weights and bias, and products of matrices; likewise Clip. */
export function inPlainProducts(graph: Graph, builder: GraphBuilder): Graph {
  const constants = constantTensors(graph);
  const surroundings: Surroundings = {
    isConstant: (name) => constants.has(name),
    typeOf: (name) => staticTypeOf(graph, name),
  };
  let changed = false;
  const nodes = graph.nodes.flatMap((node) => {
    const plain = node.domain === '' && Object.hasOwn(plainForms, node.op) ? plainForms[node.op] : undefined;
    const write = constants.has(node.outputs[0]!) ? undefined : plain?.(node, surroundings);
    if (write === undefined) return [node];
    changed = true;
    return written(node, surroundings.typeOf(node.inputs[0]!).type, builder, write);
  });
  return changed ? { ...graph, nodes } : graph;
}
