import { isObservable, type Observable } from 'rxjs';
import { abortError } from '../errors.js';
import { aborted, untilAborted } from '../sources/abortable.js';

/** What comes one after the other: a list, an iteration, an Observable. */
export type Sequence<T> = Iterable<T> | AsyncIterable<T> | Observable<T>;

/**
 * Takes values one by one, each when the one before is done with. Ending the loop, and aborting the signal, end the sequence; a
 * value that nobody takes any more is given to `discard`. What an Observable gives in the meantime waits in memory.
 *
 * @throws {@link WhylightError} ABORTED as soon as the signal fires, and whatever the sequence throws
 */
export async function* oneByOne<T>(
  sequence: Sequence<T>,
  signal: AbortSignal,
  discard: (value: T) => void,
): AsyncGenerator<T, void> {
  const iterator = iteratorOf(sequence, discard);
  let done = false;
  try {
    for (;;) {
      const next = await untilAborted(Promise.resolve(iterator.next()), signal, (late) => {
        if (late.done !== true) discard(late.value);
      });
      if (next === aborted) throw abortError(signal);
      if (next.done === true) {
        done = true;
        return;
      }
      yield next.value;
    }
  } finally {
    const ended = done ? undefined : iterator.return?.();
    // an iteration that hangs in next() would not answer
    if (!signal.aborted) await ended;
  }
}

function iteratorOf<T>(sequence: Sequence<T>, discard: (value: T) => void): Iterator<T> | AsyncIterator<T> {
  if (isObservable(sequence)) return subscribed(sequence, discard);
  return Symbol.asyncIterator in sequence ? sequence[Symbol.asyncIterator]() : sequence[Symbol.iterator]();
}

/** An Observable, subscribed at once. */
function subscribed<T>(source: Observable<T>, discard: (value: T) => void): AsyncIterator<T, void> {
  const waiting: T[] = [];
  let end: (() => Promise<IteratorResult<T, void>>) | undefined;
  let wake: (() => void) | undefined;
  const finish = (how: typeof end) => {
    end ??= how;
    wake?.();
  };
  const over = async (): Promise<IteratorResult<T, void>> => ({ done: true, value: undefined });
  const subscription = source.subscribe({
    next(value) {
      if (end !== undefined) return discard(value);
      waiting.push(value);
      wake?.();
    },
    error: (error: unknown) => finish(() => Promise.reject(error)),
    complete: () => finish(over),
  });
  return {
    async next() {
      while (waiting.length === 0) {
        if (end !== undefined) return end();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return { done: false, value: waiting.shift()! };
    },
    async return() {
      finish(over);
      subscription.unsubscribe();
      for (const value of waiting.splice(0)) discard(value);
      return { done: true, value: undefined };
    },
  };
}
