import { type ErrorDetails, WhylightError } from '../errors.js';

/** The longest list of numbers that the compiler makes for one node; what needs a longer one no device could run. */
const MOST = 2 ** 24;

/**
 * A count that a file's shapes and attributes ask for, before anything of that size is made: a file of a few hundred bytes can name
 * any number. Throws RangeError above `most`; the backward pass turns it into an error that names the node.
 */
export function within(count: number, what: string, most = MOST): number {
  if (count <= most) return count;
  throw new RangeError(`it needs ${count} ${what}, and at most ${most} are made`);
}

/** Writes a part of the explanation; throws MODEL_SHAPE, saying of what, where shapes do not fit or ask for too much. */
export function fitting<T>(part: string, details: ErrorDetails, write: () => T): T {
  try {
    return write();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new WhylightError('MODEL_SHAPE', `The explanation of ${part} cannot be written: ${cause.message}.`, {
      details,
      cause,
    });
  }
}
