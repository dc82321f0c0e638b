import { biasPart, contributions, denominator, type LinearRule, relevanceQuotient, settleBias } from '../linear.js';

/**
 * Montavon et al. 2019, for inputs of any sign: where z_j > 0 the messages are x⁺(w + γw⁺) + x⁻(w + γw⁻), where z_j < 0
 * x⁺(w + γw⁻) + x⁻(w + γw⁺), where z_j = 0 nothing. The denominators are z + γz⁺ and z + γz⁻, with z⁺ and z⁻ as for alpha-beta.
 *
 * With s_p, s_n the quotients on either side of zero, U = J(w)ᵀ(s_p + s_n) and A = J(w⁺)ᵀs_p + J(w⁻)ᵀs_n:
 * R_i = x_i·U + γ(x⁺·A + x⁻·(U − A)).
 */
export const gammaRule: LinearRule<{ gamma: number }> = (layer, relevance, context, { gamma }) => {
  const { emit, stabilizer } = context;
  const zero = emit.scalar(0);
  const factor = emit.scalar(gamma);
  const z = denominator(layer, context);
  const positiveBias = biasPart(layer, 'positive', context);
  const excitation = contributions(layer, 'positive', emit);
  const zPositive = positiveBias === undefined ? excitation : emit.add(excitation, positiveBias);
  const zNegative = emit.sub(z, zPositive);

  const above = emit.compare('Greater', z, zero);
  const below = emit.compare('Less', z, zero);
  const favoured = emit.where(above, zPositive, zNegative);
  const denominators = emit.add(z, emit.mul(factor, favoured));
  const s = relevanceQuotient(context, relevance, denominators, stabilizer);
  // where z is 0 nobody is favoured, whatever the contributions are that cancel in it
  context.lose(() => ({
    relevance: emit.where(emit.compare('Equal', z, zero), emit.mul(denominators, s), zero),
    z,
    quotient: zero,
  }));
  const sPositive = emit.where(above, s, zero);
  const sNegative = emit.where(below, s, zero);

  const a = emit.add(
    layer.backward(sPositive, emit.positive(layer.weights)),
    layer.backward(sNegative, emit.negative(layer.weights)),
  );
  const u = layer.backward(emit.add(sPositive, sNegative), layer.weights);
  const extra = layer.nonNegative
    ? emit.mul(layer.input, a)
    : emit.add(emit.mul(emit.positive(layer.input), a), emit.mul(emit.negative(layer.input), emit.sub(u, a)));
  const input = emit.add(emit.mul(layer.input, u), emit.mul(factor, extra));

  const negativeBias = biasPart(layer, 'negative', context);
  if (layer.bias === undefined || positiveBias === undefined || negativeBias === undefined) return input;
  const share = emit.add(
    emit.mul(emit.add(layer.bias, emit.mul(factor, positiveBias)), sPositive),
    emit.mul(emit.add(layer.bias, emit.mul(factor, negativeBias)), sNegative),
  );
  return settleBias(layer, share, input, context);
};
