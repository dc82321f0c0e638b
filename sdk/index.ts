export {
  deserializeError,
  type ErrorDetails,
  type SerializedError,
  serializeError,
  UnsupportedOperatorError,
  WhylightError,
  type WhylightErrorCode,
} from './errors.js';
export { type Agreement, relevanceAgreement } from './evaluation/agreement.js';
export {
  type ComparedExplanation,
  type ComparedMaps,
  type CompareOptions,
  compareExplanations,
  type FrameDrift,
  type LayerDrift,
  type MapPair,
} from './evaluation/drift.js';
export type { AgreementSummary, Distribution, DriftSummary } from './evaluation/drift-summary.js';
export { type ModelMatch, matchModels, type TensorMatch } from './evaluation/model-match.js';
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
export type { OpenedModel, OpenModel, TensorData, Tensors } from './quantize/runtime.js';
export type { Rgb } from './render/cielab.js';
export {
  type Colormap,
  type ColormapName,
  colormap,
  colormaps,
  colourOf,
} from './render/colormap.js';
export { differenceMap, magnification } from './render/difference.js';
export { type DriftPictureOptions, type DriftRow, driftPicture } from './render/drift-picture.js';
export {
  type ExplainedPicture,
  type ExplanationPictureOptions,
  explanationPicture,
} from './render/explanation-picture.js';
export {
  type DrawLegendOptions,
  drawLegend,
  formatRelevance,
  type LegendOptions,
  legendSvg,
} from './render/legend.js';
export {
  largest,
  type NormalizedMap,
  type NormalizerOptions,
  normalize,
  normalizer,
  percentile,
  type RelevanceMap,
  type RunningMaximumOptions,
  runningMaximum,
  sumChannels,
} from './render/normalize.js';
export {
  type AnyCanvas,
  type AnyContext,
  alphaMask,
  drawOverlay,
  heatmap,
  type Overlaid,
  type OverlayLook,
  type OverlayOptions,
  type Pixels,
  placeOfInput,
  type Rectangle,
  resample,
  type Sign,
} from './render/overlay.js';
export type { RungOptions } from './runtime/budget/ladder.js';
export type { ExplainerStream, StreamFrameOptions, StreamOptions } from './runtime/budget/lane.js';
export type { HeldMemory, Metrics, RungMetrics, Stage, StreamMetrics } from './runtime/budget/metrics.js';
export type { Spread } from './runtime/budget/statistics.js';
export type { Resource, Use } from './runtime/budget/turns.js';
export type { DrawOptions } from './runtime/drawing.js';
export {
  createExplainer,
  type Explainer,
  type ExplainFrameOptions,
} from './runtime/explainer.js';
export type { ExplainerOptions } from './runtime/explainer-options.js';
export type { Device, DeviceChoice, Dropped, Explanation, FloatArray, Quality, Timing } from './runtime/explanation.js';
export {
  type GraphExplainer,
  type GraphExplanation,
  type GraphFeeds,
  type GraphOptions,
  openGraph,
} from './runtime/graph-explainer.js';
export type { Colour, Fit, ModelMetadata, PictureInput, ResolvedMetadata, WaveformInput } from './runtime/metadata.js';
export { type FitGeometry, toInput, toPicture } from './runtime/preprocess.js';
export type { Progress } from './runtime/protocol.js';
export type { ExplainedTarget, Target, TopEntry } from './runtime/target.js';
export { camera, type ScreenOptions, screen } from './sources/camera.js';
export type { FFmpegOptions } from './sources/ffmpeg-core.js';
export type { Frame, SourceInfo, TimedFrame } from './sources/frame.js';
export { type ImageInput, type ImagesOptions, images } from './sources/images.js';
export type { LiveOptions } from './sources/live.js';
export { type MicrophoneOptions, microphone } from './sources/microphone.js';
export { openFrames } from './sources/ownership.js';
export { type SoundFileOptions, soundFile } from './sources/sound-file.js';
export type { MediaFrame, SoundWindow, WindowOptions } from './sources/sound-window.js';
export { type FrameSource, type FramesOptions, framesOf, isWaitedFor } from './sources/source.js';
export { type VideoFileOptions, videoFile } from './sources/video-file.js';
export { type ExplainOptions, type ExplainsFrames, explain, type Flow } from './stream/explain.js';
export {
  type Comparison,
  type ExplainerPair,
  type Explains,
  explainerPair,
  type PairedExplanation,
  type PairOptions,
} from './stream/explainer-pair.js';
export {
  type DriftOptions,
  type DriftProgress,
  type ExplanationDrift,
  explanationDrift,
} from './stream/explanation-drift.js';
export type { Sequence } from './stream/iterate.js';
export { type PacedOptions, paced } from './stream/paced.js';
export type { PairStreams } from './stream/pair-streams.js';
export type { WorkerOption } from './worker-calls.js';
