import type { Node } from '../graph/graph.js';
import type { RuleName } from './composite.js';
import type { NodeRule } from './resolve.js';

/** Rules whose messages are shares x_i·w of something: an input of 0 is given 0. */
const SHARES: ReadonlySet<RuleName> = new Set(['epsilon', 'z', 'alpha-beta', 'z-plus', 'gamma', 'norm']);
const SHARING = new Set([
  ...['Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'Add', 'Sum', 'Sub'],
  ...['AveragePool', 'GlobalAveragePool', 'ReduceMean', 'ReduceSum', 'BatchNormalization'],
]);
/** Operators that give 0 for 0 and hand relevance on place by place, or to places of the same value. */
const KEEPING = new Set([
  ...['QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'Relu', 'LeakyRelu', 'PRelu', 'HardSwish', 'Mul'],
  ...['MaxPool', 'GlobalMaxPool', 'ReduceMax', 'Identity', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose'],
  ...['Concat', 'Split', 'Slice', 'Pad', 'DepthToSpace', 'SpaceToDepth'],
]);

/**
 * Whether the relevance that a node gives its inputs is 0 wherever their value is 0; `arriving` says whether that is so at its outputs.
 * It is what makes a unit that quantization has clipped to 0 harmless as a denominator: there is nothing to divide.
 */
export function vanishesWithValue(
  node: Node,
  rule: NodeRule | undefined,
  arriving: boolean,
  rectifier: Rectifier | undefined,
): boolean {
  if (rule !== undefined && SHARING.has(node.op) && SHARES.has(rule.name)) {
    // a BatchNormalization passes relevance on as it is where its shift absorbs none
    if (node.op === 'BatchNormalization' ? rule.bias === 'absorb' : rule.bias !== 'distribute') return true;
  }
  return (
    arriving && (KEEPING.has(node.op) || rectifier !== undefined) && rule?.name !== 'gradient' && rule?.name !== 'flat'
  );
}

/** A unit that lets positive values through alone: max(0, z), cut above at some bound or not. */
export interface Rectifier {
  /** its output */
  readonly output: string;
  /** whether the output is max(0, z) itself */
  readonly whole: boolean;
}

/** A node as a rectifier: a ReLU, or a Clip from 0 on; `constant` gives the number that a constant of one element holds. */
export function rectifierOf(node: Node, constant: (name: string) => number | undefined): Rectifier | undefined {
  if (node.domain !== '') return undefined;
  if (node.op === 'Relu') return { output: node.outputs[0]!, whole: true };
  if (node.op !== 'Clip' || constant(node.inputs[1] ?? '') !== 0) return undefined;
  const high = node.inputs[2] ?? '';
  if (high !== '' && !((constant(high) ?? 0) > 0)) return undefined;
  return { output: node.outputs[0]!, whole: high === '' };
}
