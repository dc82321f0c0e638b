import type { CompositeEntry, CompositeRules } from './composite.js';

/** A named composite with the sentence that a person choosing it reads. */
export interface Preset {
  /** its rules */
  readonly composite: CompositeRules;
  /** what it shows and where it comes from */
  readonly description: string;
  /** set for methods whose result is multiplied with the input once more */
  readonly timesInput?: boolean;
}

const CONVOLUTIONS = ['Conv', 'ConvTranspose'];
const DENSE: CompositeEntry = { match: { op: ['Gemm', 'MatMul'] }, rule: 'epsilon', epsilon: 0.01 };
const FLAT_FIRST: CompositeEntry = { match: { first: true }, rule: 'flat' };
const PLUS: CompositeEntry = { match: { op: CONVOLUTIONS }, rule: 'z-plus' };
const ALPHA_BETA: CompositeEntry = { match: { op: CONVOLUTIONS }, rule: 'alpha-beta', alpha: 2, beta: -1 };
const CHAIN_RULE: CompositeEntry = { match: {}, rule: 'gradient' };

/** Presets and methods by name. */
export const presets: Readonly<Record<string, Preset>> = {
  epsilon: {
    description: 'ε-rule everywhere: close to gradient × input, fine-grained and noisy (thesis 2.22)',
    composite: { rules: [{ match: { op: CONVOLUTIONS }, rule: 'epsilon', epsilon: 0.01 }, DENSE] },
  },
  'epsilon-plus': {
    description: 'ε-rule in dense layers, z⁺-rule in convolutions: evidence for the target only',
    composite: { rules: [PLUS, DENSE] },
  },
  'epsilon-plus-flat': {
    description: 'as epsilon-plus, the first layer spread evenly over its window: smooth and cheap',
    composite: { rules: [FLAT_FIRST, PLUS, DENSE] },
  },
  'epsilon-alpha2-beta1': {
    description: 'ε-rule in dense layers, α=2, β=−1 in convolutions: evidence for and against',
    composite: { rules: [ALPHA_BETA, DENSE] },
  },
  'epsilon-alpha2-beta1-flat': {
    description:
      'as epsilon-alpha2-beta1 with a flat first layer: the recommendation for sequential networks (thesis 5.4.1)',
    composite: { rules: [FLAT_FIRST, ALPHA_BETA, DENSE] },
  },
  'epsilon-gamma-box': {
    description: 'ε-rule in dense layers, γ=0.25 in convolutions, z-box at the pixels (Montavon et al. 2019)',
    composite: {
      rules: [
        { match: { first: true, op: CONVOLUTIONS }, rule: 'z-box' },
        { match: { op: CONVOLUTIONS }, rule: 'gamma', gamma: 0.25 },
        DENSE,
      ],
    },
  },
  gradient: {
    description: 'the plain gradient of the target',
    composite: { init: 'one', rules: [CHAIN_RULE] },
  },
  'gradient-x-input': {
    description: 'the gradient times the input (thesis 2.61: the ε-rule for ε → 0 without biases)',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    timesInput: true,
  },
  deconvnet: {
    description: 'deconvolution: negative signals are cut on the way back (Zeiler and Fergus 2014)',
    composite: { init: 'one', rules: [{ match: { op: 'Relu' }, rule: 'deconvnet' }, CHAIN_RULE] },
  },
  'guided-backprop': {
    description: 'as deconvnet, and through active units only (Springenberg et al. 2015)',
    composite: { init: 'one', rules: [{ match: { op: 'Relu' }, rule: 'guided' }, CHAIN_RULE] },
  },
  'excitation-backprop': {
    description: 'winner-take-all probabilities through excitatory weights (Zhang et al. 2016)',
    composite: {
      init: 'one',
      rules: [
        { match: { op: [...CONVOLUTIONS, 'Gemm', 'MatMul'] }, rule: 'z-plus' },
        {
          match: { op: ['Add', 'Sub', 'Sum', 'AveragePool', 'GlobalAveragePool', 'ReduceMean', 'ReduceSum'] },
          rule: 'norm',
        },
        CHAIN_RULE,
      ],
    },
  },
};
