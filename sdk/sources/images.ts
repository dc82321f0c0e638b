import { WhylightError } from '../errors.js';
import { aborted, linkedController, untilAborted } from './abortable.js';
import { fileKind, headLength } from './file-kind.js';
import type { SourceInfo } from './frame.js';
import { ownFrame } from './ownership.js';
import { type FrameSource, framesOf } from './source.js';

/** Settings of {@link images}. */
export interface ImagesOptions {
  /** pictures a second, > 0, which gives picture i the timestamp i / fps; default 1 */
  readonly fps?: number;
}

/** A picture as {@link images} takes it: a file, an address relative to the page, or a bitmap, which stays the caller's own. */
export type ImageInput = Blob | URL | string | ImageBitmap;

/**
 * A list of pictures as a source, in their order, decoded one by one as they are pulled and turned upright as their EXIF
 * orientation says. Closing a frame does not close a bitmap that was given.
 *
 * @throws {@link WhylightError} OPTION_INVALID; while iterating, with the picture's index, SOURCE_UNAVAILABLE: the address does
 * not answer · MEDIA_UNSUPPORTED: not a picture that the browser knows · MEDIA_CORRUPT: a picture that cannot be decoded
 */
export function images(list: readonly ImageInput[], options: ImagesOptions = {}): FrameSource {
  const { fps = 1 } = options;
  if (!(fps > 0 && Number.isFinite(fps))) {
    throw new WhylightError('OPTION_INVALID', `fps is ${fps}; it is greater than 0.`, { details: { field: 'fps' } });
  }
  const info: SourceInfo = { kind: 'file', duration: list.length / fps, decoder: 'images' };
  const closing = new AbortController();
  const source: FrameSource = {
    info,
    async *frames({ signal } = {}) {
      if (closing.signal.aborted) throw new WhylightError('DISPOSED', 'The source of pictures has been closed.');
      const stop = linkedController(closing.signal, signal);
      try {
        for (const [index, input] of list.entries()) {
          const captured = performance.now();
          const image = await untilAborted(decode(input, index, stop.signal), stop.signal, (late) => late.close());
          if (image === aborted) return;
          const timestamp = Math.round((index * 1e6) / fps);
          yield ownFrame({
            timestamp,
            duration: Math.round(((index + 1) * 1e6) / fps) - timestamp,
            captured,
            width: image.width,
            height: image.height,
            rotation: 0,
            image,
            dropped: 0,
          });
        }
      } finally {
        stop.abort();
      }
    },
    get frames$() {
      return framesOf(source);
    },
    async close() {
      closing.abort();
    },
  };
  return source;
}

async function decode(input: ImageInput, index: number, signal: AbortSignal): Promise<ImageBitmap> {
  if (typeof ImageBitmap !== 'undefined' && input instanceof ImageBitmap) {
    return createImageBitmap(input).catch((error: unknown) => {
      throw failure('MEDIA_CORRUPT', index, 'is a bitmap that has been closed.', error);
    });
  }
  const blob = input instanceof Blob ? input : await download(input as URL | string, index, signal);
  try {
    return await createImageBitmap(blob, { imageOrientation: 'from-image' });
  } catch (error) {
    const kind = fileKind(new Uint8Array(await blob.slice(0, headLength).arrayBuffer()));
    const picture = kind !== undefined && /picture/.test(kind.name);
    if (picture) throw failure('MEDIA_CORRUPT', index, `looks like ${kind.name} but cannot be decoded.`, error);
    throw failure(
      'MEDIA_UNSUPPORTED',
      index,
      `is not a picture: it looks like ${kind?.name ?? 'unknown data'}.`,
      error,
    );
  }
}

async function download(input: URL | string, index: number, signal: AbortSignal): Promise<Blob> {
  let answer: Response;
  try {
    answer = await fetch(new URL(input, globalThis.location?.href), { signal });
  } catch (error) {
    throw failure('SOURCE_UNAVAILABLE', index, `cannot be fetched from ${input}.`, error);
  }
  if (!answer.ok) {
    throw failure('SOURCE_UNAVAILABLE', index, `cannot be fetched from ${input}: the server answers ${answer.status}.`);
  }
  return answer.blob();
}

function failure(
  code: 'MEDIA_CORRUPT' | 'MEDIA_UNSUPPORTED' | 'SOURCE_UNAVAILABLE',
  index: number,
  what: string,
  cause?: unknown,
): WhylightError {
  return new WhylightError(code, `Picture ${index} of the list ${what}`, {
    details: { index },
    ...(cause === undefined ? {} : { cause }),
  });
}
