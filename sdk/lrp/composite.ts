/** Rules for linear layers (thesis 2.10–2.28, Montavon et al. 2017 and 2019) and the plain chain rule. */
export type LinearRuleName =
  | 'z'
  | 'epsilon'
  | 'alpha-beta'
  | 'z-plus'
  | 'gamma'
  | 'flat'
  | 'w-square'
  | 'z-box'
  | 'gradient';

/** Rules for everything that is not a linear layer: activations, merges, pooling, BatchNorm that stands alone. `rescale` belongs to the method `deeplift-rescale`. */
export type OtherRuleName = 'pass' | 'norm' | 'gradient' | 'deconvnet' | 'guided' | 'rescale';

/** Any rule's name. */
export type RuleName = LinearRuleName | OtherRuleName;

/** What becomes of a bias' share of the relevance: absorbed (thesis 2.16), left out of the denominator, or spread evenly over the inputs (2.73). */
export type BiasPolicy = 'absorb' | 'ignore' | 'distribute';

/** What a max-pool does with a tie: equal shares (thesis 2.33–2.35) or the first maximum in row-major order. */
export type TiePolicy = 'split' | 'first';

/** What a product with a gate does: all to the signal that is weighed, none to the gate (Arras et al. 2017), or half to each. */
export type GatePolicy = 'signal' | 'halves';

/** How relevance starts at the explained output: at logits ⊙ target, or at the target itself. */
export type RelevanceInit = 'logit' | 'one';

/** Which nodes a composite's entry is for; every given field must hold. An empty match is for every node. */
export interface Match {
  /** ONNX operator(s), as in the canonical graph */
  readonly op?: string | readonly string[];
  /** node name(s); `*` stands for any run of characters */
  readonly name?: string | readonly string[];
  /** the first weighted layer(s) seen from the input: those that no other weighted layer comes before */
  readonly first?: boolean;
  /** the last weighted layer(s): those that no other weighted layer comes after */
  readonly last?: boolean;
  /** inclusive range of depths; a weighted layer's depth is the number of weighted layers before it on the longest path, so 0 = input side */
  readonly depth?: readonly [from: number, to: number];
}

/** One line of a composite: the rule for what `match` selects, with the rule's own parameters. */
export interface CompositeEntry {
  /** the nodes that this line is for */
  readonly match: Match;
  /** their rule */
  readonly rule: RuleName;
  /** for `epsilon`: ≥ 0, default the composite's stabilizer */
  readonly epsilon?: number;
  /** for `alpha-beta`: α ≥ 1 … with α + β = 1 */
  readonly alpha?: number;
  /** for `alpha-beta`: β = 1 − α */
  readonly beta?: number;
  /** for `gamma`: ≥ 0, default 0.25 */
  readonly gamma?: number;
  /** for `z-box`: lowest value an input can take, one number or one per channel */
  readonly low?: number | readonly number[];
  /** for `z-box`: highest value an input can take, one number or one per channel */
  readonly high?: number | readonly number[];
  /** instead of the composite's own stabilizer, for these nodes */
  readonly stabilizer?: number;
  /** instead of the composite's own bias policy, for these nodes */
  readonly bias?: BiasPolicy;
  /** instead of the composite's own tie policy, for these nodes */
  readonly ties?: TiePolicy;
  /** instead of the composite's own gate policy, for these nodes */
  readonly gates?: GatePolicy;
}

/** The options that a composite sets for all of its entries. */
export interface CompositeOptions {
  /** added to every denominator with the denominator's sign, sign 0 = +1; default 1e-6 */
  readonly stabilizer?: number;
  /** default `absorb` */
  readonly bias?: BiasPolicy;
  /** default `split` */
  readonly ties?: TiePolicy;
  /** default `signal`; with `halves` recurrent layers are written out step by step, so that their gates get their half too */
  readonly gates?: GatePolicy;
  /** default `logit` */
  readonly init?: RelevanceInit;
  /**
   * Where the decomposition ends (thesis 5.4.2): a depth in weighted layers (0 = input side) or the name of a weighted layer. The
   * layers at or below that depth get `flat`, whatever `rules` say: relevance is spread evenly over the larger structures that
   * it has reached, at a fraction of the cost, and its sum is kept.
   */
  readonly flatBelow?: number | string;
}

/** Which rule explains which node: plain JSON, first match wins. Linear layers without a match get `epsilon`, all else its own default rule. */
export interface CompositeRules extends CompositeOptions {
  /** tried in order; the first whose match holds decides */
  readonly rules: readonly CompositeEntry[];
}

/** Options of single methods; a method that does not know an option says so with `COMPOSITE_INVALID`. */
export interface MethodOptions {
  /** `cam`, `grad-cam`, `guided-grad-cam`: the tensor whose channels are weighted, [batch, channels, …]; default the last convolution's activation */
  readonly layer?: string;
  /** the inputs' axis of channels; default 1, or an axis of at most 4 elements where axis 1 has more (pictures as [batch, height, width, 3]); inputs of rank 2 have none */
  readonly channelAxis?: number;
  /** `integrated-gradients`, `smoothgrad`: number of gradients that are averaged, 1–64, default 8; each costs a forward and a backward pass */
  readonly steps?: number;
  /**
   * `integrated-gradients`, `occlusion`, `deeplift-rescale`: the input that says nothing (DeepLIFT's reference): one number, one per
   * channel, or one per element of a sample; default 0. With `input` it is fed with every run, as an input `baseline/<input>` of the
   * compiled graph in the input's shape.
   */
  readonly baseline?: number | readonly number[] | 'input';
  /** `smoothgrad`: standard deviation of the noise as a share of the input's range, default 0.15 */
  readonly noise?: number;
  /** `smoothgrad`: seed of the noise, an integer; default 1 */
  readonly seed?: number;
  /** `occlusion`: patches along every axis of space and time, 1–16, default 4; each patch costs a forward pass; where the file leaves the batch open, up to 16 run in one batch */
  readonly patches?: number;
}

/** A named method or preset with options, e.g. `{"method": "guided-backprop", "ties": "first"}`. */
export interface CompositeMethod extends CompositeOptions, MethodOptions {
  /** name of a preset or method */
  readonly method: string;
}

/** A composite as a file or a caller gives it; a string is a preset's name. */
export type Composite = string | CompositeRules | CompositeMethod;
