import { sizeOf } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';

/** Most products in a sum that is better added up in float32: where only channels are summed, and where a window is too. */
const SHORT = { pointwise: 192, window: 100 };

/**
 * Whether a convolution is better computed in float32 than on integers by ONNX Runtime for WebAssembly. Its integer kernels bring a sum
 * to the steps of their output so slowly that it has to be a long one. Measured on one thread, in milliseconds
 * (`npm run bench -- --where forms` measures again):
 *
 * | map | kernel | products a sum | float32 | integers |
 * |---|---|---|---|---|
 * | 32 → 32×112×112 | depthwise 3×3 | 9 | **0.61** | 3.63 |
 * | 144 → 144×56×56 | depthwise 3×3 | 9 | **0.97** | 3.59 |
 * | 960 → 960×7×7 | depthwise 3×3 | 9 | **0.48** | 0.54 |
 * | 3 → 32×112×112 | 3×3 | 27 | **0.84** | 1.26 |
 * | 64 → 64×56×56 | 3×3, 8 groups | 72 | **1.40** | 2.19 |
 * | 512 → 512×14×14 | 3×3, 32 groups | 144 | 1.57 | **1.23** |
 * | 16 → 16×56×56 | 3×3 | 144 | 0.62 | **0.38** |
 * | 64 → 64×56×56 | 3×3 | 576 | 7.44 | **3.71** |
 * | 16 → 96×112×112 | 1×1 | 16 | **1.52** | 2.42 |
 * | 64 → 256×56×56 | 1×1 | 64 | 3.19 | **2.53** |
 * | 192 → 32×28×28 | 1×1 | 192 | 0.31 | **0.18** |
 * | 384 → 64×14×14 | 1×1 | 384 | 0.31 | **0.16** |
 *
 * What a 1×1 kernel gains, rounding and transposing its activations costs again where its neighbours are in float32. MobileNetV2
 * with an explanation (`epsilon`) takes, by the longest sum of a 1×1 convolution in float32, of the time of the float32 model:
 * 48 products 1.03, 100 0.99, 128 and 192 0.98.
 */
export function isFasterInFloat({ node, weight }: LinearLayer): boolean {
  const [, channels = 1, ...kernel] = weight.dims;
  const window = sizeOf(kernel);
  return node.op === 'Conv' && channels * window <= (window === 1 ? SHORT.pointwise : SHORT.window);
}
