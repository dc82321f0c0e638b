import { type Remote, wrap } from 'comlink';
import { WhylightError } from './errors.js';
import { keepErrorClasses } from './wire-errors.js';

/** The worker's script, or a way to make the worker. */
export type WorkerOption = URL | string | (() => Worker);

/** How a worker is made; `byDefault` has its address in the literal form that bundlers look for. */
export function workerFactory(worker: WorkerOption | undefined, byDefault: () => Worker): () => Worker {
  if (typeof worker === 'function') return worker;
  return worker === undefined ? byDefault : () => new Worker(worker, { type: 'module', name: 'whylight' });
}

/** A worker whose calls are settled by its death too: Comlink's own promises would stay pending for ever. */
export interface WorkerCalls<Api> {
  readonly remote: Remote<Api>;
  /** fires when the worker has ended; its reason is the WhylightError of every later call */
  readonly ended: AbortSignal;
  /** A call's answer, or the reason why there will be none. */
  answer<T>(call: () => Promise<T>): Promise<T>;
  /** Resolves when no call is pending. */
  idle(): Promise<void>;
  /** Rejects the calls that are pending now; the worker goes on. */
  abandon(reason: WhylightError): void;
  /** Ends the worker at once and rejects the calls that are pending. Idempotent. */
  kill(reason: WhylightError): void;
}

/**
 * Makes a worker that exposes an `Api` through Comlink. `name` is what sentences call it, as in "The explainer worker". A script
 * that does not load, and one that throws, reject what is called with WORKER_FAILED.
 *
 * Throws WhylightError WORKER_FAILED where the browser refuses to make a worker.
 */
export function callWorker<Api>(make: () => Worker, name: string): WorkerCalls<Api> {
  keepErrorClasses();
  const worker = makeWorker(make, name);
  const ending = new AbortController();
  const pending = new Set<(reason: WhylightError) => void>();
  let idle: (() => void) | undefined;
  const abandon = (reason: WhylightError) => {
    for (const reject of pending) reject(reason);
    pending.clear();
    idle?.();
  };
  const kill = (reason: WhylightError) => {
    if (ending.signal.aborted) return;
    worker.terminate();
    ending.abort(reason);
    abandon(reason);
  };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    // a script that does not load gives an event without a message
    const what = event.message
      ? `stopped: ${event.message}`
      : 'could not be loaded: check the option "worker", that its file is there, is served as JavaScript and allowed by the content security policy';
    kill(new WhylightError('WORKER_FAILED', `The ${name} worker ${what}.`));
  });
  worker.addEventListener('messageerror', () => {
    kill(new WhylightError('WORKER_FAILED', `A message to or from the ${name} worker could not be read.`));
  });
  return {
    remote: wrap<Api>(worker),
    ended: ending.signal,
    answer<T>(call: () => Promise<T>): Promise<T> {
      if (ending.signal.aborted) return Promise.reject(ending.signal.reason);
      return new Promise<T>((resolve, reject) => {
        pending.add(reject);
        const settled = () => {
          pending.delete(reject);
          if (pending.size === 0) idle?.();
        };
        call().then(
          (value) => {
            resolve(value);
            settled();
          },
          (error: unknown) => {
            reject(error);
            settled();
          },
        );
      });
    },
    idle: () =>
      pending.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idle = resolve;
          }),
    abandon,
    kill,
  };
}

function makeWorker(make: () => Worker, name: string): Worker {
  try {
    return make();
  } catch (error) {
    throw new WhylightError('WORKER_FAILED', `The browser refused to make the ${name} worker.`, { cause: error });
  }
}
