import type { BiasPolicy, CompositeEntry } from '../../sdk/lrp/composite.js';
import type { AffineMap } from './jacobian.js';

/** A rule with its parameters, as a composite's entry has them. */
export type LayerRule = Omit<CompositeEntry, 'match'>;

/** What a rule needs to know of the layer beside its parameters. */
export interface RuleSettings {
  readonly stabilizer: number;
  readonly bias: BiasPolicy;
  /** what quantization adds to each output: one more bias, of the positive side where sides are told apart; 0 where none does */
  readonly rounding?: Float64Array | undefined;
  /** lowest and highest value of input i, for z-box */
  readonly range: (i: number) => readonly [low: number, high: number];
}

/** A message z_ij for every input, and the denominator that they are divided by, before stabilization. */
interface Share {
  readonly weight: number;
  readonly messages: Float64Array;
  readonly denominator: number;
}

/** Worst ratio of Σ|terms| to |denominator|: how many digits the division can lose. */
export interface Condition {
  worst: number;
}

/** v + ε · sign(v) with sign 0 = +1, thesis 2.22. */
export function stabilized(v: number, epsilon: number): number {
  return v + (v >= 0 ? epsilon : -epsilon);
}

const positive = (v: number): number => Math.max(v, 0);
const negative = (v: number): number => Math.min(v, 0);

/**
 * R_i = Σ_j Σ_shares weight · message_ij / stab(denominator_j) · R_j for one affine layer, by explicit double sums.
 */
export function propagate(
  map: AffineMap,
  x: Float64Array,
  relevance: Float64Array,
  rule: LayerRule,
  settings: RuleSettings,
  condition: Condition,
): Float64Array {
  const { rows, columns } = map.jacobian;
  const result = new Float64Array(columns);
  const epsilon = rule.rule === 'epsilon' ? (rule.epsilon ?? settings.stabilizer) : settings.stabilizer;
  for (let j = 0; j < rows; j++) {
    if (relevance[j] === 0) continue;
    const w = map.jacobian.data.subarray(j * columns, (j + 1) * columns);
    const reached = map.reached.data.subarray(j * columns, (j + 1) * columns);
    if (rule.rule === 'gradient') {
      for (let i = 0; i < columns; i++) result[i] = result[i]! + w[i]! * relevance[j]!;
      continue;
    }
    for (const share of sharesOf(rule, w, reached, x, map.bias[j]!, settings.rounding?.[j] ?? 0, settings)) {
      const denominator = stabilized(share.denominator, epsilon);
      const magnitude = share.messages.reduce((sum, message) => sum + Math.abs(message), 0);
      if (share.weight !== 0 && magnitude > 0) {
        condition.worst = Math.max(condition.worst, magnitude / Math.abs(denominator));
      }
      for (let i = 0; i < columns; i++) {
        result[i] = result[i]! + (share.weight * share.messages[i]! * relevance[j]!) / denominator;
      }
    }
  }
  return result;
}

/** The messages of output j to all inputs. `b` is the output's bias. */
function sharesOf(
  rule: LayerRule,
  w: Float64Array,
  reached: Float64Array,
  x: Float64Array,
  b: number,
  rounding: number,
  settings: RuleSettings,
): Share[] {
  const z = w.map((weight, i) => weight * x[i]!);
  const sum = (messages: Float64Array): number => messages.reduce((total, message) => total + message, 0);
  const inputs = sum(reached);

  /** `bias` is the part of the layer's bias that belongs to these messages. */
  const share = (weight: number, messages: Float64Array, bias: number): Share => {
    switch (settings.bias) {
      case 'absorb': // thesis 2.16: the bias keeps its share
        return { weight, messages, denominator: sum(messages) + bias };
      case 'ignore':
        return { weight, messages, denominator: sum(messages) };
      case 'distribute': // thesis 2.73: b_j / N to each of the N inputs reached
        return {
          weight,
          // an output that reaches no input (between the strides of a transposed convolution) has nobody to give its bias to
          messages: messages.map((message, i) => (reached[i] === 0 ? message : message + bias / inputs)),
          denominator: sum(messages) + bias,
        };
    }
  };

  switch (rule.rule) {
    case 'z': // thesis 2.10
    case 'epsilon': // thesis 2.22
    case 'norm': // thesis 2.39, 2.54
      return [share(1, z, b + rounding)];
    case 'alpha-beta': // thesis 2.24–2.26 with α + β = 1
      return [
        share(rule.alpha ?? 2, z.map(positive), positive(b) + rounding),
        share(rule.beta ?? -1, z.map(negative), negative(b)),
      ];
    case 'z-plus':
      return [share(1, z.map(positive), positive(b))];
    case 'gamma': {
      // Montavon 2019 for inputs of any sign: x⁺(w + γw⁺) + x⁻(w + γw⁻) is z + γz⁺ where the output is positive,
      // x⁺(w + γw⁻) + x⁻(w + γw⁺) is z + γz⁻ where it is negative, nothing where it is zero
      const gamma = rule.gamma ?? 0.25;
      const output = sum(z) + (settings.bias === 'ignore' ? 0 : b);
      if (output === 0) return [];
      const favoured = output > 0 ? positive : negative;
      return [
        share(
          1,
          z.map((value) => value + gamma * favoured(value)),
          b + gamma * favoured(b),
        ),
      ];
    }
    case 'flat': // thesis 2.27, 5.1
      return [{ weight: 1, messages: reached, denominator: inputs }];
    case 'w-square': {
      // thesis 2.28; the bias counts as one more weight, of an input that is always one
      const squares = w.map((weight) => weight * weight);
      return [share(1, squares, b * b)];
    }
    case 'z-box': {
      // Montavon 2017: x w − l w⁺ − h w⁻; the bias of the three sums cancels
      const messages = z.map((value, i) => {
        const [low, high] = settings.range(i);
        return value - low * positive(w[i]!) - high * negative(w[i]!);
      });
      return [{ weight: 1, messages, denominator: sum(messages) }];
    }
    default:
      throw new RangeError(`no dense form of the rule ${rule.rule}`);
  }
}
