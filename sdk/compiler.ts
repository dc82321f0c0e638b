/**
 * The compiler alone: no browser, no ONNX Runtime. It turns an ONNX file into a larger one that also computes relevance.
 */
export {
  deserializeError,
  type ErrorDetails,
  type SerializedError,
  serializeError,
  UnsupportedOperatorError,
  WhylightError,
  type WhylightErrorCode,
} from './errors.js';
export { balanceOf, type StepBalance, type StepLoss } from './lrp/balance.js';
export { compileExplanation } from './lrp/compile.js';
export type {
  BiasPolicy,
  Composite,
  CompositeEntry,
  CompositeMethod,
  CompositeOptions,
  CompositeRules,
  GatePolicy,
  LinearRuleName,
  Match,
  MethodOptions,
  OtherRuleName,
  RelevanceInit,
  RuleName,
  TiePolicy,
} from './lrp/composite.js';
export type { DerivedWeights } from './lrp/derived-weights.js';
export { type Attribution, type Preset, presets } from './lrp/presets.js';
export type {
  CompiledExplanation,
  CompileOptions,
  CompileReport,
  LayerReport,
  LoweringTarget,
  OffGpu,
  RelevanceSeed,
} from './lrp/report.js';
