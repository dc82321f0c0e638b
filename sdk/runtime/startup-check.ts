import type { Graph } from '../graph/graph.js';
import type { FloatArray } from './explanation.js';
import { strongest } from './target.js';

/** How far the GPU may be from the CPU, relative to the largest magnitude of each tensor. */
export const tolerance = { outputs: 1e-3, relevance: 1e-2 } as const;

/**
 * How far roundings that fall the other way may lead, relative to the largest magnitude. Measured over noise: up to 3.6e-2 of the outputs
 * and 1.5e-1 of relevance.
 */
export const roundings = { outputs: 0.1, relevance: 0.5 } as const;

/** A graph that rounds is given so many frames at most. */
const mostFrames = 5;

/** How two devices compare on one frame. */
export interface Comparison {
  /** they compute the same but for the order of sums */
  readonly agree: boolean;
  /** they differ by no more than what a rounding that falls the other way can do */
  readonly near: boolean;
  /** largest difference of any output relative to that output's largest magnitude; Infinity where one is not finite */
  readonly outputs: number;
  /** the same for relevance */
  readonly relevance: number;
  /** the two figures as a sentence */
  readonly sentence: string;
}

/** The same noise every time, spread evenly over the range: it reaches every kernel with values of both signs. Another index is another frame. */
export function checkInput(length: number, low: number, high: number, index = 0): Float32Array {
  let state = 12345 + index;
  return Float32Array.from({ length }, () => {
    // Numerical Recipes' linear congruential generator
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + ((high - low) * state) / 2 ** 32;
  });
}

/** Whether values are rounded on the way through a model, so that a last bit may decide about a whole step. */
export function isRounding({ nodes }: Graph): boolean {
  return nodes.some(({ op }) => /^(Dynamic)?QuantizeLinear$|^QLinear|^QGemm$|Integer$|^Round$/.test(op));
}

/** One run with relevance: all outputs by name. The target is one weight per explained element, all zeros for the strongest. */
export type CheckedRun = (image: Float32Array, target: Float32Array) => Promise<Readonly<Record<string, FloatArray>>>;

/** What a device is checked with. */
export interface DeviceCheck {
  readonly reference: CheckedRun;
  readonly device: CheckedRun;
  /** how many elements it has, and between which values they lie */
  readonly input: { readonly size: number; readonly range: readonly [low: number, high: number] };
  /** the explained output, and how many elements it has */
  readonly explained: { readonly output: string; readonly size: number };
  /** see {@link isRounding} */
  readonly rounding: boolean;
}

/**
 * Whether a device computes what the reference does. One frame on which they agree is enough. Where values are rounded to integers,
 * sums that differ in their last bits may be rounded to different ones, and a right device differ visibly. That is left to chance by
 * each frame, whereas a wrong kernel is wrong on every frame. So a graph that rounds is given further frames, as long as none differs by more than
 * roundings can do, until one agrees. What passes wrongly: a fault that this one frame does not meet, and
 * that on no frame before went beyond {@link roundings}.
 */
export async function checkDevice({ reference, device, input, explained, rounding }: DeviceCheck): Promise<Comparison> {
  const none = new Float32Array(explained.size);
  for (let index = 0; ; index++) {
    const image = checkInput(input.size, ...input.range, index);
    const expected = await reference(image, none);
    const scores = expected[explained.output]?.data ?? none;
    // the reference's strongest output for both: a near tie must not look like a fault of the GPU
    const target = none.map((_, element) => (element === strongest(scores) ? 1 : 0));
    const comparison = compareRuns(expected, await device(image, target));
    if (comparison.agree || !comparison.near || !rounding || index + 1 === mostFrames) {
      return index === 0 ? comparison : { ...comparison, sentence: `${comparison.sentence}, the last of ${index + 1}` };
    }
  }
}

/** Compares every tensor that both runs gave; names that start with `relevance/` have the wider tolerance. */
export function compareRuns(
  reference: Readonly<Record<string, FloatArray>>,
  other: Readonly<Record<string, FloatArray>>,
): Comparison {
  let outputs = 0;
  let relevance = 0;
  for (const [name, { data }] of Object.entries(reference)) {
    const difference = relativeDifference(data, other[name]?.data ?? new Float32Array());
    if (name.startsWith('relevance/')) relevance = Math.max(relevance, difference);
    else outputs = Math.max(outputs, difference);
  }
  const within = (limit: { readonly outputs: number; readonly relevance: number }) =>
    outputs <= limit.outputs && relevance <= limit.relevance;
  return {
    agree: within(tolerance),
    near: within(roundings),
    outputs,
    relevance,
    sentence:
      `on a check frame it differs from WASM by ${outputs.toExponential(1)} of the largest output ` +
      `and ${relevance.toExponential(1)} of the largest relevance`,
  };
}

function relativeDifference(reference: Float32Array, other: Float32Array): number {
  if (reference.length !== other.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  let difference = 0;
  for (let index = 0; index < reference.length; index++) {
    const a = reference[index]!;
    const b = other[index]!;
    if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(a));
    difference = Math.max(difference, Math.abs(a - b));
  }
  return difference === 0 ? 0 : difference / largest;
}
