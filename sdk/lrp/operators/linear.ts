import { UnsupportedOperatorError, WhylightError } from '../../errors.js';
import type { Node } from '../../graph/graph.js';
import type { LinearRuleName } from '../composite.js';
import type { Emitter, Value } from '../emitter.js';
import type { LinearLayer } from '../linear.js';
import { alphaBetaRule } from '../rules/alpha-beta.js';
import { epsilonRule } from '../rules/epsilon.js';
import { flatRule } from '../rules/flat.js';
import { gammaRule } from '../rules/gamma.js';
import { gradientRule } from '../rules/gradient.js';
import { wSquareRule } from '../rules/w-square.js';
import { zBoxRule } from '../rules/z-box.js';
import { bilinear } from './attention.js';
import { convolutionLayer, transposedConvolutionLayer } from './convolution.js';
import { correlation } from './correlation.js';
import { gemmLayer, matMulLayer } from './matrix.js';
import { arriving, type NodeContext, type OperatorSupport, required } from './operator.js';

const LINEAR_RULES: readonly LinearRuleName[] = [
  'epsilon',
  'z',
  'alpha-beta',
  'z-plus',
  'gamma',
  'flat',
  'w-square',
  'z-box',
  'gradient',
];

/** One bound of the z-box as a value that broadcasts to the layer's input: per channel (axis 1) where several are given. */
function bound(context: NodeContext, layer: LinearLayer, which: 'low' | 'high'): Value {
  const { emit, node, rule } = context;
  const at = node.inputs.findIndex((_, index) => context.wants(index));
  const given = rule[which] ?? context.range(node.inputs[at] ?? '')?.[which === 'low' ? 0 : 1];
  if (given === undefined) {
    throw new WhylightError(
      'COMPOSITE_INVALID',
      `Rule "z-box" at node "${node.name}" needs "low" and "high": give them in the composite, or the input's range.`,
      { details: { node: node.name, field: which } },
    );
  }
  const list = typeof given === 'number' ? [given] : given;
  if (list.length === 1) return emit.scalar(list[0]!);
  const channels = layer.input.dims[1];
  if (list.length !== channels) {
    throw new WhylightError(
      'COMPOSITE_INVALID',
      `Rule "z-box" at node "${node.name}" has ${list.length} values of "${which}" for ${channels ?? 0} channels.`,
      { details: { node: node.name, field: which } },
    );
  }
  return emit.constant(list, [1, channels, ...layer.input.dims.slice(2).map(() => 1)]);
}

function applyRule(layer: LinearLayer, relevance: Value, context: NodeContext): Value {
  const { rule } = context;
  switch (rule.name) {
    case 'z':
    case 'epsilon':
      return epsilonRule(layer, relevance, context, rule);
    case 'alpha-beta':
    case 'z-plus':
      return alphaBetaRule(layer, relevance, context, rule);
    case 'gamma':
      return gammaRule(layer, relevance, context, rule);
    case 'flat':
      return flatRule(layer, relevance, context, rule);
    case 'w-square':
      return wSquareRule(layer, relevance, context, rule);
    case 'z-box':
      return zBoxRule(layer, relevance, context, {
        low: bound(context, layer, 'low'),
        high: bound(context, layer, 'high'),
      });
    default:
      return gradientRule(layer, relevance, context, rule);
  }
}

function weightsOf(context: NodeContext, index: number): Value {
  const value = required(context, index);
  if (value.constant) return value;
  const { node } = context;
  throw new UnsupportedOperatorError(node.name, node.op, `input ${index} ("${value.name}") is not a constant.`);
}

function optionalConstant(context: NodeContext, index: number): Value | undefined {
  return context.inputs[index] === undefined ? undefined : weightsOf(context, index);
}

/**
 * A product by a matrix reads its own z even where that has to be computed again. On the reference networks, what the next layer sees
 * instead moves relevance by up to 3 % of its maximum for dense layers, whose few units weigh much, and by less than 0.4 % for
 * convolutions, which are what computing twice would cost.
 */
const exactly = (context: NodeContext): NodeContext => ({ ...context, quantized: undefined });

/** Builds the layer of a node from its activation, weights and bias. */
type LayerOf = (
  emit: Emitter,
  node: Node,
  operands: readonly [input: Value, weights: Value, bias: Value | undefined],
  output: Value,
  nonNegative: boolean,
) => LinearLayer;

/** An operator with an activation, constant weights and an optional constant bias as its inputs. */
const layered = (
  layerOf: LayerOf,
  adapted: (context: NodeContext) => NodeContext = (context) => context,
): OperatorSupport => ({
  family: 'Linear layers',
  rules: LINEAR_RULES,
  source: 'thesis 2.10–2.28',
  evenly: 'rule',
  rescale: 'linear',
  weighted: () => true,
  explain(context) {
    const { emit, node, outputs } = context;
    const x = required(context, 0);
    const operands = [x, weightsOf(context, 1), optionalConstant(context, 2)] as const;
    const layer = layerOf(emit, node, operands, outputs[0]!, context.nonNegative(node.inputs[0]!));
    return [applyRule(layer, arriving(context), adapted(context))];
  },
});

const gemm = layered(gemmLayer, exactly);

/** A convolution, whose kernels may be computed. */
const convolving = (layerOf: LayerOf): OperatorSupport => ({
  ...layered(layerOf),
  source: 'thesis 2.10–2.28; computed kernels in halves after Achtibat et al. 2024',
  limits: 'computed kernels know epsilon, z and gradient',
  variant: (node, isConstant) => (isConstant(node.inputs[1]!) ? undefined : correlation),
  weighted: (node, isConstant) => isConstant(node.inputs[1]!),
});

const matMul: OperatorSupport = {
  ...gemm,
  limits: 'two activations know epsilon, z, pass and gradient',
  source: 'thesis 2.10–2.28; two activations in halves after Achtibat et al. 2024',
  variant: (node, isConstant) => (node.inputs.some(isConstant) ? undefined : bilinear),
  weighted: (node: Node, isConstant) => node.inputs.some(isConstant),
  explain(context) {
    const { node } = context;
    const a = required(context, 0);
    const b = required(context, 1);
    const side = b.constant ? 'right' : 'left';
    const [x, w] = b.constant ? [a, b] : [b, a];
    if (!w.constant) throw new UnsupportedOperatorError(node.name, node.op, 'neither side is a constant.');
    const isNonNegative = context.nonNegative(node.inputs[b.constant ? 0 : 1]!);
    const layer = matMulLayer(context.emit, x, w, side, context.outputs[0]!, isNonNegative);
    const relevance = applyRule(layer, arriving(context), exactly(context));
    return b.constant ? [relevance] : [undefined, relevance];
  },
};

/** Conv, ConvTranspose, Gemm and MatMul with constants. */
export const linearOperators: Readonly<Record<string, OperatorSupport>> = {
  Conv: convolving(convolutionLayer),
  ConvTranspose: convolving(transposedConvolutionLayer),
  Gemm: gemm,
  MatMul: matMul,
};
