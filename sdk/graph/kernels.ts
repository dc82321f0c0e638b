import type { Node, Tensor } from './graph.js';
import { intAttribute, sizeOf } from './graph.js';

/** Fewest products for every number that a convolution reads or writes for which rounding what it reads pays. */
const PRODUCTS = 26;
/** Most products in a sum over the channels of a group that is better added up in float32. */
const SHORT = 100;

/**
 * Whether a convolution is better computed in float32 than on integers by ONNX Runtime for WebAssembly, where sums of integers are
 * written as ConvInteger (`lrp/wasm/integer-sums`). Its products are nearly three times as fast, but what goes in has to be rounded, and
 * what comes out brought to float32. Where channels are grouped, the kernel is QLinearConv, which needs a long sum. Measured on one
 * thread, in milliseconds; *rounded* is what quantizing the input, adding the bias and dequantizing the sums takes beside the kernel:
 *
 * | map | kernel | products a number | float32 | integers | rounded |
 * |---|---|---|---|---|---|
 * | 32 → 16×112×112 | 1×1 | 11 | **0.50** | 0.23 | 0.52 |
 * | 16 → 96×112×112 | 1×1 | 14 | **1.90** | 0.75 | 1.14 |
 * | 24 → 144×56×56 | 1×1 | 21 | **0.85** | 0.41 | 0.41 |
 * | 32 → 192×28×28 | 1×1 | 27 | 0.35 | **0.14** | 0.09 |
 * | 64 → 384×14×14 | 1×1 | 55 | 0.34 | **0.12** | 0.05 |
 * | 384 → 64×14×14 | 1×1 | 55 | 0.31 | **0.14** | 0.06 |
 * | 320 → 1280×7×7 | 1×1 | 256 | 1.70 | **0.56** | 0.10 |
 * | 16 → 16×56×56 | 3×3 | 72 | 0.62 | **0.32** | 0.06 |
 * | 64 → 64×56×56 | 3×3 | 288 | 7.33 | **3.55** | 0.25 |
 *
 * | map | kernel | products a sum | float32 | QLinearConv |
 * |---|---|---|---|---|
 * | 32 → 32×112×112 | depthwise 3×3 | 9 | **0.61** | 3.63 |
 * | 144 → 144×56×56 | depthwise 3×3 | 9 | **0.97** | 3.59 |
 * | 64 → 64×56×56 | 3×3, 8 groups | 72 | **1.40** | 2.19 |
 * | 512 → 512×14×14 | 3×3, 32 groups | 144 | 1.57 | **1.23** |
 */
export function isFasterInFloat(node: Node, weight: Tensor): boolean {
  if (node.op !== 'Conv') return false;
  const [outputs = 1, channels = 1, ...kernel] = weight.dims;
  const window = sizeOf(kernel);
  if (intAttribute(node, 'group', 1) > 1) return channels * window <= SHORT;
  return (outputs * channels * window) / (outputs + channels) < PRODUCTS;
}
