import { sizeOf } from '../../graph/graph.js';
import type { Value } from '../emitter.js';
import {
  absorbRest,
  biasPart,
  contributions,
  counted,
  type LinearLayer,
  type LinearRule,
  type RuleContext,
  settleBias,
  stableQuotient,
  times,
} from '../linear.js';

/** R/z⁺ and R/z⁻, stabilized. */
interface Quotients {
  readonly p: Value;
  readonly n: Value | undefined;
}

/** R/z, stabilized, of which the rule carries `factor` times as much; the audit hears of that. */
function divided(
  relevance: Value,
  z: Value,
  sign: 'positive' | 'negative',
  factor: number,
  context: RuleContext,
): Value {
  const { emit, stabilizer, lose } = context;
  const quotient = stableQuotient(emit, relevance, z, stabilizer, sign);
  lose(() => ({ relevance: times(emit, factor, relevance), z, quotient: times(emit, factor, quotient) }));
  return quotient;
}

function quotientsOf(
  layer: LinearLayer,
  relevance: Value,
  context: RuleContext,
  alpha: number,
  beta: number,
): Quotients {
  const { emit, stabilizer, lose } = context;
  if (beta === 0 && stabilizer > 0) {
    // nothing else reads z⁺, so that it can be computed with its stabilizer
    const stabilized = contributions(layer, 'positive', context, { offset: stabilizer });
    const p = emit.div(relevance, stabilized);
    lose(() => ({
      relevance: times(emit, alpha, relevance),
      z: emit.sub(stabilized, emit.scalar(stabilizer)),
      quotient: times(emit, alpha, p),
    }));
    return { p, n: undefined };
  }
  const positive = contributions(layer, 'positive', context);
  const p = divided(relevance, positive, 'positive', alpha, context);
  if (beta === 0) return { p, n: undefined };
  // z⁻ = z − z⁺ costs no product; rounding may leave it just above zero, where it would flip the denominator's sign
  const negative = emit.negative(emit.sub(counted(layer, context), positive));
  return { p, n: divided(relevance, negative, 'negative', beta, context) };
}

/**
 * R_i = Σ_j (α z⁺_ij / z⁺_j + β z⁻_ij / z⁻_j) R_j with α + β = 1: thesis 2.24–2.26; `z-plus` is α = 1, β = 0.
 *
 * With P = R/z⁺ and N = R/z⁻, an input's positive part meets α J(w⁺)ᵀP + β J(w⁻)ᵀN and its negative part α J(w⁻)ᵀP + β J(w⁺)ᵀN. The
 * latter is never taken as the difference of all and the former: where z⁻ is 0, N is huge and only meets exact zeros.
 *
 * Where the output is quantized after a ReLU and biases are absorbed, z⁺ is what the next layer sees less z⁻: rounding and clipping are
 * one more bias, and a part of z⁺.
 */
export const alphaBetaRule: LinearRule<{ alpha: number; beta: number }> = (
  layer,
  relevance,
  context,
  { alpha, beta },
) => {
  const { emit, quantized } = context;
  // α and β are multiplied to the smaller side
  const carried = (s: Value, factor: number, weights: Value): Value =>
    sizeOf(weights.dims) < sizeOf(s.dims)
      ? layer.backward(s, times(emit, factor, weights))
      : layer.backward(times(emit, factor, s), weights);
  const toInput = ({ p, n }: Quotients): Value => {
    const [excitatory, inhibitory] = [emit.positive(layer.weights), emit.negative(layer.weights)];
    const meets = (withP: Value, withN: Value): Value => {
      const excited = carried(p, alpha, withP);
      return n === undefined ? excited : emit.add(excited, carried(n, beta, withN));
    };
    if (layer.nonNegative) return emit.mul(layer.input, meets(excitatory, inhibitory));
    return emit.add(
      emit.mul(emit.positive(layer.input), meets(excitatory, inhibitory)),
      emit.mul(emit.negative(layer.input), meets(inhibitory, excitatory)),
    );
  };
  const together = ({ p, n }: Quotients, withP: Value, withN: Value | undefined): Value => {
    const excited = emit.mul(times(emit, alpha, withP), p);
    return n === undefined || withN === undefined ? excited : emit.add(excited, emit.mul(times(emit, beta, withN), n));
  };

  // a unit that the next layer sees above 0 has z⁺ ≥ z > 0, so rounding may count as a part of z⁺ and cannot bring it near 0
  if (beta !== 0 && context.bias === 'absorb' && quantized?.nonNegative === true) {
    const inhibited = contributions(layer, 'negative', context);
    const excited = emit.sub(quantized.value, inhibited);
    const quotients = {
      p: divided(relevance, excited, 'positive', alpha, context),
      n: divided(relevance, inhibited, 'negative', beta, context),
    };
    const input = toInput(quotients);
    absorbRest(together(quotients, excited, inhibited), input, context);
    return input;
  }
  const quotients = quotientsOf(layer, relevance, context, alpha, beta);
  const positiveBias = biasPart(layer, 'positive', context);
  const share = positiveBias && together(quotients, positiveBias, biasPart(layer, 'negative', context));
  return settleBias(layer, share, toInput(quotients), context);
};
