import { floatAttribute, intAttribute, intsAttribute, sizeOf } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { outputDenominator, relevanceQuotient, stableQuotient } from '../linear.js';
import { toItsPlace } from './evenly.js';
import { localResponseNormalization } from './local-response.js';
import { signOf } from './norms.js';
import { arriving, fromFront, type NodeContext, type OperatorSupport, required } from './operator.js';
import { atReference } from './rescale.js';

/** A BatchNormalization that could not be merged: x·s·R / z (thesis 2.54), z = s·x + b as the forward pass computed it. */
const batchNormalization: OperatorSupport = {
  family: 'Normalisation',
  rescale: 'linear',
  rules: ['z', 'epsilon', 'pass', 'gradient'],
  source: 'thesis 2.54 where it stands alone; merged into its linear layer where that is exact',
  evenly: toItsPlace,
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = arriving(context);
    if (rule.name === 'pass' || (rule.name !== 'gradient' && rule.bias !== 'absorb')) return [relevance];
    const channels = [1, x.dims[1]!, ...x.dims.slice(2).map(() => 1)];
    const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => emit.reshape(required(context, index), channels));
    const deviation = emit.op(
      'Sqrt',
      [emit.add(variance!, emit.scalar(floatAttribute(node, 'epsilon', 1e-5)))],
      channels,
    );
    const scale = emit.div(gamma!, deviation);
    if (rule.name === 'gradient') return [emit.mul(relevance, scale)];
    const z = outputDenominator(outputs[0]!, context);
    const s = relevanceQuotient(context, relevance, z.value, rule.epsilon, z.sign);
    context.absorb(emit.mul(emit.sub(beta!, emit.mul(scale, mean!)), s));
    return [emit.mul(emit.mul(x, scale), s)];
  },
};

/**
 * A layer y = γ·(x − μ)/σ + β whose μ and σ are taken from x itself, over the axes `over` of the shape `view`. `root` has μ = 0 and
 * the root mean square for σ. γ and β are in shapes that broadcast to `view`.
 */
interface Normalizer {
  readonly kind: 'centred' | 'root';
  readonly view: readonly number[];
  readonly over: readonly number[];
  readonly epsilon: number;
  readonly gamma: Value | undefined;
  readonly beta: Value | undefined;
}

const mean = (emit: Emitter, a: Value, axes: readonly number[]): Value =>
  emit.mul(emit.reduce('Sum', a, axes), emit.scalar(1 / sizeOf(axes.map((axis) => a.dims[axis]!))));

/**
 * With σ held constant the layer is linear, also in the mean: ∂y_j/∂x_i = γ_j (δ_ij − 1/N) / σ (Ali et al. 2022). So
 *
 *     R_i = x_i Σ_j (δ_ij − 1/N) γ_j/σ · s_j = x_i (u_i − mean u) / σ,   u = γ ⊙ s,   s = R / y,
 *
 * whose sum is Σ_j s_j (y_j − β_j): all of the relevance but the share of β. Without a mean to subtract, the 1/N is gone. The
 * gradient has σ's own derivative besides: (u − mean u − x̂ · mean(u ⊙ x̂)) / σ with u = γ ⊙ R and x̂ = (x − μ)/σ.
 */
