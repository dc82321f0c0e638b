import type { Value } from '../emitter.js';
import {
  absorbRest,
  biasPart,
  contributions,
  denominator,
  type LinearRule,
  relevanceQuotient,
  settleBias,
} from '../linear.js';

/**
 * R_i = Σ_j (α z⁺_ij / z⁺_j + β z⁻_ij / z⁻_j) R_j with α + β = 1: thesis 2.24–2.26; `z-plus` is α = 1, β = 0.
 *
 * With P = α R/z⁺ and N = β R/z⁻, an input's positive part meets J(w⁺)ᵀP + J(w⁻)ᵀN and its negative part J(w⁻)ᵀP + J(w⁺)ᵀN. The
 * latter is never taken as J(w)ᵀ(P + N) less the former: where z⁻ is 0, N is huge and only meets exact zeros.
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
  const { emit, stabilizer } = context;
  const excitatory = emit.positive(layer.weights);
  const inhibitory = emit.negative(layer.weights);
  const weighted = (factor: number, value: Value): Value =>
    factor === 1 ? value : emit.mul(value, emit.scalar(factor));
  const sumOf = (a: Value, b: Value | undefined): Value => (b === undefined ? a : emit.add(a, b));

  const positiveBias = biasPart(layer, 'positive', context);
  const negativeBias = biasPart(layer, 'negative', context);
  const { quantized } = context;
  // a unit that the next layer sees above 0 has z⁺ ≥ z > 0, so rounding may count as a part of z⁺ and cannot bring it near 0
  const isRounded = beta !== 0 && context.bias === 'absorb' && quantized?.nonNegative === true;
  const inhibited = isRounded ? sumOf(contributions(layer, 'negative', emit), negativeBias) : undefined;
  const positive =
    inhibited === undefined
      ? sumOf(contributions(layer, 'positive', emit), positiveBias)
      : emit.sub(quantized!.value, inhibited);
  const p = relevanceQuotient(context, weighted(alpha, relevance), positive, stabilizer, 'positive');
  let n: Value | undefined;
  if (beta !== 0) {
    // z⁻ = z − z⁺ costs no product; rounding may leave it just above zero, where it would flip the denominator's sign
    const negative = inhibited ?? emit.negative(emit.sub(denominator(layer, context), positive));
    n = relevanceQuotient(context, weighted(beta, relevance), negative, stabilizer, 'negative');
  }
  const meets = (withP: Value, withN: Value): Value => sumOf(layer.backward(p, withP), n && layer.backward(n, withN));
  const input = layer.nonNegative
    ? emit.mul(layer.input, meets(excitatory, inhibitory))
    : emit.add(
        emit.mul(emit.positive(layer.input), meets(excitatory, inhibitory)),
        emit.mul(emit.negative(layer.input), meets(inhibitory, excitatory)),
      );
  if (inhibited !== undefined) {
    absorbRest(sumOf(emit.mul(positive, p), n && emit.mul(inhibited, n)), input, context);
    return input;
  }
  const share = positiveBias && sumOf(emit.mul(positiveBias, p), n && negativeBias && emit.mul(negativeBias, n));
  return settleBias(layer, share, input, context);
};
