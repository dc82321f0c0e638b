import { type LinearRule, relevanceQuotient, settleBias } from '../linear.js';

/** R_i = Σ_j w_ij² / Σ_i w_ij² · R_j over the inputs that reach output j: thesis 2.28. An absorbed bias counts as b². */
export const wSquareRule: LinearRule = (layer, relevance, context) => {
  const { emit, stabilizer, bias } = context;
  const squares = emit.mul(layer.weights, layer.weights);
  const biasSquare = layer.bias === undefined || bias === 'ignore' ? undefined : emit.mul(layer.bias, layer.bias);
  const sum = layer.gather(squares);
  const z = biasSquare === undefined ? sum : emit.add(sum, biasSquare);
  const s = relevanceQuotient(context, relevance, z, stabilizer, 'positive');
  return settleBias(layer, biasSquare && emit.mul(biasSquare, s), layer.backward(s, squares), context);
};
