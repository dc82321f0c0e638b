import type { Window } from './emitter.js';
import type { LoweringTarget } from './report.js';

/** How J(w)ᵀ of a convolution is written; the two are equal, their speed is not. */
export type TransposedForm = 'conv-transpose' | 'flipped-conv';

/** A transposed convolution to `to` channels; the window is that of the convolution. */
export interface TransposedMap {
  readonly window: Window;
  readonly to: number;
}

/** Maps of so few channels, such as pictures, are laid out faster than they are gathered. */
const FEW_CHANNELS = 4;

/**
 * Which form of a transposed convolution is the faster one. Measured on WebAssembly, one thread, in milliseconds
 * (`npm run bench -- --where forms` measures again):
 *
 * | map | kernel | ConvTranspose | Conv with flipped kernels |
 * |---|---|---|---|
 * | 64 → 64×56×56 | 3×3 | 11.6 | **7.7** |
 * | 256 → 256×14×14 | 3×3 | 7.9 | **7.6** |
 * | 256 → 64×56×56 | 1×1 | 4.3 | **3.9** |
 * | 512 → 2048×7×7 | 1×1 | 4.8 | **4.5** |
 * | 64 → 16×112×112 | 3×3 | 13.7 | **10.1** |
 * | 96 → 96×56×56 | depthwise 3×3 | 2.0 | **0.9** |
 * | 64 → 3×224×224 | 3×3 | **12.9** | 15.7 |
 * | 64 → 3×224×224 | 7×7, stride 2 | **13.7** | 75 |
 * | 256 → 256×28×28 | 3×3, stride 2 | **8.6** | 29 |
 * | 2048 → 1024×14×14 | 1×1, stride 2 | **9.8** | 29 |
 * | 96 → 96×112×112 | depthwise 3×3, stride 2 | **3.3** | 4.8 |
 * | 16 → 3×16×112×112 | 3×3×3 | 153 | **42** |
 * | 128 → 64×2×14×14 | 3×3×3 | 10.6 | **6.1** |
 * | 32 → 32×8×28×28 | 3×3×3, stride 2 | **7.2** | 12.7 |
 *
 * Zeros inserted for a stride are multiplied too, which is what makes flipped kernels slow there; at stride 1 the runtime's Conv has
 * kernels for depthwise and pointwise maps that ConvTranspose lacks. In 3-D, ConvTranspose fails on WebGPU.
 */
export function transposedFormFor({ window, to }: TransposedMap, target: LoweringTarget): TransposedForm {
  const strided = window.strides.some((stride) => stride > 1);
  if (window.strides.length > 2) return strided && target === 'wasm' ? 'conv-transpose' : 'flipped-conv';
  return strided || to <= FEW_CHANNELS ? 'conv-transpose' : 'flipped-conv';
}

/** How maxima, minima, signs and masks are written: `vector` with Max, Min and Sign, `plain` with Relu, Clip and Greater. */
export type ElementwiseForms = 'vector' | 'plain';

/**
 * ONNX Runtime's WebAssembly has faster kernels for Max, Min and Sign than for Relu, Clip and comparisons; its WebGPU lacks Sign.
 * Measured as {@link transposedFormFor}, on 1.2 million elements:
 *
 * | | vector | plain |
 * |---|---|---|
 * | max(a, 0) | Max 0.40 | Relu 0.56 |
 * | min(a, 0) | Min 0.41 | Clip 0.81 |
 * | 1 where a > 0 | Sign 0.47 | Greater, Cast 1.30 |
 * | a + ε·sign a | Add, Sign, Mul, Add 1.53 | Mul, Add, Clip, Add 1.98; a Clip before them, so that nothing overflows on a GPU, is not in it |
 */
export const elementwiseFormsFor = (target: LoweringTarget): ElementwiseForms =>
  target === 'wasm' ? 'vector' : 'plain';
