import type { BiasPolicy } from './composite.js';
import type { Emitter, Value } from './emitter.js';

/**
 * A layer z = J(w)·x + b with constant weights, as the rules see it: what the rules need to know of a convolution or a matrix
 * product and nothing else. All values are in the shapes of the operator itself.
 */
export interface LinearLayer {
  /** x */
  readonly input: Value;
  /** w */
  readonly weights: Value;
  /** b, in a shape that broadcasts to the output; undefined where the layer has none */
  readonly bias: Value | undefined;
  /** z as the forward pass computed it, bias included */
  readonly output: Value;
  /** x ≥ 0 is proven, so the signed halves of the rules vanish */
  readonly nonNegative: boolean;
  /** J(w)·x, plus a bias in the shape of the layer's own where one is given */
  forward(x: Value, w: Value, bias?: Value): Value;
  /** J(w)ᵀ·s */
  backward(s: Value, w: Value): Value;
  /** J(1)ᵀ·s: `backward` with all-ones weights, which sums over channels first */
  spread(s: Value): Value;
  /** J(w)·1 for constant weights: the sum of the weights that reach each output */
  gather(w: Value): Value;
  /** number of inputs that reach each output (padding does not count), in a shape that broadcasts to the output; at least 1 */
  readonly reached: Value;
}

/** What a rule is given besides the layer. */
export interface RuleContext {
  readonly emit: Emitter;
  readonly stabilizer: number;
  readonly bias: BiasPolicy;
  /**
   * z as the layers after it see it, rounded and clipped by quantization, and whether that is proven not to be negative; undefined where
   * they see z itself, or where its relevance need not be 0 wherever it is
   */
  readonly quantized: { readonly value: Value; readonly nonNegative: boolean } | undefined;
  /** the output's relevance is proven to be 0 wherever the output is not positive, as in front of a ReLU */
  readonly positive: boolean;
  /** max(0, z) of the output z where the model computes it and `positive` holds: what later layers read anyway */
  readonly rectified: Value | undefined;
  /** tells the audit what a bias has absorbed: a value to be summed up */
  absorb(relevance: Value): void;
  /** tells the audit of relevance that has been divided by what it is shared out among; asked for only where there is an audit */
  lose(shared: () => Shared): void;
}

/** Relevance R, the sum z of the contributions that it goes to, and the quotient s of which each contribution takes its share. */
export interface Shared {
  readonly relevance: Value;
  readonly z: Value;
  readonly quotient: Value;
}

/** One LRP rule for linear layers: relevance of the output → relevance of the input. */
export type LinearRule<P = object> = (
  layer: LinearLayer,
  relevance: Value,
  context: RuleContext,
  parameters: P,
) => Value;

/** What is known of a denominator's sign. */
export type SignOf = 'any' | 'positive' | 'negative';

/**
 * a / (z + ε·sign z) with sign 0 = +1 (thesis 2.22). With ε = 0, a denominator of exactly 0 gives 0. The denominator never has another
 * sign than z, and is never nearer to 0 than ε. Where a was written as z ⊙ c, this is c·|z| / (|z| + ε), which needs no sign.
 */
export function stableQuotient(emit: Emitter, a: Value, z: Value, epsilon: number, sign: SignOf = 'any'): Value {
  if (epsilon === 0) {
    const zero = emit.compare('Equal', z, emit.scalar(0));
    return emit.where(zero, emit.scalar(0), emit.div(a, emit.where(zero, emit.scalar(1), z)));
  }
  if (sign === 'positive') return emit.div(a, emit.add(z, emit.scalar(epsilon)));
  if (sign === 'negative') return emit.div(a, emit.sub(z, emit.scalar(epsilon)));
  const cofactor = emit.cofactor(a, z);
  if (cofactor === undefined) return emit.div(a, emit.awayFromZero(z, epsilon));
  const size = emit.op('Abs', [z], z.dims);
  return emit.mul(cofactor, emit.div(size, emit.add(size, emit.scalar(epsilon))));
}

