import { Observable } from 'rxjs';
import type { WhylightError } from '../errors.js';
import type { Frame, SourceInfo, TimedFrame } from './frame.js';
import type { SoundWindow } from './sound-window.js';

/**
 * Where frames come from: a camera, a screen, a file, a list of pictures, or, as windows of sound, a microphone or a file. A source implements `info`, `frames` and `close`;
 * `frames$` is {@link framesOf} of itself, so that every source has the same back-pressure.
 */
export interface FrameSource<Item extends TimedFrame = Frame> {
  /** what is known of the source before its first frame */
  readonly info: SourceInfo;
  /**
   * Frames one by one, pulled: nothing is decoded before it is asked for (a decoder may read a few frames ahead). Every call
   * starts its own iteration, files from their beginning, live sources from now; a live source that is pulled too slowly
   * keeps only its newest frame, closes the others and counts them in {@link TimedFrame.dropped}. Whoever pulls a frame owns it.
   *
   * Aborting `signal`, like `return()`, ends the iteration and releases the decoder; a `next()` that is waiting (a camera
   * without a new picture) then ends with `done`, it does not hang and does not throw. Errors are thrown as
   * {@link WhylightError} from `next()`, after every frame before them has been given.
   */
  frames(options?: { readonly signal?: AbortSignal }): AsyncIterable<Item>;
  /** {@link framesOf} this source: cold, every subscription is one call of {@link FrameSource.frames}. */
  readonly frames$: Observable<Item>;
  /** What went wrong without ending the source: one broken picture in the middle of a file, a camera that changed its size. */
  readonly warnings$?: Observable<WhylightError>;
  /** Ends every iteration and releases the camera or the file. Idempotent. */
  close(): Promise<void>;
}

/** Settings of {@link framesOf}. */
export interface FramesOptions {
  /** for files: how many frames may be open downstream at once, ≥ 1; default 2, one being explained and one waiting its turn */
  readonly ahead?: number;
}

const waitedFor = new WeakSet<TimedFrame>();

/**
 * Whether the frame's source gives no further frame until this one has been closed. Such a frame is never dropped for a newer
 * one: there is none, and a file is explained without a gap.
 */
export function isWaitedFor(frame: TimedFrame): boolean {
  return waitedFor.has(frame);
}

/**
 * A source's frames as an Observable. RxJS has no back-pressure, but every frame has exactly one owner who closes it, so
 * closing is the credit: of a file, at most `ahead` frames are open downstream, and the next is pulled when one of them is
 * closed, through whatever operators stand between. (An operator that drops a frame closes it; else a file would stop.)
 * Live sources are pulled at once, whatever is open, since they drop what nobody takes.
 *
 * Cold: nothing is pulled before it is subscribed. Unsubscribing aborts the iteration; a frame that arrives afterwards is closed.
 */
export function framesOf<Item extends TimedFrame = Frame>(
  source: Pick<FrameSource<Item>, 'info' | 'frames'>,
  options: FramesOptions = {},
): Observable<Item> {
  const ahead = source.info.kind === 'file' ? Math.max(1, options.ahead ?? 2) : Number.POSITIVE_INFINITY;
  return new Observable<Item>((subscriber) => {
    const abort = new AbortController();
    let open = 0;
    let resume: (() => void) | undefined;
    const release = () => {
      open--;
      resume?.();
    };
    const pull = async () => {
      for await (const frame of source.frames({ signal: abort.signal })) {
        if (subscriber.closed) {
          frame.close();
          return;
        }
        open++;
        subscriber.next(source.info.kind === 'file' ? credited(frame, release) : frame);
        while (open >= ahead && !subscriber.closed) {
          await new Promise<void>((resolve) => {
            resume = resolve;
          });
        }
        if (subscriber.closed) return;
      }
      subscriber.complete();
    };
    pull().catch((error: unknown) => subscriber.error(error));
    return () => {
      abort.abort();
      resume?.();
    };
  });
}

/**
 * The same frame as a live source would give it: captured at `captured` (milliseconds of `performance.now()`), after `more`
 * further drops, and nobody waits for it, so that it may be dropped for a newer one. It takes the given frame's place.
 */
export function asLive<Item extends TimedFrame>(frame: Item, captured: number, more: number): Item {
  return { ...fieldsOf(frame), captured, dropped: frame.dropped + more, close: () => frame.close() };
}

/** The same frame, whose first `close` gives its credit back to the source. */
function credited<Item extends TimedFrame>(frame: Item, release: () => void): Item {
  let closed = false;
  const wrapped: Item = {
    ...fieldsOf(frame),
    close() {
      if (closed) return;
      closed = true;
      frame.close();
      release();
    },
  };
  waitedFor.add(wrapped);
  return wrapped;
}

/** One by one, since a frame may be an object of a class with getters. */
const fields: readonly string[] = [
  'timestamp',
  'duration',
  'captured',
  'dropped',
  'width',
  'height',
  'rotation',
  'image',
  'sampleRate',
  'samples',
] satisfies (keyof Frame | keyof SoundWindow)[];

function fieldsOf<Item extends TimedFrame>(frame: Item): Item {
  const copied: Record<string, unknown> = {};
  for (const field of fields) {
    const value = frame[field as keyof Item];
    if (value !== undefined) copied[field] = value;
  }
  return copied as unknown as Item;
}
