import type { Value } from '../emitter.js';
import {
  biasPart,
  denominator,
  type LinearRule,
  positiveContributions,
  settleBias,
  stableQuotient,
} from '../linear.js';

/**
 * R_i = Σ_j (α z⁺_ij / z⁺_j + β z⁻_ij / z⁻_j) R_j with α + β = 1: thesis 2.24–2.26; `z-plus` is α = 1, β = 0.
 *
 * With P = α R/z⁺ and N = β R/z⁻, an input's positive part meets A = J(w⁺)ᵀP + J(w⁻)ᵀN and its negative part
 * J(w⁻)ᵀP + J(w⁺)ᵀN = J(w)ᵀ(P + N) − A, so inputs of both signs cost one transposed product more, not two.
 */
export const alphaBetaRule: LinearRule<{ alpha: number; beta: number }> = (
  layer,
  relevance,
  context,
  { alpha, beta },
) => {
  const { emit, stabilizer } = context;
  const weighted = (factor: number, value: Value): Value =>
    factor === 1 ? value : emit.mul(value, emit.scalar(factor));

  const positiveBias = biasPart(layer, 'positive', context);
  const contributions = positiveContributions(layer, emit);
  const positive = positiveBias === undefined ? contributions : emit.add(contributions, positiveBias);
  const p = weighted(alpha, stableQuotient(emit, relevance, positive, stabilizer, 'positive'));

  if (beta === 0) {
    const toPositive = layer.backward(p, emit.positive(layer.weights));
    const input = layer.nonNegative
      ? emit.mul(layer.input, toPositive)
      : emit.add(
          emit.mul(emit.positive(layer.input), toPositive),
          emit.mul(emit.negative(layer.input), layer.backward(p, emit.negative(layer.weights))),
        );
    return settleBias(layer, positiveBias && emit.mul(positiveBias, p), input, context);
  }

  // z⁻ = z − z⁺ costs no product; rounding may leave it just above zero, where it would flip the denominator's sign
  const negative = emit.negative(emit.sub(denominator(layer, context), positive));
  const n = weighted(beta, stableQuotient(emit, relevance, negative, stabilizer, 'negative'));
  const a = emit.add(layer.backward(p, emit.positive(layer.weights)), layer.backward(n, emit.negative(layer.weights)));
  const input = layer.nonNegative
    ? emit.mul(layer.input, a)
    : emit.add(
        emit.mul(emit.positive(layer.input), a),
        emit.mul(emit.negative(layer.input), emit.sub(layer.backward(emit.add(p, n), layer.weights), a)),
      );
  const negativeBias = biasPart(layer, 'negative', context);
  const share = positiveBias && negativeBias && emit.add(emit.mul(positiveBias, p), emit.mul(negativeBias, n));
  return settleBias(layer, share, input, context);
};
