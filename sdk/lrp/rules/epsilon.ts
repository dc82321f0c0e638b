import { denominator, type LinearRule, settleBias, stableQuotient } from '../linear.js';

/** R_i = x_i Σ_j w_ij R_j / (z_j + ε·sign z_j): thesis 2.22, and 2.10 (`z`) where ε is the stabilizer alone. */
export const epsilonRule: LinearRule<{ epsilon: number }> = (layer, relevance, context, { epsilon }) => {
  const { emit } = context;
  const s = stableQuotient(emit, relevance, denominator(layer, context), epsilon);
  const input = emit.mul(layer.input, layer.backward(s, layer.weights));
  return settleBias(layer, layer.bias && emit.mul(layer.bias, s), input, context);
};