function explainNormalizer(context: NodeContext, layer: Normalizer): Value {
  const { emit, rule } = context;
  const { over, gamma, beta } = layer;
  const input = required(context, 0);
  const relevance = arriving(context);
  if (rule.name === 'pass') return relevance;
  const x = emit.reshape(input, layer.view);
  const r = emit.reshape(relevance, layer.view);
  const centred = layer.kind === 'centred' ? emit.sub(x, mean(emit, x, over)) : x;
  const variance = mean(emit, emit.mul(centred, centred), over);
  const sigma = emit.op('Sqrt', [emit.add(variance, emit.scalar(layer.epsilon))], variance.dims);
  const scaled = (s: Value): Value => (gamma === undefined ? s : emit.mul(s, gamma));
  const withoutMean = (u: Value): Value => (layer.kind === 'centred' ? emit.sub(u, mean(emit, u, over)) : u);
  const back = (value: Value): Value => emit.reshape(value, input.dims);
  if (rule.name === 'gradient') {
    const u = scaled(r);
    const direction = emit.div(centred, sigma);
    const alongIt = emit.mul(direction, mean(emit, emit.mul(u, direction), over));
    return back(emit.div(emit.sub(withoutMean(u), alongIt), sigma));
  }
  const y = emit.reshape(context.outputs[0]!, layer.view);
  const counted = rule.bias === 'ignore' && beta !== undefined ? emit.sub(y, beta) : y;
  const s = relevanceQuotient(context, r, counted, rule.epsilon);
  const share = emit.mul(x, emit.div(withoutMean(scaled(s)), sigma));
  if (beta === undefined || rule.bias === 'ignore') return back(share);
  const held = emit.mul(beta, s);
  if (rule.bias === 'distribute') return back(emit.add(share, mean(emit, held, over)));
  context.absorb(held);
  return back(share);
}

/**
 * γ·d·r + β with d = x − μ and r = 1/σ: the multipliers of a product, midway, those of r as a function of the variance, −r·r′ / (σ + σ′),
 * and of a mean of squares, d + d′.
 */
function rescaledNormalizer(context: NodeContext, { kind, view, over, epsilon, gamma }: Normalizer): Value {
  const { emit } = context;
  const input = required(context, 0);
  const multiplier = emit.reshape(arriving(context), view);
  const toProduct = gamma === undefined ? multiplier : emit.mul(multiplier, gamma);
  const withoutMean = (value: Value): Value => (kind === 'centred' ? emit.sub(value, mean(emit, value, over)) : value);
  const ends = [input, atReference(context, input)].map((value) => withoutMean(emit.reshape(value, view)));
  const sigmas = ends.map((d) => {
    const variance = emit.add(mean(emit, emit.mul(d, d), over), emit.scalar(epsilon));
    return emit.op('Sqrt', [variance], variance.dims);
  });
  const [d, d0] = ends as [Value, Value];
  const [sigma, sigma0] = sigmas as [Value, Value];
  const inverses = sigmas.map((value) => emit.div(emit.scalar(1), value));
  const half = emit.scalar(0.5);
  const both = emit.add(d, d0);
  const own = emit.mul(toProduct, emit.mul(emit.add(inverses[0]!, inverses[1]!), half));
  const toInverse = emit.reduce('Sum', emit.mul(toProduct, emit.mul(both, half)), over);
  const count = sizeOf(over.map((axis) => view[axis]!));
  const steep = emit.div(emit.mul(inverses[0]!, inverses[1]!), emit.add(sigma, sigma0));
  const throughSigma = emit.mul(emit.mul(emit.mul(toInverse, steep), emit.scalar(-1 / count)), both);
  return emit.reshape(withoutMean(emit.add(own, throughSigma)), input.dims);
}

const normalizer = (source: string, layerOf: (context: NodeContext) => Normalizer): OperatorSupport => ({
  family: 'Normalisation',
  rules: ['epsilon', 'z', 'pass', 'gradient'],
  source,
  evenly: toItsPlace,
  rescale: (context) => [rescaledNormalizer(context, layerOf(context))],
  explain: (context) => [explainNormalizer(context, layerOf(context))],
});

const AS_CONSTANT = 'σ as a constant (Ali et al. 2022); pass: Achtibat et al. 2024';

/** Normalises the last axes, from `axis` on; γ and β have their shape. */
const overLastAxes = (kind: Normalizer['kind'], epsilon: number): OperatorSupport =>
  normalizer(AS_CONSTANT, (context) => {
    const { dims } = required(context, 0);
    const axis = fromFront(intAttribute(context.node, 'axis', -1), dims.length);
    return {
      kind,
      view: dims,
      over: dims.flatMap((_, at) => (at >= axis ? [at] : [])),
      epsilon: floatAttribute(context.node, 'epsilon', epsilon),
      gamma: required(context, 1),
      beta: context.inputs[2],
    };
  });

