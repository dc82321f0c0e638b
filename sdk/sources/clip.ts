import { of } from 'rxjs';
import { WhylightError } from '../errors.js';
import { linkedController } from './abortable.js';
import type { Frame, SourceInfo, TimedFrame } from './frame.js';
import { type FrameSource, framesOf } from './source.js';

/** What is decoded of a file. */
export interface Selection {
  /** seconds of presentation time; frames before it are left out */
  readonly start: number;
  /** seconds of presentation time; frames at or after it are left out */
  readonly end: number;
  /** at most this many frames a second */
  readonly fps: number | undefined;
}

/** The video, or the sound, of a file that has been opened, wherever and by whatever it is decoded. */
export interface Clip<Item extends TimedFrame = Frame> {
  readonly info: SourceInfo;
  /** What is selected of it, from its beginning; ends without an error when `stop` fires, which happens at the latest when the iteration is left. */
  frames(stop: AbortSignal): AsyncGenerator<Item, void, undefined>;
  /** Releases the file; every iteration has been stopped. */
  close(): void;
}

/** A clip as a source; `name` is what sentences call its file. */
export function clipSource<Item extends TimedFrame>(
  clip: Clip<Item>,
  name: string,
  warning?: WhylightError,
): FrameSource<Item> {
  const closing = new AbortController();
  const source: FrameSource<Item> = {
    info: clip.info,
    async *frames({ signal } = {}) {
      if (closing.signal.aborted) throw new WhylightError('DISPOSED', `The source of ${name} has been closed.`);
      const stop = linkedController(closing.signal, signal);
      try {
        yield* clip.frames(stop.signal);
      } finally {
        stop.abort();
      }
    },
    get frames$() {
      return framesOf(source);
    },
    ...(warning === undefined ? {} : { warnings$: of(warning) }),
    async close() {
      if (closing.signal.aborted) return;
      closing.abort();
      clip.close();
    },
  };
  return source;
}
