import { absorbRest, denominator, type LinearRule, relevanceQuotient, settleBias } from '../linear.js';

/**
 * R_i = x_i Σ_j w_ij R_j / (z_j + ε·sign z_j): thesis 2.22, and 2.10 (`z`) where ε is the stabilizer alone. Where the layer's output is
 * quantized and biases are absorbed, z_j is what the next layer sees: rounding and clipping are one more bias.
 */
export const epsilonRule: LinearRule<{ epsilon: number }> = (layer, relevance, context, { epsilon }) => {
  const { emit } = context;
  if (context.quantized !== undefined && context.bias === 'absorb') {
    const { value, nonNegative } = context.quantized;
    const s = relevanceQuotient(context, relevance, value, epsilon, nonNegative ? 'positive' : 'any');
    const input = emit.mul(layer.input, layer.backward(s, layer.weights));
    absorbRest(emit.mul(value, s), input, context);
    return input;
  }
  const z = denominator(layer, context);
  const s = relevanceQuotient(context, relevance, z.value, epsilon, z.sign);
  const input = emit.mul(layer.input, layer.backward(s, layer.weights));
  return settleBias(layer, layer.bias && emit.mul(layer.bias, s), input, context);
};
