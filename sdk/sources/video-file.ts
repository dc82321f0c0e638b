import { throwIfAborted, WhylightError } from '../errors.js';
import { type WorkerOption, workerFactory } from '../worker-calls.js';
import { clipSource, type Selection } from './clip.js';
import { openInWorker } from './decoder-link.js';
import { openWithFFmpeg } from './ffmpeg.js';
import type { FFmpegOptions } from './ffmpeg-core.js';
import { type FileKind, fileKind } from './file-kind.js';
import { addressOf, answerOf, checkPart, messageOf, nameOf, readHead } from './media-file.js';
import type { FrameSource } from './source.js';
import type { Opened } from './webcodecs.js';

/** Settings of {@link videoFile}. */
export interface VideoFileOptions {
  /**
   * `webcodecs`: the browser's own decoders; `ffmpeg`: always ffmpeg, `ffmpeg` has to be given; `auto` (default): ffmpeg where
   * the browser cannot and `ffmpeg` is given
   */
  readonly decoder?: 'auto' | 'webcodecs' | 'ffmpeg';
  /** where ffmpeg lies; without it, a file that the browser cannot decode is an error */
  readonly ffmpeg?: FFmpegOptions;
  /**
   * the script of the worker in which WebCodecs decodes, or a way to make that worker; default `workers/decoder.js` next to this
   * file, and where that cannot be loaded this thread, with a warning; false: this thread
   */
  readonly worker?: WorkerOption | false;
  /** seconds of the file's presentation time, ≥ 0; frames before it are left out; default 0 */
  readonly start?: number;
  /** seconds of the file's presentation time, > `start`; frames at or after it are left out; default the file's end */
  readonly end?: number;
  /** at most this many frames a second, > 0: others are left out, none is made up; default all */
  readonly fps?: number;
  /** aborts the opening, with ABORTED; {@link FrameSource.frames} has a signal of its own */
  readonly signal?: AbortSignal;
}

/**
 * A video file as a source of frames with the file's own timestamps: MP4, QuickTime, WebM, Matroska, MPEG transport streams
 * and whatever else the browser has decoders for, or, through ffmpeg, nearly anything. Frames are decoded in a worker, as they are
 * pulled and a few ahead; the worker ends with {@link FrameSource.close}. Of a file that is cut off or damaged, the frames that can be decoded are given, then MEDIA_CORRUPT is thrown.
 *
 * Transparency is left out: a model has no input for it.
 *
 * @param input a file, or an address, relative to the page; a server that answers byte ranges saves the download
 * @throws {@link WhylightError} OPTION_INVALID · SOURCE_UNAVAILABLE: the address does not answer · MEDIA_UNSUPPORTED: not a
 * video, or none that can be decoded · MEDIA_CORRUPT: a video without a single readable part · WORKER_FAILED: the worker that was
 * given · ABORTED
 */
export async function videoFile(input: Blob | URL | string, options: VideoFileOptions = {}): Promise<FrameSource> {
  const { decoder = 'auto', ffmpeg, signal } = options;
  const selection = validate(options);
  throwIfAborted(signal, 'Opening the video');
  const from = input instanceof Blob ? input : addressOf(input, 'video');
  const name = nameOf(from);
  const head = await readHead(from, name, signal);
  const kind = fileKind(head);
  if (kind?.video === false) throw notVideo(name, kind);

  let codec: string | undefined;
  if (decoder !== 'ffmpeg') {
    const { opened, warning } = await open(from, name, selection, options).catch((error: unknown) => {
      if (error instanceof WhylightError) throw error;
      throw new WhylightError('MEDIA_CORRUPT', `${name} cannot be read: ${messageOf(error)}`, {
        details: { file: name },
        cause: error,
      });
    });
    if (signal?.aborted === true && opened.outcome === 'decodable') opened.clip.close();
    throwIfAborted(signal, `Opening ${name}`);
    switch (opened.outcome) {
      case 'decodable':
        return clipSource(opened.clip, name, warning);
      case 'no-video':
        if (opened.audio) throw onlySound(name);
        throw new WhylightError(
          'MEDIA_CORRUPT',
          `${name} is ${article(opened.container)} file without any track: it was cut off before its index, or is still being written.`,
          { details: { file: name, container: opened.container } },
        );
      case 'no-decoder':
        codec = opened.codec;
        break;
      case 'unknown-container':
        break;
    }
    if (decoder === 'webcodecs' || ffmpeg === undefined) throw undecodable(name, kind, codec, decoder);
  }
  return withFFmpeg(from, name, kind, selection, ffmpeg!, signal);
}

