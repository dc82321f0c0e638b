import { type LinearRule, stableQuotient } from '../linear.js';

/** R_i = Σ_j R_j / N_j, N_j being the number of inputs that output j really reaches: thesis 2.27 and 5.1. */
export const flatRule: LinearRule = (layer, relevance, { emit, stabilizer }) =>
  layer.spread(stableQuotient(emit, relevance, layer.reached, stabilizer, 'positive'));
