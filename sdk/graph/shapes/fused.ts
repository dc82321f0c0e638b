import { intAttribute } from '../graph.js';
import { broadcast, type Call, misfit, need, type ShapeRule, show } from './call.js';
import { same } from './elementwise.js';
import { gemm, product } from './linear.js';
import { conv } from './window.js';

/** How the factors of a FusedMatMul are transposed, and the shapes that they have then. */
export function fusedFactors(call: Call): { permutation: readonly number[]; dims: number[] }[] {
  return ['A', 'B'].map((factor, index) => {
    const { dims } = need(call, index);
    const axes = dims.map((_, axis) => axis);
    const last = axes.length - 1;
    if (last < 1) return { permutation: axes, dims: [...dims] };
    // transBatch: the rows stand in front of the batch axes
    const rows = intAttribute(call.node, `transBatch${factor}`, 0) !== 0;
    const ordered = rows ? [...axes.slice(1, last), 0, last] : axes;
    const isTransposed = intAttribute(call.node, `trans${factor}`, 0) !== 0;
    const permutation = isTransposed ? [...ordered.slice(0, -2), ordered[last]!, ordered[last - 1]!] : ordered;
    return { permutation, dims: permutation.map((axis) => dims[axis]!) };
  });
}

const fusedMatMul: ShapeRule = (call) => {
  const [a, b] = fusedFactors(call);
  return [{ type: need(call, 0).type, dims: product(call, a!.dims, b!.dims) }];
};

const biased: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const bias = call.inputs[1];
  if (bias !== undefined && broadcast(call, [dims, bias.dims]).join() !== dims.join()) {
    throw misfit(call, `the bias ${show(bias.dims)} does not broadcast to ${show(dims)}`);
  }
  return [{ type, dims }];
};

const skipNormalization: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  if (broadcast(call, [dims, need(call, 1).dims]).join() !== dims.join()) {
    throw misfit(call, `the skip ${show(need(call, 1).dims)} does not broadcast to ${show(dims)}`);
  }
  const statistics = { type: 'float32' as const, dims: dims.map((dim, axis) => (axis < dims.length - 1 ? dim : 1)) };
  return [{ type, dims }, statistics, statistics, { type, dims }];
};

/** What ONNX Runtime's optimizer puts together. */
export const fusedShapes: Readonly<Record<string, ShapeRule>> = {
  'com.microsoft.FusedConv': conv,
  'com.microsoft.FusedGemm': gemm,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.TransposeMatMul': fusedMatMul,
  'com.microsoft.Gelu': same,
  'com.microsoft.BiasGelu': biased,
  'com.microsoft.FastGelu': biased,
  'com.microsoft.QuickGelu': same,
  'com.microsoft.SkipLayerNormalization': skipNormalization,
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNormalization,
};
