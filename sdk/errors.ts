/**
 * Stable, machine-readable reasons of a {@link WhylightError}. A code never changes its meaning between releases.
 */
export type WhylightErrorCode =
  // graph: the bytes of a model
  | 'MODEL_CORRUPT'
  | 'MODEL_OPSET'
  | 'MODEL_TYPE'
  | 'MODEL_SHAPE'
  | 'EXTERNAL_DATA'
  // lrp: the compiler
  | 'UNSUPPORTED_OPERATOR'
  | 'COMPOSITE_INVALID'
  | 'OPTION_INVALID'
  // runtime: fetching and running
  | 'MODEL_FETCH'
  | 'MODEL_INTEGRITY'
  | 'METADATA_INVALID'
  | 'DEVICE_UNAVAILABLE'
  | 'DEVICE_LOST'
  | 'SESSION_FAILED'
  | 'DISPOSED'
  | 'ABORTED'
  | 'WORKER_FAILED'
  // sources: frames
  | 'SOURCE_PERMISSION'
  | 'SOURCE_UNAVAILABLE'
  | 'SOURCE_ENDED'
  | 'MEDIA_CORRUPT'
  | 'MEDIA_UNSUPPORTED'
  | 'FRAME_FAILED'
  | 'INPUT_MISMATCH'
  // quantize: frames and activations
  | 'CALIBRATION_INVALID'
  // evaluation: two models side by side
  | 'MODELS_DIFFER';

/** What a {@link WhylightError} can carry beside its sentence: the field, node, file or frame that it is about. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly (string | number)[]>>;

/**
 * Every error that Whylight throws or emits. `message` is one sentence that names the field, node, file or frame and what
 * can be done; `code` is stable; `details` holds the named parts; `cause` is the underlying error, where there is one.
 */
export class WhylightError extends Error {
  override name = 'WhylightError';
  /** the stable reason, for programs to branch on */
  readonly code: WhylightErrorCode;
  /** the named parts of the sentence */
  readonly details: ErrorDetails;

  constructor(code: WhylightErrorCode, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** A node of the model whose operator has no rule; `details` has `node`, `operator`, `domain` and, where known, `advice`. */
export class UnsupportedOperatorError extends WhylightError {
  override name = 'UnsupportedOperatorError';

  constructor(node: string, operator: string, reason: string, domain = '') {
    const where = domain === '' ? operator : `${domain}.${operator}`;
    super('UNSUPPORTED_OPERATOR', `Node "${node}" (${where}) cannot be explained: ${reason}`, {
      details: { node, operator, domain },
    });
  }
}

/** The plain form of an error that crosses a worker boundary by structured clone. */
export interface SerializedError {
  /** the error class' name */
  readonly name: string;
  /** see {@link WhylightError.code} */
  readonly code: WhylightErrorCode;
  /** the sentence */
  readonly message: string;
  /** see {@link WhylightError.details} */
  readonly details: ErrorDetails;
  /** the underlying error as text, where there is one */
  readonly cause?: string;
  /** the stack on the side that threw */
  readonly stack?: string;
}

/** Turns anything thrown into a form that survives `postMessage`; what is not a {@link WhylightError} becomes one with `fallback`. */
export function serializeError(thrown: unknown, fallback: WhylightErrorCode): SerializedError {
  const error =
    thrown instanceof WhylightError
      ? thrown
      : new WhylightError(fallback, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  return {
    name: error.name,
    code: error.code,
    message: error.message,
    details: error.details,
    ...(error.cause === undefined ? {} : { cause: String(error.cause) }),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
  };
}

/** The inverse of {@link serializeError}: the class is restored, so that `instanceof` holds on both sides of a worker. */
export function deserializeError(plain: SerializedError): WhylightError {
  const error =
    plain.name === 'UnsupportedOperatorError'
      ? Object.setPrototypeOf(
          new WhylightError(plain.code, plain.message, { details: plain.details, cause: plain.cause }),
          UnsupportedOperatorError.prototype,
        )
      : new WhylightError(plain.code, plain.message, { details: plain.details, cause: plain.cause });
  error.name = plain.name;
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

/** @throws {@link WhylightError} ABORTED if the signal has fired */
export function throwIfAborted(signal: AbortSignal | undefined, what = 'It'): void {
  if (signal?.aborted === true) throw abortError(signal, what);
}

/** The error that an aborted signal stands for. */
export function abortError(signal: AbortSignal, what = 'It'): WhylightError {
  return new WhylightError('ABORTED', `${what} was aborted by its signal.`, { cause: signal.reason });
}
