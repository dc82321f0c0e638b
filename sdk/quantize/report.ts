import type { QuantizationScheme } from './options.js';

/** What became of one node. */
export interface QuantizedLayerReport {
  /** the node's name */
  readonly name: string;
  /** its operator */
  readonly operator: string;
  /** how it is computed; `float32` where it was left alone */
  readonly scheme: QuantizationScheme | 'float32';
  /** why it was left in float32, or has integer weights only; undefined otherwise */
  readonly reason?: string;
  /** the tensor that it gives, after the ReLU or Clip that belongs to it */
  readonly output: string;
  /** what one step of its output stands for; undefined where its output is float32 */
  readonly scale?: number;
  /** the integer that stands for 0, 0…255 */
  readonly zeroPoint?: number;
  /** share of the output's values, 0…1, that lie beyond its range and are clipped, over all calibration frames */
  readonly saturation?: number;
  /**
   * signal-to-quantization-noise ratio of its output in dB, over the measured frames: what this layer and all before it have done
   * to it. Infinity where nothing differs; undefined without frames.
   */
  readonly sqnr?: number;
}

/** One output of the model. */
export interface QuantizedOutputReport {
  /** its name */
  readonly name: string;
  /** signal-to-quantization-noise ratio in dB over the measured frames; undefined without frames */
  readonly sqnr?: number;
}

/** What a quantization did, and how close it came. */
export interface QuantizationReport {
  /** what was asked for */
  readonly scheme: QuantizationScheme;
  /** nodes in the order of the graph: all that are quantized, and all that have weights */
  readonly layers: readonly QuantizedLayerReport[];
  /** the model's outputs */
  readonly outputs: readonly QuantizedOutputReport[];
  /** size of the files in bytes, weights in external files included */
  readonly bytes: { readonly original: number; readonly quantized: number };
  /** frames that decided the ranges */
  readonly calibrationFrames: number;
  /** frames that the ratios were measured over; they are among those of the calibration */
  readonly measuredFrames: number;
  /** layers that read equalized channels */
  readonly equalized: number;
  /** what was merged, folded or removed before, and what is to be known, as sentences */
  readonly notes: readonly string[];
}

/** A quantized model. */
export interface QuantizedModel {
  /** the ONNX file */
  readonly model: Uint8Array;
  /** what was done, layer by layer */
  readonly report: QuantizationReport;
}
