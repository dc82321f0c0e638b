export {
  deserializeError,
  type ErrorDetails,
  type SerializedError,
  serializeError,
  UnsupportedOperatorError,
  WhylightError,
  type WhylightErrorCode,
} from './errors.js';
export type {
  BiasPolicy,
  Composite,
  CompositeEntry,
  CompositeMethod,
  CompositeOptions,
  CompositeRules,
  LinearRuleName,
  Match,
  OtherRuleName,
  RelevanceInit,
  RuleName,
  TiePolicy,
} from './lrp/composite.js';
export type { CompiledExplanation, CompileOptions, CompileReport, LayerReport, LoweringTarget } from './lrp/report.js';
export type { ModelMetadata } from './runtime/metadata.js';
export type { Frame, SourceInfo } from './sources/frame.js';
