import { proxy, type Remote, transfer, wrap } from 'comlink';
import { abortError, deserializeError, WhylightError } from '../errors.js';
import type { DeviceChoice } from './explanation.js';
import {
  type Calibration,
  type ExplainerWorker,
  type ExplainReply,
  type ExplainRequest,
  keepErrorClasses,
  type Progress,
  type StartReply,
  type StartRequest,
  type WorkerCounts,
} from './protocol.js';

/** What the page hears from a worker between its answers. */
export interface LinkEvents {
  progress(progress: Progress): void;
  /** the worker lost its device and goes on with another */
  fellBack(choice: DeviceChoice, warning: WhylightError): void;
}

/** A worker that was started and holds one compiled model. */
export interface WorkerLink {
  readonly started: StartReply;
  /** What the worker held when it last answered. */
  readonly counts: WorkerCounts;
  explain(request: ExplainRequest): Promise<ExplainReply>;
  /** Times the graph, after the frames that the worker already has. */
  calibrate(): Promise<Calibration>;
  /** Rejects the calls that are pending now; the worker goes on. */
  abandon(reason: WhylightError): void;
  /** Waits for the calls that are pending, lets the worker release its sessions and ends it. Later calls reject with `reason`. */
  end(reason: WhylightError): Promise<void>;
}

/** A worker gets this many milliseconds to release what it holds before it is ended anyway. */
const patience = 2000;

/**
 * Makes a worker and starts it. Comlink's promises stay pending for ever when a worker dies, so every call is also
 * settled by the worker's death here.
 *
 * Throws WhylightError WORKER_FAILED (the script did not load or threw), ABORTED, or what the start itself threw.
 */
export async function startWorker(
  make: () => Worker,
  request: StartRequest,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<WorkerLink> {
  keepErrorClasses();
  if (signal.aborted) throw abortError(signal);
  const worker = makeWorker(make);
  const pending = new Set<(reason: WhylightError) => void>();
  let dead: WhylightError | undefined;
  /** called when no call is pending any more */
  let idle: (() => void) | undefined;
  let counts: WorkerCounts = { tensors: 0, sessions: 0, wasm: 0 };
  const kill = (reason: WhylightError) => {
    if (dead !== undefined) return;
    dead = reason;
    counts = { tensors: 0, sessions: 0, wasm: 0 };
    worker.terminate();
    abandon(reason);
  };
  const abandon = (reason: WhylightError) => {
    for (const reject of pending) reject(reason);
    pending.clear();
    idle?.();
  };
  const untilDead = <T>(answer: () => Promise<T>): Promise<T> => {
    if (dead !== undefined) return Promise.reject(dead);
    return new Promise<T>((resolve, reject) => {
      pending.add(reject);
      answer()
        .then(resolve, reject)
        .finally(() => {
          pending.delete(reject);
          if (pending.size === 0) idle?.();
        });
    });
  };
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    // a script that does not load gives an event without a message
    const what = event.message
      ? `stopped: ${event.message}`
      : 'could not be loaded: check the option "worker", that its file is there, is served as JavaScript and allowed by the content security policy';
    kill(new WhylightError('WORKER_FAILED', `The explainer worker ${what}.`));
  });
  worker.addEventListener('messageerror', () => {
    kill(new WhylightError('WORKER_FAILED', 'A message to or from the explainer worker could not be read.'));
  });
  const onAbort = () => kill(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  const remote: Remote<ExplainerWorker> = wrap<ExplainerWorker>(worker);
  let started: StartReply;
  try {
    const listener = proxy({
      progress: events.progress,
      fellBack: (choice: DeviceChoice, warning: Parameters<typeof deserializeError>[0]) =>
        events.fellBack(choice, deserializeError(warning)),
    });
    started = await untilDead(() => remote.start(request, listener));
  } catch (error) {
    const reason =
      error instanceof WhylightError
        ? error
        : new WhylightError('WORKER_FAILED', `The explainer worker failed: ${String(error)}`, { cause: error });
    kill(reason);
    throw reason;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  counts = started.counts;
  return {
    started,
    get counts() {
      return counts;
    },
    async explain(request) {
      const reply = await untilDead(() => remote.explain(transfer(request, [request.image])));
      counts = reply.counts;
      return reply;
    },
    calibrate: () => untilDead(() => remote.calibrate()),
    abandon,
    async end(reason) {
      if (pending.size > 0) {
        await new Promise<void>((resolve) => {
          idle = resolve;
        });
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, patience);
      });
      await Promise.race([untilDead(() => remote.end()).catch(() => undefined), late]);
      clearTimeout(timer);
      kill(reason);
    },
  };
}

function makeWorker(make: () => Worker): Worker {
  try {
    return make();
  } catch (error) {
    throw new WhylightError('WORKER_FAILED', 'The browser refused to make the explainer worker.', { cause: error });
  }
}