/** The quotient s = R / z by which a rule shares relevance out, stabilized; the audit hears of what s·z does not give back. */
export function relevanceQuotient(
  context: Pick<RuleContext, 'emit' | 'lose'>,
  relevance: Value,
  z: Value,
  epsilon: number,
  sign: SignOf = 'any',
): Value {
  const quotient = stableQuotient(context.emit, relevance, z, epsilon, sign);
  context.lose(() => ({ relevance, z, quotient }));
  return quotient;
}

/** What stands in a denominator, and what is known of its sign wherever relevance arrives. */
export interface Denominator {
  readonly value: Value;
  readonly sign: SignOf;
}

/** An output z, as it is read where its relevance is divided by it: behind a ReLU, the ReLU's own output. */
export function outputDenominator(
  output: Value,
  { emit, positive, rectified }: Pick<RuleContext, 'emit' | 'positive' | 'rectified'>,
): Denominator {
  if (!positive) return { value: output, sign: 'any' };
  return { value: rectified ?? emit.positive(output), sign: 'positive' };
}

/** z with or without its bias: a bias that is ignored does not count in the denominator. */
export function denominator(layer: LinearLayer, context: RuleContext): Denominator {
  const { bias } = context;
  if (bias !== 'ignore' || layer.bias === undefined) return outputDenominator(layer.output, context);
  return { value: counted(layer, context), sign: 'any' };
}

/** z as {@link denominator} has it, read where it is at hand: it is z wherever relevance arrives, and may be another number elsewhere. */
export function counted(layer: LinearLayer, { emit, bias, rectified }: RuleContext): Value {
  const z = rectified ?? layer.output;
  return bias === 'ignore' && layer.bias !== undefined ? emit.sub(z, layer.bias) : z;
}

/**
 * The bias' share b·s of the relevance, s being the quotient R/z: told to the audit when it is absorbed (2.16), spread over the
 * inputs that reach the output when it is distributed (2.73). Returns the relevance of the input with what was spread.
 */
export function settleBias(
  layer: LinearLayer,
  share: Value | undefined,
  input: Value,
  { emit, bias, absorb }: RuleContext,
): Value {
  if (share === undefined || bias === 'ignore') return input;
  if (bias === 'distribute') return emit.add(input, layer.spread(emit.div(share, layer.reached)));
  absorb(share);
  return input;
}

/** Tells the audit what is left of what a layer's denominators hold (`whole`, summed) once its inputs have got their relevance. */
export function absorbRest(whole: Value, input: Value, { emit, absorb }: RuleContext): void {
  absorb(whole);
  absorb(emit.mul(input, emit.scalar(-1)));
}

/** The positive or negative part of a bias, as long as the policy lets it count. */
export function biasPart(
  layer: LinearLayer,
  part: 'positive' | 'negative',
  { emit, bias }: RuleContext,
): Value | undefined {
  return layer.bias === undefined || bias === 'ignore' ? undefined : emit[part](layer.bias);
}

/** `value` ⊙ `factor`, spared where the factor is 1. */
export const times = (emit: Emitter, factor: number, value: Value): Value =>
  factor === 1 ? value : emit.mul(value, emit.scalar(factor));

/**
 * `factor`·z⁺ or `factor`·z⁻, all contributions x_i·w_ij > 0, or all < 0 (thesis 2.24), with that part of a bias that counts, and
 * with `offset` added: what is added to every output is part of the bias, which costs nothing.
 */
export function contributions(
  layer: LinearLayer,
  sign: 'positive' | 'negative',
  context: RuleContext,
  { factor = 1, offset = 0 }: { readonly factor?: number; readonly offset?: number } = {},
): Value {
  const { emit } = context;
  const opposite = sign === 'positive' ? 'negative' : 'positive';
  const own = biasPart(layer, sign, context);
  const scaled = own && times(emit, factor, own);
  const constant = emit.scalar(offset);
  const bias = offset === 0 ? scaled : scaled === undefined ? constant : emit.add(scaled, constant);
  const weights = times(emit, factor, emit[sign](layer.weights));
  if (layer.nonNegative) return layer.forward(layer.input, weights, bias);
  return emit.add(
    layer.forward(emit.positive(layer.input), weights, bias),
    layer.forward(emit.negative(layer.input), times(emit, factor, emit[opposite](layer.weights))),
  );
}
