import type { FFmpeg } from '@ffmpeg/ffmpeg';
import { WhylightError } from '../errors.js';
import { aborted, untilAborted } from './abortable.js';
import { type LoggedFrame, type LoggedInput, parseFrames, parseInput } from './ffmpeg-log.js';

/**
 * Where ffmpeg lies, for files that the browser cannot decode itself. Nothing of it is loaded before it is needed.
 *
 * Needs the package `@ffmpeg/ffmpeg` (MIT), and a build of ffmpeg itself, which this package does not contain:
 * **`@ffmpeg/core` is licensed under GPL-2.0-or-later**, since it contains x264 and others. Whoever serves it to users
 * distributes it, under that licence.
 *
 * A page with a content security policy needs `script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'`
 * (with the addresses' origin for `'self'`).
 */
export interface FFmpegOptions {
  /**
   * address of `ffmpeg-core.js` in its ES module form (`@ffmpeg/core/dist/esm/ffmpeg-core.js`), single-threaded, relative to
   * the page; GPL-2.0-or-later, see above
   */
  readonly coreURL: string | URL;
  /** address of `ffmpeg-core.wasm`, 32 MB; default beside `coreURL` */
  readonly wasmURL?: string | URL;
  /**
   * address of the package's own worker (`@ffmpeg/ffmpeg/dist/esm/worker.js`, with `const.js` and `errors.js` beside it, or
   * bundled); needed only where a bundler does not carry it along by itself
   */
  readonly workerURL?: string | URL;
  /** told how far the file has been decoded, 0…1, where its duration is known, once per batch of frames */
  readonly onProgress?: (progress: number) => void;
}

/** A worker whose script is blocked or missing says nothing at all, so that only patience tells. */
const loadPatience = 120_000;

export interface RawFrame {
  readonly logged: LoggedFrame;
  readonly bytes: Uint8Array;
}

export interface RawFormat {
  readonly pixels: 'I420' | 'RGBA';
  readonly width: number;
  readonly height: number;
  /** of one picture */
  readonly bytes: number;
}

/** Planar 4:2:0 where it loses nothing that a model would see; RGBA for transparency, RGB, and odd sizes. */
export function rawFormat(frame: LoggedFrame): RawFormat {
  const { width, height } = frame;
  const rgb = /^(yuva|ya\d|rgb|bgr|gbr|argb|abgr|[0x]?rgb|[0x]?bgr|pal8)/.test(frame.format);
  return rgb || width % 2 === 1 || height % 2 === 1
    ? { pixels: 'RGBA', width, height, bytes: width * height * 4 }
    : { pixels: 'I420', width, height, bytes: (width * height * 3) / 2 };
}

export interface Batch {
  /** how many frames at most */
  readonly count: number;
  /** default: as the first frame says */
  readonly format?: RawFormat;
  /** seconds from the container's start to seek to; not below 0 */
  readonly seek?: number;
  /** seconds from the container's start of the first frame to keep */
  readonly from?: number;
  /** how many of the first frames to leave out, where they have no timestamps */
  readonly skip?: number;
}

export interface Decoded {
  readonly input: LoggedInput;
  readonly frames: readonly RawFrame[];
  readonly log: readonly string[];
}

export interface Core {
  /** one run; undefined when it was aborted */
  decode(batch: Batch, stop: AbortSignal): Promise<Decoded | undefined>;
}

