/** The values from `low` ≤ 0 to `high` ≥ 0. */
export interface Range {
  readonly low: number;
  readonly high: number;
}

/** What an integer q stands for: (q − zeroPoint) · scale. */
export interface Steps {
  /** A float32 number above 0. */
  readonly scale: number;
  /** An integer of the quantized type. */
  readonly zeroPoint: number;
}

/** Activations are uint8. */
export const largestActivation = 255;

/** Below this a product of two scales is no normal float32 any more. */
const leastScale = 2 ** -60;

/**
 * uint8 steps over a range. The zero point is 0 where nothing is negative, which ONNX Runtime's kernels are fastest with; the
 * last step is never above `high`, so that a Clip to it is what the integers do anyway, and is removed by ONNX Runtime.
 */
export function activationSteps({ low, high }: Range): Steps {
  if (high - low === 0) return { scale: 1, zeroPoint: 0 };
  let scale = Math.fround(Math.max(leastScale, (high - low) / largestActivation));
  if (low === 0 && Math.fround(scale * largestActivation) > high) scale = Math.fround(scale * (1 - 2 ** -23));
  return { scale, zeroPoint: low === 0 ? 0 : Math.min(largestActivation, Math.round(-low / scale)) };
}

/** A value after quantization to uint8 and back: rounded half to even, clipped. */
export function stepTo(value: number, { scale, zeroPoint }: Steps): number {
  const integer = roundHalfToEven(value / scale) + zeroPoint;
  return (Math.min(largestActivation, Math.max(0, integer)) - zeroPoint) * scale;
}

/** The nearest integer, of two equally near ones the even, as QuantizeLinear rounds. */
export function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  if (rest > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Weights of a layer as integers, with one scale for each output channel and zero points of 0. */
export interface QuantizedWeights {
  /** In −largest…largest, in the order of the weights. */
  readonly integers: Int8Array;
  /** float32 numbers, one per output channel. */
  readonly scales: Float32Array;
}

/** The largest integer of the types that weights take. */
export const largestWeight = { int8: 127, int4: 7 } as const;

/**
 * Symmetric weights per output channel. `leastScales` bounds scales from below: where a channel's weights are tiny beside its bias,
 * the bias, in steps of weight scale × input scale, must still fit int32.
 */
export function quantizeWeights(
  weights: ArrayLike<number>,
  outputs: number,
  outputAt: (position: number) => number,
  leastScales: ArrayLike<number> = [],
): QuantizedWeights {
  const scales = new Float32Array(outputs);
  for (let at = 0; at < weights.length; at++) {
    const output = outputAt(at);
    scales[output] = Math.max(scales[output]!, Math.abs(weights[at]!));
  }
  for (let output = 0; output < outputs; output++) {
    const scale = scales[output]! / largestWeight.int8;
    scales[output] = Math.max(scale, leastScales[output] ?? 0, leastScale);
  }
  const integers = new Int8Array(weights.length);
  for (let at = 0; at < weights.length; at++) {
    const steps = roundHalfToEven(weights[at]! / scales[outputAt(at)]!);
    integers[at] = Math.max(-largestWeight.int8, Math.min(largestWeight.int8, steps));
  }
  return { integers, scales };
}

/** Largest bias, as an integer, that leaves room in int32 for the sum of products beside it. */
const largestBias = 2 ** 30;

/** The smallest weight scales with which each bias fits into int32, for an input in steps of `inputScale`. */
export function leastScalesFor(bias: ArrayLike<number>, inputScale: number): Float64Array {
  return Float64Array.from(bias, (value) => Math.abs(value) / (inputScale * largestBias));
}

/** A bias in steps of input scale × weight scale, the product rounded to float32. */
export function quantizeBias(bias: ArrayLike<number>, inputScale: number, weightScales: Float32Array): Int32Array {
  return Int32Array.from(weightScales, (scale, output) =>
    roundHalfToEven(bias[output]! / Math.fround(scale * inputScale)),
  );
}
