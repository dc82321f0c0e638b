import { proxy, transfer } from 'comlink';
import { abortError, deserializeError, type SerializedError, WhylightError } from '../errors.js';
import { callWorker } from '../worker-calls.js';
import { buffersOf, detached, free } from './array-pool.js';
import type { DeviceChoice } from './explanation.js';
import type {
  Calibration,
  ExplainerWorker,
  ExplainReply,
  ExplainRequest,
  Progress,
  StartReply,
  StartRequest,
  WorkerCounts,
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
  explain(request: Omit<ExplainRequest, 'spare'>): Promise<ExplainReply>;
  /** Takes back the arrays of a reply, which are empty from now on. */
  giveBack(reply: ExplainReply): void;
  /** Times the graph, after the frames that the worker already has. */
  calibrate(): Promise<Calibration>;
  /** Rejects the calls that are pending now; the worker goes on. */
  abandon(reason: WhylightError): void;
  /** Waits for the calls that are pending, lets the worker release its sessions and ends it. Later calls reject with `reason`. */
  end(reason: WhylightError): Promise<void>;
}

/** A worker gets this many milliseconds to release what it holds before it is ended anyway. */
const patience = 2000;

const nothing: WorkerCounts = { tensors: 0, sessions: 0, wasm: 0, gpu: 0 };

/**
 * Makes a worker and starts it.
 *
 * Throws WhylightError WORKER_FAILED (the script did not load or threw), ABORTED, or what the start itself threw.
 */
export async function startWorker(
  make: () => Worker,
  request: StartRequest,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<WorkerLink> {
  if (signal.aborted) throw abortError(signal);
  const { remote, ended, answer, idle, abandon, kill } = callWorker<ExplainerWorker>(make, 'explainer');
  const onAbort = () => kill(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  let started: StartReply;
  let counts = nothing;
  try {
    const listener = proxy({
      progress: events.progress,
      fellBack(choice: DeviceChoice, warning: SerializedError, now: WorkerCounts) {
        counts = now;
        events.fellBack(choice, deserializeError(warning));
      },
    });
    started = await answer(() => remote.start(request, listener));
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
  /** for the next request */
  let spare: ArrayBuffer[] = [];
  return {
    started,
    get counts() {
      return ended.aborted ? nothing : counts;
    },
    async explain(request) {
      const given = spare;
      spare = [];
      const reply = await answer(() =>
        remote.explain(transfer({ ...request, spare: given }, [...imagesOf(request), ...given])),
      );
      counts = reply.counts;
      return reply;
    },
    giveBack(reply) {
      const isReadInto = reply.device === 'webgpu' && !ended.aborted;
      for (const buffer of buffersOf(reply)) {
        if (isReadInto) spare.push(detached(buffer));
        else free(buffer);
      }
    },
    calibrate: () => answer(() => remote.calibrate()),
    abandon,
    async end(reason) {
      await idle();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, patience);
      });
      await Promise.race([answer(() => remote.end()).catch(() => undefined), late]);
      clearTimeout(timer);
      kill(reason);
    },
  };
}

function imagesOf({ content }: Pick<ExplainRequest, 'content'>): Transferable[] {
  return 'image' in content ? [content.image] : [];
}