/** Starts ffmpeg in its worker with the file mounted; undefined when aborted. The worker ends with the signal. */
export async function loadCore(file: Blob, options: FFmpegOptions, stop: AbortSignal): Promise<Core | undefined> {
  const ffmpeg = await create();
  stop.addEventListener('abort', () => ffmpeg.terminate(), { once: true });
  const absolute = (url: string | URL) => new URL(url, globalThis.location?.href).href;
  let impatience: ReturnType<typeof setTimeout> | undefined;
  try {
    const loading = ffmpeg.load({
      coreURL: absolute(options.coreURL),
      ...(options.wasmURL === undefined ? {} : { wasmURL: absolute(options.wasmURL) }),
      ...(options.workerURL === undefined ? {} : { classWorkerURL: absolute(options.workerURL) }),
    });
    const waiting = new Promise<never>((_, reject) => {
      impatience = setTimeout(() => reject(new Error(`no answer within ${loadPatience / 1000} s`)), loadPatience);
    });
    if ((await untilAborted(Promise.race([loading, waiting]), stop)) === aborted) return undefined;
    // the file is read where it lies, not copied into WebAssembly's memory
    const mounted = (async () => {
      await ffmpeg.createDir('/in');
      await ffmpeg.mount(
        'WORKERFS' as Parameters<FFmpeg['mount']>[0],
        { blobs: [{ name: 'file', data: file }] },
        '/in',
      );
    })();
    if ((await untilAborted(mounted, stop)) === aborted) return undefined;
  } catch (error) {
    ffmpeg.terminate();
    throw new WhylightError(
      'MEDIA_UNSUPPORTED',
      `ffmpeg could not be started from ${absolute(options.coreURL)}: ${error instanceof Error ? error.message : String(error)}. ` +
        'Check ffmpeg.coreURL (the ES module build), ffmpeg.wasmURL and ffmpeg.workerURL, and that the page may load them.',
      { details: { field: 'ffmpeg.coreURL', url: absolute(options.coreURL) }, cause: error },
    );
  } finally {
    clearTimeout(impatience);
  }

  return {
    async decode(batch, stop) {
      const log: string[] = [];
      const listen = ({ message }: { message: string }) => {
        log.push(message);
      };
      ffmpeg.on('log', listen);
      try {
        // a run that ends with an error has said so in its log and written what it could
        const run = await untilAborted(
          ffmpeg.exec([...commandLine(batch)]).catch((error: unknown) => log.push(`decoding is corrupt: ${error}`)),
          stop,
        );
        if (run === aborted) return undefined;
        const output = await untilAborted(
          ffmpeg.readFile(outputFile).catch(() => new Uint8Array()), // nothing was written
          stop,
        );
        if (output === aborted) return undefined;
        const removed = await untilAborted(
          ffmpeg.deleteFile(outputFile).catch(() => false),
          stop,
        );
        if (removed === aborted) return undefined;
        return { input: parseInput(log), frames: cut(output as Uint8Array, parseFrames(log), batch.format), log };
      } finally {
        ffmpeg.off('log', listen);
      }
    },
  };
}

async function create(): Promise<FFmpeg> {
  try {
    const { FFmpeg } = await import('@ffmpeg/ffmpeg');
    return new FFmpeg();
  } catch (error) {
    throw new WhylightError(
      'MEDIA_UNSUPPORTED',
      'The option ffmpeg.coreURL was given, but the package @ffmpeg/ffmpeg is not there: npm install @ffmpeg/ffmpeg.',
      { details: { field: 'ffmpeg.coreURL' }, cause: error },
    );
  }
}

const outputFile = '/frames';

function commandLine({ count, format, seek, from, skip }: Batch): readonly string[] {
  const select =
    from !== undefined ? `select=gte(t\\,${(from - 0.0005).toFixed(6)})` : skip ? `select=gte(n\\,${skip})` : 'null';
  const pixels = format?.pixels === 'RGBA' ? 'rgba' : 'yuv420p';
  const scale = format === undefined ? 'null' : `scale=w=${format.width}:h=${format.height}:out_range=limited`;
  return [
    '-hide_banner',
    // -start_at_zero together with -copyts: timestamps as in the file, less the container's first one, also after seeking
    ...['-copyts', '-start_at_zero'],
    // a picture of which a part is missing is not shown to a model
    ...['-fflags', '+discardcorrupt'],
    ...(seek === undefined || seek <= 0 ? [] : ['-ss', seek.toFixed(6)]),
    ...['-i', '/in/file'],
    ...['-map', '0:v:0'],
    // showinfo before the conversion: it tells the file's own format, sampling and colours
    ...['-vf', `${select},showinfo=checksum=0,${pixels === 'rgba' ? 'null' : scale}`],
    ...['-fps_mode', 'passthrough'],
    ...['-pix_fmt', pixels],
    ...['-frames:v', String(count)],
    ...['-f', 'rawvideo', outputFile],
  ];
}

/** The raw pictures of a run. ffmpeg may have logged more frames than it wrote, for it stops after the last one. */
function cut(output: Uint8Array, logged: readonly LoggedFrame[], format: RawFormat | undefined): readonly RawFrame[] {
  const first = logged[0];
  if (first === undefined) return [];
  const { bytes } = format ?? rawFormat({ ...first, format: 'yuv420p' });
  const count = format === undefined ? Math.min(1, output.length) : Math.floor(output.length / bytes);
  return logged
    .slice(0, count)
    .map((frame, i) => ({ logged: frame, bytes: output.subarray(i * bytes, (i + 1) * bytes) }));
}
