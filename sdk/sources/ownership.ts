import type { Frame } from './frame.js';

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
            "occupies one of the decoder's few buffers, and decoding may stop.",
        );
      });

/** Makes a frame out of a picture that is owned from now on: counted until it is closed, and missed if it never is. */
export function ownFrame(picture: Omit<Frame, 'close'>): Frame {
  let closed = false;
  open++;
  const frame: Frame = {
    ...picture,
    close() {
      if (closed) return;
      closed = true;
      open--;
      forgotten?.unregister(frame);
      picture.image.close();
    },
  };
  forgotten?.register(frame, `a frame at ${picture.timestamp} µs`, frame);
  return frame;
}
