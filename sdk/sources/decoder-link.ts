import { transfer } from 'comlink';
import { abortError, WhylightError } from '../errors.js';
import { callWorker, type WorkerCalls } from '../worker-calls.js';
import type { Clip, Selection } from './clip.js';
import type { DecoderWorker, OpenedInWorker } from './decoder-worker.js';
import { receiveFrames } from './frame-channel.js';
import type { Opened } from './webcodecs.js';

/**
 * Opens a file in a worker of its own, which ends when the clip is closed, or when nobody can reach the clip any more.
 *
 * Throws WhylightError WORKER_FAILED, ABORTED, and whatever reading the file throws.
 */
export async function openInWorker(
  make: () => Worker,
  from: Blob | URL,
  name: string,
  selection: Selection,
  signal: AbortSignal | undefined,
): Promise<Opened | Extract<OpenedInWorker, { readonly outcome: 'no-webcodecs' }>> {
  const calls = callWorker<DecoderWorker>(make, 'decoder');
  const onAbort = () => calls.kill(abortError(signal!, `Opening ${name}`));
  signal?.addEventListener('abort', onAbort, { once: true });
  const closed = new WhylightError('DISPOSED', `The source of ${name} has been closed.`);
  try {
    const file = from instanceof URL ? from.href : from;
    const opened = await calls.answer<OpenedInWorker>(async () => calls.remote.open({ from: file, name, selection }));
    if (opened.outcome === 'decodable') return { outcome: 'decodable', clip: clipOf(calls, opened.info, closed) };
    calls.kill(closed);
    return opened;
  } catch (error) {
    calls.kill(closed);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Clips that are being decoded: whoever iterates need not hold the source. */
const iterated = new Set<Clip>();

/** A worker lives on when nobody can reach its clip any more; nothing in here refers to the clip itself. */
const forgotten = new FinalizationRegistry<WorkerCalls<DecoderWorker>>((calls) => {
  calls.kill(new WhylightError('DISPOSED', 'The source of a video was garbage-collected.'));
});

function clipOf(calls: WorkerCalls<DecoderWorker>, info: Clip['info'], closed: WhylightError): Clip {
  const { remote, ended, answer, kill } = calls;
  let iterations = 0;
  const clip: Clip = {
    info,
    async *frames(stop) {
      const { port1, port2 } = new MessageChannel();
      // the port tells of everything but the worker's death, which `ended` does
      answer(() => remote.frames(transfer(port2, [port2]))).catch(() => undefined);
      if (iterations++ === 0) iterated.add(clip);
      try {
        yield* receiveFrames(port1, stop, ended);
      } finally {
        if (--iterations === 0) iterated.delete(clip);
      }
    },
    close() {
      forgotten.unregister(calls);
      kill(closed);
    },
  };
  forgotten.register(clip, calls, calls);
  return clip;
}
