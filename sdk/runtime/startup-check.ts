import type { FloatArray } from './explanation.js';

/** How far the GPU may be from the CPU, relative to the largest magnitude of each tensor. */
export const tolerance = { outputs: 1e-3, relevance: 1e-2 } as const;

/** How two devices compare on one frame. */
export interface Comparison {
  readonly agree: boolean;
  /** largest difference of any output relative to that output's largest magnitude; Infinity where one is not finite */
  readonly outputs: number;
  /** the same for relevance */
  readonly relevance: number;
  /** the two figures as a sentence */
  readonly sentence: string;
}

/** The same noise every time, spread evenly over the range: it reaches every kernel with values of both signs. */
export function checkInput(length: number, low: number, high: number): Float32Array {
  let state = 12345;
  return Float32Array.from({ length }, () => {
    // Numerical Recipes' linear congruential generator
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + ((high - low) * state) / 2 ** 32;
  });
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
  const agree = outputs <= tolerance.outputs && relevance <= tolerance.relevance;
  return {
    agree,
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
