import { throwIfAborted, WhylightError } from '../errors.js';
import { clipSource } from './clip.js';
import { fileKind } from './file-kind.js';
import { addressOf, checkPart, messageOf, nameOf, readHead } from './media-file.js';
import { checkWindows, type SoundWindow, type WindowOptions } from './sound-window.js';
import type { FrameSource } from './source.js';

/** Settings of {@link soundFile}. */
export interface SoundFileOptions extends WindowOptions {
  /** seconds of the file's presentation time, ≥ 0, at which the first window begins, to a sample; default 0 */
  readonly start?: number;
  /** seconds of the file's presentation time, > `start`; samples from there on are left out; default the file's end */
  readonly end?: number;
  /** aborts the opening, with ABORTED; {@link FrameSource.frames} has a signal of its own */
  readonly signal?: AbortSignal;
}

/**
 * The sound of a file as a source of windows: WAV, MP3, AAC, Opus, FLAC and what else the browser has decoders for, also beside a
 * video. Channels are averaged and brought to `sampleRate`. Windows are given as they are pulled, and none is lost; the last one is filled up
 * with silence, as is one before a hole in the file, behind which windows begin anew. Of a file that is cut off or damaged, the windows that can be
 * decoded are given, then MEDIA_CORRUPT is thrown. It is decoded on this thread.
 *
 * @param input a file, or an address, relative to the page; a server that answers byte ranges saves the download
 * @throws {@link WhylightError} OPTION_INVALID · SOURCE_UNAVAILABLE: the address does not answer · MEDIA_UNSUPPORTED: no sound, or none
 * that can be decoded · MEDIA_CORRUPT: a file without a single readable part · ABORTED
 */
export async function soundFile(
  input: Blob | URL | string,
  options: SoundFileOptions,
): Promise<FrameSource<SoundWindow>> {
  const shape = checkWindows(options);
  const { start = 0, end = Number.POSITIVE_INFINITY, signal } = options;
  checkPart(start, end);
  throwIfAborted(signal, 'Opening the sound');
  const from = input instanceof Blob ? input : addressOf(input, 'sound');
  const name = nameOf(from);
  const kind = fileKind(await readHead(from, name, signal));

  // most pages never need it
  const { openSound } = await import('./sound-track.js');
  const opened = await openSound(from, name, { ...shape, start, end }).catch((error: unknown) => {
    if (error instanceof WhylightError) throw error;
    throw new WhylightError('MEDIA_CORRUPT', `${name} cannot be read: ${messageOf(error)}`, {
      details: { file: name },
      cause: error,
    });
  });
  if (opened.outcome !== 'decodable') {
    const why = {
      'unknown-container': `is no sound that can be read: it looks like ${kind?.name ?? 'nothing that is known'}.`,
      'no-sound': 'holds no sound.',
      'no-decoder': `cannot be decoded: this browser has no decoder for its codec, ${opened.codec}.`,
    }[opened.outcome];
    throw new WhylightError('MEDIA_UNSUPPORTED', `${name} ${why}`, {
      details: { file: name, ...(kind === undefined ? {} : { kind: kind.name }) },
    });
  }
  if (signal?.aborted === true) opened.clip.close();
  throwIfAborted(signal, `Opening ${name}`);
  return clipSource(opened.clip, name);
}
