import { WhylightError } from '../errors.js';

/**
 * What is to be explained: the strongest output (of every frame anew), one output by index or label, a group of them (their
 * sum), or a weight for every output, such as +1 and −1 for "why this one rather than that one".
 */
export type Target = 'strongest' | number | string | readonly (number | string)[] | Float32Array;

/** What was explained. */
export interface ExplainedTarget {
  /** one weight per output; relevance starts at logits ⊙ weights */
  readonly weights: Float32Array;
  /** outputs whose weight is not 0 */
  readonly indices: readonly number[];
  /** their labels, or their indices as text where the model has no labels */
  readonly labels: readonly string[];
}

/** One of the strongest outputs. */
export interface TopEntry {
  /** index in the explained output */
  readonly index: number;
  /** the index as text where the model has no labels */
  readonly label: string;
  /** 0…1: softmax of the logits, or what the model's own Softmax or Sigmoid gave */
  readonly probability: number;
  /** the output before Softmax or Sigmoid; NaN where the compiled graph does not give it */
  readonly logit: number;
}

/**
 * The weights over the explained output's `size` elements; all zeros for 'strongest', which the graph itself picks.
 *
 * Throws WhylightError OPTION_INVALID for an unknown label, an index out of range, or weights of another length, not finite or all 0.
 */
export function targetWeights(target: Target, labels: readonly string[], size: number): Float32Array {
  const weights = new Float32Array(size);
  if (target === 'strongest' && !labels.includes('strongest')) return weights;
  if (target instanceof Float32Array) {
    if (target.length !== size || !target.every(Number.isFinite) || target.every((weight) => weight === 0)) {
      throw new WhylightError(
        'OPTION_INVALID',
        `"target" has ${target.length} weights; the explained output needs ${size} finite ones that are not all 0.`,
        { details: { option: 'target', length: target.length, size } },
      );
    }
    weights.set(target);
    return weights;
  }
  const members = typeof target === 'number' || typeof target === 'string' ? [target] : target;
  if (members.length === 0) {
    throw new WhylightError('OPTION_INVALID', '"target" is an empty list; use "strongest" or name an output.', {
      details: { option: 'target' },
    });
  }
  for (const member of members) weights[indexOf(member, labels, size)] = 1;
  return weights;
}

/** The index of the largest value, the first of equals. */
export function strongest(values: Float32Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index;
  return best;
}

/** Names what the weights select; where they are all 0, `scores` decide as the graph does. */
export function explainedTarget(
  weights: Float32Array,
  scores: Float32Array,
  labels: readonly string[],
): ExplainedTarget {
  const indices: number[] = [];
  // by index, here and below: an iterator allocates something for each of the outputs, and frames are many
  for (let index = 0; index < weights.length; index++) if (weights[index] !== 0) indices.push(index);
  let chosen = weights;
  if (indices.length === 0) {
    chosen = new Float32Array(weights.length);
    indices.push(strongest(scores));
    chosen[indices[0]!] = 1;
  }
  return { weights: chosen, indices, labels: indices.map((index) => labels[index] ?? String(index)) };
}

/** Softmax in a form that cannot overflow. */
export function softmax(logits: Float32Array): Float32Array {
  let highest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < logits.length; index++) highest = Math.max(highest, logits[index]!);
  const shares = new Float32Array(logits.length);
  for (let index = 0; index < logits.length; index++) shares[index] = Math.exp(logits[index]! - highest);
  let sum = 0;
  for (let index = 0; index < shares.length; index++) sum += shares[index]!;
  for (let index = 0; index < shares.length; index++) shares[index] = shares[index]! / sum;
  return shares;
}

/** The `count` strongest outputs, strongest first. */
export function topEntries(
  probabilities: Float32Array,
  logits: Float32Array | undefined,
  labels: readonly string[],
  count = 5,
): readonly TopEntry[] {
  // one pass, as a segmentation map has a million outputs
  const best: number[] = [];
  for (let index = 0; index < probabilities.length; index++) {
    const probability = probabilities[index]!;
    if (best.length === count) {
      if (!(probability > probabilities[best[count - 1]!]!)) continue;
      best.pop();
    }
    let place = best.length;
    while (place > 0 && probability > probabilities[best[place - 1]!]!) place--;
    best.splice(place, 0, index);
  }
  return best.map((index) => ({
    index,
    label: labels[index] ?? String(index),
    probability: probabilities[index]!,
    logit: logits?.[index] ?? Number.NaN,
  }));
}

function indexOf(member: number | string, labels: readonly string[], size: number): number {
  if (typeof member === 'number') {
    if (Number.isInteger(member) && member >= 0 && member < size) return member;
    throw new WhylightError('OPTION_INVALID', `"target" is ${member}; the outputs are numbered 0 to ${size - 1}.`, {
      details: { option: 'target', index: member, size },
    });
  }
  const index = labels.indexOf(member);
  if (index >= 0 && index < size) return index;
  const known =
    labels.length === 0
      ? 'the model has no labels'
      : `there is ${labels.slice(0, 10).join(', ')}${labels.length > 10 ? ', …' : ''}`;
  throw new WhylightError('OPTION_INVALID', `"target" is the label "${member}", which is not known: ${known}.`, {
    details: { option: 'target', label: member },
  });
}
