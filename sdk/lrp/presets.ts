import type { CompositeEntry, CompositeRules, MethodOptions } from './composite.js';

/** How a method makes relevance from what its rules carry back, where that is not the relevance itself. */
export type Attribution =
  | 'times-input'
  | 'channel-l2'
  | 'channel-max'
  | 'cam'
  | 'grad-cam'
  | 'guided-grad-cam'
  | 'integrated-gradients'
  | 'smoothgrad'
  | 'deeplift-rescale'
  | 'occlusion';

/** A named composite with the sentence that a person choosing it reads. */
export interface Preset {
  /** its rules */
  readonly composite: CompositeRules;
  /** what it shows and where it comes from */
  readonly description: string;
  /** set for methods whose result is made from what the rules carry back */
  readonly attribution?: Attribution;
  /** what can be set beside the options of every composite */
  readonly options?: readonly (keyof MethodOptions)[];
}

const CONVOLUTIONS = ['Conv', 'ConvTranspose'];
const NORMALISERS = [
  ...['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'],
  ...['GroupNormalization', 'InstanceNormalization'],
];
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
  'attn-lrp': {
    description:
      'for transformers: products of activations in halves, normalisation passes, ε-rule in dense layers, γ=0.25 at the patches (Achtibat et al. 2024)',
    composite: {
      rules: [
        { match: { op: NORMALISERS }, rule: 'pass' },
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
    attribution: 'times-input',
  },
  'sensitivity-l2': {
    description:
      'how much a pixel sways the target: the L2 norm of its gradient over channels (Simonyan et al. 2014), in equal parts in every channel',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'channel-l2',
    options: ['channelAxis'],
  },
  'sensitivity-linf': {
    description: 'as sensitivity-l2 with the largest absolute gradient over channels, in equal parts in every channel',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'channel-max',
    options: ['channelAxis'],
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
    description:
      'the probability to win, shared among what excites a unit: activation times positive weight (Zhang et al. 2016; their formula has no biases, which is `bias: ignore`)',
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
  cam: {
    description:
      'class activation map (Zhou et al. 2016): activations of a layer times their weight for the class, enlarged; for heads without non-linearities',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'cam',
    options: ['layer', 'channelAxis'],
  },
  'grad-cam': {
    description:
      'positive part of a layer’s channels, each weighted by its mean gradient, enlarged (Selvaraju et al. 2017)',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'grad-cam',
    options: ['layer', 'channelAxis'],
  },
  'guided-grad-cam': {
    description: 'guided-backprop times grad-cam: fine-grained, and for the class (Selvaraju et al. 2017)',
    composite: { init: 'one', rules: [{ match: { op: 'Relu' }, rule: 'guided' }, CHAIN_RULE] },
    attribution: 'guided-grad-cam',
    options: ['layer', 'channelAxis'],
  },
  'integrated-gradients': {
    description:
      'gradients averaged along the way from a baseline, times the difference to it (Sundararajan et al. 2017)',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'integrated-gradients',
    options: ['steps', 'baseline', 'channelAxis'],
  },
  smoothgrad: {
    description: 'gradients averaged over noisy copies of the input (Smilkov et al. 2017)',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'smoothgrad',
    options: ['steps', 'noise', 'seed'],
  },
  'deeplift-rescale': {
    description:
      'what every part of the input adds to the difference from a reference input, by the slopes between the two (Shrikumar et al. 2017, Rescale rule)',
    composite: { init: 'one', rules: [{ match: {}, rule: 'rescale' }] },
    attribution: 'deeplift-rescale',
    options: ['baseline', 'channelAxis'],
  },
  occlusion: {
    description: 'what the target loses when a patch is covered, spread over the patch (Zeiler and Fergus 2014)',
    composite: { init: 'one', rules: [CHAIN_RULE] },
    attribution: 'occlusion',
    options: ['patches', 'baseline', 'channelAxis'],
  },
};
