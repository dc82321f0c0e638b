import { type ErrorDetails, WhylightError } from '../errors.js';

/** Throws `COMPOSITE_INVALID` with a sentence about a field of the composite. */
export function invalid(field: string, problem: string, details: ErrorDetails = {}): never {
  throw new WhylightError('COMPOSITE_INVALID', `Composite field "${field}" ${problem}.`, {
    details: { field, ...details },
  });
}
