import { intAttribute } from '../../graph/graph.js';
import type { Value } from '../emitter.js';
import { relevanceQuotient } from '../linear.js';
import { toItsPlace } from './evenly.js';
import { isGate } from './gates.js';
import { product, swapped } from './matrix.js';
import { arriving, type Evenly, fromFront, type OperatorSupport, required, type Way } from './operator.js';
import { atReference, slope, throughProduct } from './rescale.js';

/** Half of the relevance for each factor that takes any, spread evenly over the elements that reach an element of the product. */
const halves: Evenly = (context) => {
  const { emit } = context;
  const [a, b] = [required(context, 0), required(context, 1)];
  const wanted = [0, 1].filter((index) => context.wants(index)).length;
  const each = emit.mul(arriving(context), emit.scalar(1 / (wanted * a.dims.at(-1)!)));
  const rank = context.outputs[0]!.dims.length;
  const along = (axis: number, factor: Value): Value => {
    const summed = emit.reduce('Sum', emit.expand(each, context.outputs[0]!.dims), [axis]);
    const dims = [...summed.dims.slice(0, -2), ...factor.dims.slice(-2)];
    return emit.unbroadcast(emit.expand(summed, dims), factor.dims);
  };
  return [context.wants(0) ? along(rank - 1, a) : undefined, context.wants(1) ? along(rank - 2, b) : undefined];
};

/**
 * y = a·b with two activations: queries and keys, or attention weights and values. Every term a_ik b_kj owes itself to both factors
 * alike, so each gets half of its share (Achtibat et al. 2024, uniform rule for products):
 *
 *     s = R / (2y + ε sign y),   R_a = a ⊙ (s·bᵀ),   R_b = b ⊙ (aᵀ·s).
 *
 * `pass` holds the attention weights constant: where one factor is a softmax (or another gate), the other gets all, R / (y + ε sign y)
 * instead (Ali et al. 2022). A factor that does not depend on the input gets none either way.
 */
export const bilinear: OperatorSupport = {
  family: 'Attention',
  rules: ['epsilon', 'z', 'pass', 'gradient'],
  source: 'halves for both factors (Achtibat et al. 2024); pass: the values take all (Ali et al. 2022)',
  evenly: halves,
  rescale: throughProduct,
  explain(context) {
    const { emit, rule, outputs } = context;
    const [a, b] = [required(context, 0), required(context, 1)];
    const relevance = arriving(context);
    const takes = [0, 1].map((index) => context.wants(index));
    if (rule.name === 'pass') {
      const gates = [0, 1].filter((index) => takes[index] && isGate(context, index));
      if (gates.length === 1 && takes[1 - gates[0]!]) takes[gates[0]!] = false;
    }
    const both = takes[0] === true && takes[1] === true;
    const y = outputs[0]!;
    const s =
      rule.name === 'gradient'
        ? relevance
        : relevanceQuotient(context, relevance, both ? emit.mul(y, emit.scalar(2)) : y, rule.epsilon);
    const weighted = (factor: Value, back: Value): Value => {
      const own = emit.unbroadcast(back, factor.dims);
      return rule.name === 'gradient' ? own : emit.mul(factor, own);
    };
    return [
      takes[0] === true ? weighted(a, product(emit, s, swapped(emit, b))) : undefined,
      takes[1] === true ? weighted(b, product(emit, swapped(emit, a), s)) : undefined,
    ];
  },
};

/**
 * softmax(x) = e·(1/Σe) with e = exp(x − c), c the same for input and reference: the multipliers of a product, of 1/S with slope
 * −1/(S·S′), of a sum, and of the exponential function.
 */
const rescaledSoftmax: Way = (context) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const reference = atReference(context, x);
  const multiplier = arriving(context);
  const axis = fromFront(intAttribute(node, 'axis', -1), x.dims.length);
  const highest = emit.reduce('Max', emit.op('Max', [x, reference], x.dims), [axis]);
  const powers = [x, reference].map((value) => emit.op('Exp', [emit.sub(value, highest)], x.dims));
  const inverses = powers.map((power) => emit.div(emit.scalar(1), emit.reduce('Sum', power, [axis])));
  const [e, e0] = powers as [Value, Value];
  const [r, r0] = inverses as [Value, Value];
  const mean = (a: Value, b: Value): Value => emit.mul(emit.add(a, b), emit.scalar(0.5));
  const throughSum = emit.mul(emit.reduce('Sum', emit.mul(multiplier, mean(e, e0)), [axis]), emit.mul(r, r0));
  const toPowers = emit.sub(emit.mul(multiplier, mean(r, r0)), throughSum);
  return [emit.mul(toPowers, slope(emit, emit.sub(e, e0), emit.sub(x, reference), e))];
};

/**
 * s = softmax(x) inside a graph. Its Jacobian is s_j (δ_ij − s_i), so the Taylor expansion at x gives (Achtibat et al. 2024)
 *
 *     R_i = x_i Σ_j ∂s_j/∂x_i · R_j / s_j = x_i (R_i − s_i Σ_j R_j).
 *
 * What the expansion leaves to its constant term is absorbed. A masked score (x = −∞, s = 0) has no relevance.
 */
const softmax: OperatorSupport = {
  family: 'Attention',
  rules: ['norm', 'pass', 'gradient'],
  source: 'Taylor expansion (Achtibat et al. 2024)',
  evenly: toItsPlace,
  rescale: rescaledSoftmax,
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = arriving(context);
    if (rule.name === 'pass') return [relevance];
    const y = outputs[0]!;
    const axis = fromFront(intAttribute(node, 'axis', -1), x.dims.length);
    const centred = (r: Value, weights: Value): Value => emit.mul(weights, emit.reduce('Sum', r, [axis]));
    if (rule.name === 'gradient') {
      const weighted = emit.mul(relevance, y);
      return [emit.sub(weighted, centred(weighted, y))];
    }
    const share = emit.mul(x, emit.sub(relevance, centred(relevance, y)));
    const masked = emit.compare('Equal', y, emit.scalar(0));
    const result = emit.where(masked, emit.scalar(0), share);
    context.absorb(emit.sub(relevance, result));
    return [result];
  },
};

/** log softmax(x) = x − log Σ exp x: what is subtracted is the same for all, and held constant. */
const logSoftmax: OperatorSupport = {
  family: 'Attention',
  rules: ['pass', 'gradient'],
  source: 'thesis 2.37',
  evenly: toItsPlace,
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = emit.expand(arriving(context), x.dims);
    if (rule.name === 'pass') return [relevance];
    const axis = fromFront(intAttribute(node, 'axis', -1), x.dims.length);
    const weights = emit.op('Exp', [outputs[0]!], x.dims);
    return [emit.sub(relevance, emit.mul(weights, emit.reduce('Sum', relevance, [axis])))];
  },
};

/** What attention is made of besides constant matrices. */
export const attentionOperators: Readonly<Record<string, OperatorSupport>> = {
  Softmax: softmax,
  LogSoftmax: logSoftmax,
};
