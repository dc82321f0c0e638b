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
  /** J(w)·x without bias */
  forward(x: Value, w: Value): Value;
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
 * sign than z, and is never nearer to 0 than ε.
 */
export function stableQuotient(emit: Emitter, a: Value, z: Value, epsilon: number, sign: SignOf = 'any'): Value {
  if (epsilon === 0) {
    const zero = emit.compare('Equal', z, emit.scalar(0));
    return emit.where(zero, emit.scalar(0), emit.div(a, emit.where(zero, emit.scalar(1), z)));
  }
  if (sign === 'positive') return emit.div(a, emit.add(z, emit.scalar(epsilon)));
  if (sign === 'negative') return emit.div(a, emit.sub(z, emit.scalar(epsilon)));
  // ε·sign z without a branch, which costs the runtime ten times as much: z is stretched until it is clipped at ±ε. Twice, or the
  // smallest numbers would not get there
  const once = emit.mul(z, emit.scalar(STRETCH));
  const stretched = emit.add(emit.mul(once, emit.scalar(STRETCH)), emit.scalar(epsilon));
  const signed = emit.op('Clip', [stretched, emit.scalar(-epsilon), emit.scalar(epsilon)], z.dims);
  return emit.div(a, emit.add(z, signed));
}

/** Makes the smallest float32 (10⁻⁴⁵) larger than any ε, when it is multiplied with it twice. */
const STRETCH = 1e30;

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

/** z with or without its bias: a bias that is ignored does not count in the denominator. */
export function denominator(layer: LinearLayer, { emit, bias }: RuleContext): Value {
  return bias === 'ignore' && layer.bias !== undefined ? emit.sub(layer.output, layer.bias) : layer.output;
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

/** z⁺ or z⁻ without bias: all contributions x_i·w_ij > 0, or all < 0 (thesis 2.24). */
export function contributions(layer: LinearLayer, sign: 'positive' | 'negative', emit: Emitter): Value {
  const opposite = sign === 'positive' ? 'negative' : 'positive';
  if (layer.nonNegative) return layer.forward(layer.input, emit[sign](layer.weights));
  return emit.add(
    layer.forward(emit.positive(layer.input), emit[sign](layer.weights)),
    layer.forward(emit.negative(layer.input), emit[opposite](layer.weights)),
  );
}
