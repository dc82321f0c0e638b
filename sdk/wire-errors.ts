import { transferHandlers } from 'comlink';
import { deserializeError, type SerializedError, serializeError, WhylightError } from './errors.js';

interface WireError {
  readonly whylight: SerializedError;
}

let installed = false;

/**
 * Makes WhylightErrors keep their class and fields when they are thrown across Comlink, which by itself keeps only name,
 * message and stack. Other errors go on as before, for pages that use Comlink themselves. Called on both sides.
 */
export function keepErrorClasses(): void {
  const comlinks = transferHandlers.get('throw');
  if (installed || comlinks === undefined) return;
  installed = true;
  transferHandlers.set('throw', {
    canHandle: comlinks.canHandle,
    serialize(thrown) {
      const { value } = thrown as { readonly value: unknown };
      return value instanceof WhylightError
        ? [{ whylight: serializeError(value, value.code) } satisfies WireError, []]
        : comlinks.serialize(thrown);
    },
    deserialize(wire) {
      if (typeof wire === 'object' && wire !== null && 'whylight' in wire) {
        throw deserializeError((wire as WireError).whylight);
      }
      return comlinks.deserialize(wire);
    },
  });
}