/** Opens a file for WebCodecs: in a worker, or on this thread where there is none or it has no WebCodecs. */
async function open(
  from: Blob | URL,
  name: string,
  selection: Selection,
  { worker, signal }: VideoFileOptions,
): Promise<{ readonly opened: Opened; readonly warning?: WhylightError }> {
  let warning: WhylightError | undefined;
  if (worker !== false && (worker !== undefined || typeof Worker !== 'undefined')) {
    // literal, for bundlers look for it
    const byDefault = () =>
      new Worker(new URL('./workers/decoder.js', import.meta.url), { type: 'module', name: 'whylight decoder' });
    try {
      const opened = await openInWorker(workerFactory(worker, byDefault), from, name, selection, signal);
      if (opened.outcome !== 'no-webcodecs') return { opened };
    } catch (error) {
      const isMissing = error instanceof WhylightError && error.code === 'WORKER_FAILED';
      if (!isMissing || worker !== undefined) throw error;
      warning = new WhylightError('WORKER_FAILED', `${error.message} ${name} is decoded on this thread instead.`, {
        cause: error,
      });
    }
  }
  // most pages never need it
  const { openWithWebCodecs } = await import('./webcodecs.js');
  const opened = await openWithWebCodecs(from, name, selection);
  return warning === undefined ? { opened } : { opened, warning };
}

async function withFFmpeg(
  from: Blob | URL,
  name: string,
  kind: FileKind | undefined,
  selection: Selection,
  ffmpeg: FFmpegOptions,
  signal: AbortSignal | undefined,
): Promise<FrameSource> {
  const blob = from instanceof Blob ? from : await (await answerOf(from, name, signal)).blob();
  const opened = await openWithFFmpeg(blob, name, selection, ffmpeg, signal);
  switch (opened.outcome) {
    case 'decodable':
      return clipSource(opened.clip, name);
    case 'no-video':
      throw onlySound(name);
    case 'not-media':
      throw new WhylightError(
        'MEDIA_UNSUPPORTED',
        `${name} is not a video that ffmpeg can read; it looks like ${kind?.name ?? 'unknown data'}.`,
        { details: { file: name, ...(opened.complaint === undefined ? {} : { complaint: opened.complaint }) } },
      );
    case 'no-decoder':
      throw new WhylightError(
        opened.complaint === undefined ? 'MEDIA_UNSUPPORTED' : 'MEDIA_CORRUPT',
        `${name} has a video of codec ${opened.codec} of which ffmpeg could not decode a single frame${opened.complaint === undefined ? '' : `: ${opened.complaint}`}.`,
        { details: { file: name, codec: opened.codec } },
      );
  }
}

function validate({
  decoder = 'auto',
  ffmpeg,
  start = 0,
  end = Number.POSITIVE_INFINITY,
  fps,
}: VideoFileOptions): Selection {
  const invalid = (field: string, sentence: string) =>
    new WhylightError('OPTION_INVALID', `${field} ${sentence}`, { details: { field } });
  if (!['auto', 'webcodecs', 'ffmpeg'].includes(decoder)) {
    throw invalid('decoder', `is "${decoder}"; it is one of auto, webcodecs, ffmpeg.`);
  }
  if (decoder === 'ffmpeg' && ffmpeg === undefined) {
    throw invalid('ffmpeg', 'is missing: the decoder ffmpeg needs ffmpeg.coreURL.');
  }
  if (ffmpeg !== undefined && !ffmpeg.coreURL) throw invalid('ffmpeg.coreURL', 'is missing.');
  checkPart(start, end);
  if (fps !== undefined && !(fps > 0 && Number.isFinite(fps))) throw invalid('fps', `is ${fps}; it is greater than 0.`);
  return { start, end, fps };
}

function notVideo(name: string, kind: FileKind): WhylightError {
  const advice = kind.name.endsWith('picture') ? ' For pictures there is images().' : '';
  return new WhylightError('MEDIA_UNSUPPORTED', `${name} is not a video: it looks like ${kind.name}.${advice}`, {
    details: { file: name, kind: kind.name },
  });
}

function onlySound(name: string): WhylightError {
  return new WhylightError('MEDIA_UNSUPPORTED', `${name} holds only sound and no video.`, {
    details: { file: name, kind: 'audio' },
  });
}

function undecodable(
  name: string,
  kind: FileKind | undefined,
  codec: string | undefined,
  decoder: 'auto' | 'webcodecs',
): WhylightError {
  const what = codec === undefined ? `it looks like ${kind?.name ?? 'nothing that is known'}` : `its codec is ${codec}`;
  const why =
    typeof VideoDecoder === 'undefined' && codec !== undefined ? 'there is no WebCodecs here' : 'this browser cannot';
  const advice =
    decoder === 'webcodecs'
      ? 'use the decoder auto with ffmpeg.coreURL'
      : 'give ffmpeg.coreURL so that ffmpeg decodes it';
  return new WhylightError(
    'MEDIA_UNSUPPORTED',
    `${name} cannot be decoded: ${what}, and ${why}. Either ${advice}, or convert the file to H.264, VP9 or AV1.`,
    {
      details: {
        file: name,
        ...(codec === undefined ? {} : { codec }),
        ...(kind === undefined ? {} : { kind: kind.name }),
      },
    },
  );
}

function article(noun: string): string {
  return `${/^[AEIOHMLNRSX]/.test(noun) && noun.length <= 4 ? 'an' : 'a'} ${noun}`;
}
