import type { Emitter, Value } from '../emitter.js';
import {
  contributions,
  counted,
  denominator,
  type LinearLayer,
  type LinearRule,
  type RuleContext,
  relevanceQuotient,
  settleBias,
  times,
} from '../linear.js';

/** w + γ·w⁺ or w + γ·w⁻. */
const favoured = (emit: Emitter, weights: Value, part: 'positive' | 'negative', gamma: number): Value =>
  emit.add(weights, times(emit, gamma, emit[part](weights)));

/** The relevance of the input, and what of it the bias has taken. */
interface Shares {
  readonly input: Value;
  readonly bias: Value | undefined;
}

/** All outputs that have relevance are positive: one denominator z + γz⁺ and one pair of weights. */
function aboveZero(layer: LinearLayer, relevance: Value, context: RuleContext, gamma: number): Shares {
  const { emit, stabilizer } = context;
  const z = denominator(layer, context).value;
  const sum = emit.add(z, contributions(layer, 'positive', context, { factor: gamma }));
  const s = relevanceQuotient(context, relevance, sum, stabilizer, 'positive');
  const excited = layer.backward(s, favoured(emit, layer.weights, 'positive', gamma));
  const input = layer.nonNegative
    ? emit.mul(layer.input, excited)
    : emit.add(
        emit.mul(emit.positive(layer.input), excited),
        emit.mul(emit.negative(layer.input), layer.backward(s, favoured(emit, layer.weights, 'negative', gamma))),
      );
  return { input, bias: layer.bias && emit.mul(favoured(emit, layer.bias, 'positive', gamma), s) };
}

/** Outputs of either sign. */
function bothSides(layer: LinearLayer, relevance: Value, context: RuleContext, gamma: number): Shares {
  const { emit, stabilizer } = context;
  const zero = emit.scalar(0);
  const factor = emit.scalar(gamma);
  const z = counted(layer, context);
  const zPositive = contributions(layer, 'positive', context);
  const zNegative = emit.sub(z, zPositive);

  const above = emit.compare('Greater', z, zero);
  const below = emit.compare('Less', z, zero);
  const denominators = emit.add(z, emit.mul(factor, emit.where(above, zPositive, zNegative)));
  const s = relevanceQuotient(context, relevance, denominators, stabilizer);
  // where z is 0 nobody is favoured, whatever the contributions are that cancel in it
  context.lose(() => ({
    relevance: emit.where(emit.compare('Equal', z, zero), emit.mul(denominators, s), zero),
    z,
    quotient: zero,
  }));
  const sPositive = emit.where(above, s, zero);
  const sNegative = emit.where(below, s, zero);
  const bias =
    layer.bias &&
    emit.add(
      emit.mul(favoured(emit, layer.bias, 'positive', gamma), sPositive),
      emit.mul(favoured(emit, layer.bias, 'negative', gamma), sNegative),
    );

  if (layer.nonNegative) {
    const excited = layer.backward(sPositive, favoured(emit, layer.weights, 'positive', gamma));
    const inhibited = layer.backward(sNegative, favoured(emit, layer.weights, 'negative', gamma));
    return { input: emit.mul(layer.input, emit.add(excited, inhibited)), bias };
  }
  const a = emit.add(
    layer.backward(sPositive, emit.positive(layer.weights)),
    layer.backward(sNegative, emit.negative(layer.weights)),
  );
  const u = layer.backward(emit.add(sPositive, sNegative), layer.weights);
  const extra = emit.add(emit.mul(emit.positive(layer.input), a), emit.mul(emit.negative(layer.input), emit.sub(u, a)));
  return { input: emit.add(emit.mul(layer.input, u), emit.mul(factor, extra)), bias };
}

/**
 * Montavon et al. 2019, for inputs of any sign: where z_j > 0 the messages are x⁺(w + γw⁺) + x⁻(w + γw⁻), where z_j < 0
 * x⁺(w + γw⁻) + x⁻(w + γw⁺), where z_j = 0 nothing. The denominators are z + γz⁺ and z + γz⁻, with z⁺ and z⁻ as for alpha-beta.
 *
 * With s_p, s_n the quotients on either side of zero, U = J(w)ᵀ(s_p + s_n) and A = J(w⁺)ᵀs_p + J(w⁻)ᵀs_n:
 * R_i = x_i·U + γ(x⁺·A + x⁻·(U − A)), three products; where x ≥ 0 it is x_i(J(w + γw⁺)ᵀs_p + J(w + γw⁻)ᵀs_n), two, and in front
 * of a ReLU s_n is 0, which leaves one.
 */
export const gammaRule: LinearRule<{ gamma: number }> = (layer, relevance, context, { gamma }) => {
  // without the bias that lifted it, an output that the ReLU lets through may be negative
  const lifted = context.bias === 'ignore' && layer.bias !== undefined;
  const shares = context.positive && !lifted ? aboveZero : bothSides;
  const { input, bias } = shares(layer, relevance, context, gamma);
  return settleBias(layer, bias, input, context);
};
