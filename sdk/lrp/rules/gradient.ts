import type { LinearRule } from '../linear.js';

/** The chain rule: Jᵀ·R. */
export const gradientRule: LinearRule = (layer, relevance) => layer.backward(relevance, layer.weights);
