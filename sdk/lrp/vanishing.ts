import type { Node } from '../graph/graph.js';
import type { RuleName } from './composite.js';
import type { NodeRule } from './resolve.js';

/** Rules whose messages are shares x_i·w of something: an input of 0 is given 0. */
const SHARES: ReadonlySet<RuleName> = new Set(['epsilon', 'z', 'alpha-beta', 'z-plus', 'gamma', 'norm']);
const SHARING = new Set([
  ...['Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'Add', 'Sum', 'Sub'],
  ...['AveragePool', 'GlobalAveragePool', 'ReduceMean', 'ReduceSum'],
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
export function vanishesWithValue(node: Node, rule: NodeRule | undefined, arriving: boolean): boolean {
  if (rule !== undefined && rule.bias !== 'distribute' && SHARING.has(node.op) && SHARES.has(rule.name)) return true;
  return arriving && KEEPING.has(node.op) && rule?.name !== 'gradient' && rule?.name !== 'flat';
}
