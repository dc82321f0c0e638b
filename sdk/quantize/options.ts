import { WhylightError } from '../errors.js';
import type { InputShapes } from '../graph/inputs.js';
import type { CalibrationMethod } from './ranges.js';
import type { OpenModel } from './runtime.js';

/**
 * What becomes integers:
 * - `int8`: activations uint8, weights int8 per output channel; on the CPU ONNX Runtime computes on them as integers
 * - `int8-weights`: the weights alone, int8 per output channel; for GPUs, which compute in floating point
 * - `int4-weights`: the weights alone, 4 bit in blocks of 32
 */
export type QuantizationScheme = 'int8' | 'int8-weights' | 'int4-weights';

/**
 * Which layers compute on integers under `int8`:
 * - `where-faster`: those that are then explained faster on ONNX Runtime for WebAssembly; depthwise convolutions and others of few products for
 *   every number read or written have integer weights, and activations in float32
 * - `everywhere`: all that have integer kernels, for runtimes and processors that are fast at them
 */
export type Integers = 'where-faster' | 'everywhere';

/**
 * How weights become integers under `int8`:
 * - `nearest`: each to the nearest
 * - `least-error`: together, so that what a layer gives for the calibration frames changes least
 */
export type WeightRounding = 'nearest' | 'least-error';

/** How far a quantization has come. */
export type QuantizationProgress =
  | {
      /** frames are run to see the range of every channel and activation */
      readonly stage: 'calibrate';
      /** frames so far */
      readonly frames: number;
    }
  | {
      /** the quantized model is compared with the original */
      readonly stage: 'measure';
      /** frames so far */
      readonly frames: number;
      /** frames in all */
      readonly total: number;
    }
  | {
      /** layers are quantized one by one, to find those that harm the output most */
      readonly stage: 'search';
      /** layers so far */
      readonly layers: number;
      /** layers in all */
      readonly total: number;
    };

/** Settings of `quantize`. */
export interface QuantizeOptions {
  /** Runs a model; `wasmRuntime()` gives one that works in browsers, workers and Node. */
  readonly open: OpenModel;
  /** What becomes integers; default `int8`. */
  readonly scheme?: QuantizationScheme;
  /** Which layers compute on integers under `int8`; default `where-faster`. */
  readonly integers?: Integers;
  /** How the range of an activation is found; default `mse`. */
  readonly method?: CalibrationMethod;
  /** Per cent of the values that the method `percentile` keeps inside, in [50, 100]; default 99.99. */
  readonly percentile?: number;
  /** Names of nodes that stay in float32; `*` stands for any characters. */
  readonly exclude?: readonly string[];
  /**
   * Lowest signal-to-quantization-noise ratio of the model's outputs, in dB over the measured frames. While it is lower, layers
   * compute in float32, those first that harm the outputs most by themselves. Their weights are int8 all the same where that is
   * enough, and the file stays small. Without a bound nothing is searched.
   */
  readonly bound?: number;
  /** Whether channels are scaled between layers so that they use the range of their tensor alike; default true. */
  readonly equalize?: boolean;
  /** How weights become integers under `int8`; default `least-error`. */
  readonly rounding?: WeightRounding;
  /** Whether the mean error that quantized weights make is taken out of the biases; default true. */
  readonly correctBias?: boolean;
  /** Most frames that are taken for calibration; default 512. */
  readonly maxFrames?: number;
  /** Of these, how many are kept to equalize channels and to measure the result; default 32. */
  readonly measuredFrames?: number;
  /** Shapes for inputs whose dimensions the file leaves open; a leading open dimension is 1 where nothing is said. */
  readonly inputShapes?: InputShapes;
  /** Contents of files with weights that the model names, by their name. */
  readonly externalData?: Readonly<Record<string, Uint8Array>>;
  /** Called as the work goes on. */
  readonly onProgress?: (progress: QuantizationProgress) => void;
  /** Ends the work, with ABORTED. */
  readonly signal?: AbortSignal;
}

/** Options with their defaults. */
export type ResolvedQuantizeOptions = QuantizeOptions &
  Required<
    Pick<
      QuantizeOptions,
      | 'scheme'
      | 'integers'
      | 'method'
      | 'percentile'
      | 'exclude'
      | 'equalize'
      | 'rounding'
      | 'correctBias'
      | 'maxFrames'
      | 'measuredFrames'
    >
  >;

/** The schemes there are. */
export const quantizationSchemes: readonly QuantizationScheme[] = ['int8', 'int8-weights', 'int4-weights'];

/** The ways to choose layers there are. */
export const integerChoices: readonly Integers[] = ['where-faster', 'everywhere'];

/** The ways to round weights there are. */
export const weightRoundings: readonly WeightRounding[] = ['nearest', 'least-error'];

/** The methods there are. */
export const calibrationMethods: readonly CalibrationMethod[] = ['min-max', 'percentile', 'entropy', 'mse'];

/** Fills in defaults. Throws OPTION_INVALID naming the field. */
export function resolveOptions(options: QuantizeOptions): ResolvedQuantizeOptions {
  const {
    scheme = 'int8',
    integers = 'where-faster',
    method = 'mse',
    percentile = 99.99,
    exclude = [],
    bound,
  } = options;
  const { equalize = true, rounding = 'least-error', correctBias = true } = options;
  const { maxFrames = 512, measuredFrames = 32 } = options;
  const check = (field: string, isRight: boolean, expected: string): void => {
    if (isRight) return;
    throw new WhylightError('OPTION_INVALID', `Option "${field}" of quantize must be ${expected}.`, {
      details: { field },
    });
  };
  const isCount = (value: number): boolean => Number.isInteger(value) && value > 0;
  check('open', typeof options.open === 'function', 'a function that opens a model, such as wasmRuntime()');
  check('scheme', quantizationSchemes.includes(scheme), `one of ${quantizationSchemes.join(', ')}`);
  check('integers', integerChoices.includes(integers), `one of ${integerChoices.join(', ')}`);
  check('method', calibrationMethods.includes(method), `one of ${calibrationMethods.join(', ')}`);
  check('rounding', weightRoundings.includes(rounding), `one of ${weightRoundings.join(', ')}`);
  check('percentile', percentile >= 50 && percentile <= 100, 'a number from 50 to 100');
  check('exclude', Array.isArray(exclude) && exclude.every((name) => typeof name === 'string'), 'a list of names');
  check('bound', bound === undefined || Number.isFinite(bound), 'a number of dB');
  check('maxFrames', isCount(maxFrames), 'a whole number above 0');
  check('measuredFrames', isCount(measuredFrames), 'a whole number above 0');
  return {
    ...options,
    scheme,
    integers,
    method,
    percentile,
    exclude,
    equalize,
    rounding,
    correctBias,
    maxFrames,
    measuredFrames,
  };
}
