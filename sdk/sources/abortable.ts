/** What {@link untilAborted} gives when the signal won. */
export const aborted: unique symbol = Symbol('aborted');

/**
 * The promise's outcome, or {@link aborted} as soon as the signal fires. What the promise gives afterwards is handed to
 * `discard`, so that a frame that arrives too late is closed.
 */
export function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void = () => {},
): Promise<T | typeof aborted> {
  return new Promise((resolve, reject) => {
    const give = () => {
      promise.then(discard, () => {}); // a failure after the end interests nobody
      resolve(aborted);
    };
    if (signal.aborted) {
      give();
      return;
    }
    signal.addEventListener('abort', give, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener('abort', give);
        if (!signal.aborted) resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', give);
        if (!signal.aborted) reject(error);
      },
    );
  });
}

/** A controller that is aborted with the first of the signals given. Abort it in the end, so that it lets go of them. */
export function linkedController(...signals: readonly (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    if (signal === undefined) continue;
    if (signal.aborted) {
      controller.abort(signal.reason);
      break;
    }
    signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true, signal: controller.signal });
  }
  return controller;
}
