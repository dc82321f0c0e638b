/**
 * Makes integer models from float models. In a browser it is best run in a worker, for the models run on the thread that it is
 * called from; in Node it runs as it is.
 */
export {
  deserializeError,
  type ErrorDetails,
  type SerializedError,
  serializeError,
  WhylightError,
  type WhylightErrorCode,
} from './errors.js';
export type { InputShapes } from './graph/inputs.js';
export type { CalibrationFrame, CalibrationFrames } from './quantize/frames.js';
export type {
  Integers,
  QuantizationProgress,
  QuantizationScheme,
  QuantizeOptions,
  WeightRounding,
} from './quantize/options.js';
export { quantize } from './quantize/quantize.js';
export type { CalibrationMethod } from './quantize/ranges.js';
export type {
  QuantizationReport,
  QuantizedLayerReport,
  QuantizedModel,
  QuantizedOutputReport,
} from './quantize/report.js';
export type { OpenedModel, OpenModel, TensorData, Tensors } from './quantize/runtime.js';
export { type WasmRuntimeOptions, wasmRuntime } from './runtime/wasm-runtime.js';