/** Normalises every channel over space; γ and β are per channel. */
const instanceNormalization = normalizer(AS_CONSTANT, (context) => {
  const { emit, node } = context;
  const { dims } = required(context, 0);
  const channels = [dims[1]!, ...dims.slice(2).map(() => 1)];
  return {
    kind: 'centred',
    view: dims,
    over: dims.slice(2).map((_, axis) => axis + 2),
    epsilon: floatAttribute(node, 'epsilon', 1e-5),
    gamma: emit.reshape(required(context, 1), channels),
    beta: emit.reshape(required(context, 2), channels),
  };
});

/** Normalises groups of channels over channels and space; γ and β are per group (opset 18) or per channel (opset 21). */
const groupNormalization = normalizer(AS_CONSTANT, (context) => {
  const { emit, node } = context;
  const { dims } = required(context, 0);
  const groups = intAttribute(node, 'num_groups', 1);
  const view = [dims[0]!, groups, dims[1]! / groups, ...dims.slice(2)];
  const scale = (value: Value): Value =>
    emit.reshape(value, [groups, value.dims[0] === groups ? 1 : view[2]!, ...dims.slice(2).map(() => 1)]);
  return {
    kind: 'centred',
    view,
    over: view.slice(2).map((_, axis) => axis + 2),
    epsilon: floatAttribute(node, 'epsilon', 1e-5),
    gamma: scale(required(context, 1)),
    beta: scale(required(context, 2)),
  };
});

/** (x − μ)/σ over the axes of the attribute, without γ and β; ONNX Runtime adds 1e-9 to the variance. */
const meanVarianceNormalization = normalizer(AS_CONSTANT, (context) => {
  const { dims } = required(context, 0);
  const over = intsAttribute(context.node, 'axes', [0, 2, 3]).map((axis) => fromFront(axis, dims.length));
  return { kind: 'centred', view: dims, over, epsilon: 1e-9, gamma: undefined, beta: undefined };
});

/**
 * y = x / ‖x‖ along one axis, as at the end of embeddings: the norm is held constant, like every divisor. Its gradient with p = 2 is
 * (R − y · Σ R y) / ‖x‖, with p = 1 (R − sign x · Σ R y) / ‖x‖.
 */
const lpNormalization: OperatorSupport = {
  family: 'Normalisation',
  rules: ['pass', 'gradient'],
  source: 'σ as a constant (Ali et al. 2022)',
  evenly: toItsPlace,
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = emit.expand(arriving(context), x.dims);
    if (rule.name === 'pass') return [relevance];
    const axis = [fromFront(intAttribute(node, 'axis', -1), x.dims.length)];
    const isFirst = intAttribute(node, 'p', 2) === 1;
    const absolute = emit.op('Abs', [x], x.dims);
    const summed = emit.reduce('Sum', isFirst ? absolute : emit.mul(x, x), axis);
    const norm = isFirst ? summed : emit.op('Sqrt', [summed], summed.dims);
    const direction = isFirst ? signOf(emit, x) : outputs[0]!;
    const along = emit.mul(direction, emit.reduce('Sum', emit.mul(relevance, outputs[0]!), axis));
    return [stableQuotient(emit, emit.sub(relevance, along), norm, 0)];
  },
};

/** Normalisation layers. */
export const normalizationOperators: Readonly<Record<string, OperatorSupport>> = {
  BatchNormalization: batchNormalization,
  LayerNormalization: overLastAxes('centred', 1e-5),
  RMSNormalization: overLastAxes('root', 1e-5),
  SimplifiedLayerNormalization: overLastAxes('root', 1e-5),
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  LpNormalization: lpNormalization,
  LRN: localResponseNormalization,
};
