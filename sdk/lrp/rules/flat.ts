import { type LinearRule, relevanceQuotient } from '../linear.js';

/** R_i = Σ_j R_j / N_j, N_j being the number of inputs that output j really reaches: thesis 2.27 and 5.1. */
export const flatRule: LinearRule = (layer, relevance, context) =>
  layer.spread(relevanceQuotient(context, relevance, layer.reached, context.stabilizer, 'positive'));
