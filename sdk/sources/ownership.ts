import type { Frame, TimedFrame } from './frame.js';

let open = 0;

/**
 * How many frames of all sources of this thread are open at the moment, i.e. delivered or held by a source and not yet
 * closed. Zero once everything has been closed; for tests and for finding leaks.
 */
export function openFrames(): number {
  return open;
}

const forgotten =
  typeof FinalizationRegistry === 'undefined'
    ? undefined
    : new FinalizationRegistry<string>((description) => {
        console.warn(
          `Whylight: ${description} was garbage-collected without having been closed. ` +
            'Whoever receives a frame calls its close() exactly once, as soon as it is no longer needed: until then it ' +
            "occupies one of its source's few buffers, and decoding may stop.",
        );
      });

/**
 * Makes a frame out of what is owned from now on: counted until it is closed, which calls `release` once, and missed if it never is.
 * `description` is for the sentence that says so.
 */
export function owned<Item extends TimedFrame>(
  item: Omit<Item, 'close'>,
  description: string,
  release: () => void,
): TimedFrame & Omit<Item, 'close'> {
  let closed = false;
  open++;
  const frame = {
    ...item,
    close() {
      if (closed) return;
      closed = true;
      open--;
      forgotten?.unregister(frame);
      release();
    },
  } as TimedFrame & Omit<Item, 'close'>;
  forgotten?.register(frame, description, frame);
  return frame;
}

/** {@link owned}, of a picture; `release` closes it. */
export function ownFrame(picture: Omit<Frame, 'close'>, release: () => void = () => picture.image.close()): Frame {
  return owned<Frame>(picture, `a frame at ${picture.timestamp} µs`, release);
}
