import type { Window } from './emitter.js';

/** How J(w)ᵀ of a convolution is written; the two are equal, their speed is not. */
export type TransposedForm = 'conv-transpose' | 'flipped-conv';

/**
 * Which form of a transposed convolution is the faster one. Measured on WebAssembly, one thread, in milliseconds:
 *
 * | map | kernel | ConvTranspose | Conv with flipped kernels |
 * |---|---|---|---|
 * | 96×16×16 → 96×32×32 | depthwise 3×3, stride 2 | 0.26 | 0.16 to insert zeros + 0.33 |
 * | 192×8×8 → 192×16×16 | depthwise 3×3, stride 2 | 0.25 | 0.12 to insert zeros + 0.26 |
 *
 * At stride 1 nothing is inserted, and the runtime's Conv has kernels for depthwise and pointwise maps that ConvTranspose lacks.
 * In 3-D there is no choice: ConvTranspose fails on WebGPU.
 */
export function transposedFormFor(window: Window): TransposedForm {
  const unstrided = window.strides.every((stride) => stride === 1);
  return unstrided || window.strides.length > 2 ? 'flipped-conv' : 'conv-transpose';
}
