import { throwIfAborted, WhylightError } from '../errors.js';
import { linkedController } from './abortable.js';
import type { Clip, Selection } from './clip.js';
import { type FFmpegOptions, loadCore, type RawFormat, type RawFrame, rawFormat } from './ffmpeg-core.js';
import { firstComplaint, type LoggedFrame, type LoggedInput, parseFrames } from './ffmpeg-log.js';
import { declaredLength } from './file-kind.js';
import type { Frame, SourceInfo } from './frame.js';
import { ownFrame } from './ownership.js';
import { thinning } from './thinning.js';

/** How opening a file with ffmpeg went. */
export type OpenedWithFFmpeg =
  | { readonly outcome: 'decodable'; readonly clip: Clip }
  | { readonly outcome: 'not-media'; readonly complaint: string | undefined }
  | { readonly outcome: 'no-video'; readonly audio: boolean }
  | { readonly outcome: 'no-decoder'; readonly codec: string; readonly complaint: string | undefined };

/** Bytes of decoded pictures that one run of ffmpeg leaves in its memory file system. */
const batchBytes = 64 * 2 ** 20;
/** The first batch is small, so that the first frame comes soon. */
const firstBatch = 8;

/** Looks into a file with ffmpeg and opens its video. */
export async function openWithFFmpeg(
  file: Blob,
  name: string,
  selection: Selection,
  options: FFmpegOptions,
  signal: AbortSignal | undefined,
): Promise<OpenedWithFFmpeg> {
  const stop = linkedController(signal);
  try {
    const core = await loadCore(file, options, stop.signal);
    throwIfAborted(signal, `Opening ${name}`);
    const probe = await core?.decode({ count: 1 }, stop.signal);
    throwIfAborted(signal, `Opening ${name}`);
    if (probe === undefined) throw new WhylightError('ABORTED', `Opening ${name} was aborted.`);
    const { input, frames, log } = probe;
    if (input.codec === undefined) {
      return input.audio
        ? { outcome: 'no-video', audio: true }
        : { outcome: 'not-media', complaint: firstComplaint(log) };
    }
    const first = frames[0];
    if (first === undefined) return { outcome: 'no-decoder', codec: input.codec, complaint: firstComplaint(log) };
    return { outcome: 'decodable', clip: ffmpegClip(file, name, selection, options, input, first.logged) };
  } finally {
    stop.abort();
  }
}

function ffmpegClip(
  file: Blob,
  name: string,
  selection: Selection,
  options: FFmpegOptions,
  input: LoggedInput,
  first: LoggedFrame,
): Clip {
  const { width, height } = shownSize(first);
  const info: SourceInfo = {
    kind: 'file',
    ...(input.duration === undefined ? {} : { duration: Number((input.start + input.duration).toFixed(6)) }),
    width,
    height,
    decoder: 'ffmpeg',
  };
  return {
    info,
    // every iteration has a worker of its own, which ends with the signal, and with it its memory
    frames: (stop) => decode(file, name, selection, options, input, first, stop),
    close() {},
  };
}

function shownSize(frame: LoggedFrame): { width: number; height: number } {
  return { width: Math.max(1, Math.round(frame.width * frame.pixelAspect)), height: frame.height };
}

/**
 * ffmpeg runs from beginning to end and keeps what it writes in memory, so a file is decoded in batches, each a run of its
 * own that seeks to where the one before ended. Seeking is exact in most containers and wrong without a word in some
 * (transport streams): so every batch begins with the last frame of the one before, which has to come out again to the bit.
 * Where it does not, the batch is decoded once more from further back, and in the end from the file's beginning.
 */
async function* decode(
  file: Blob,
  name: string,
  selection: Selection,
  options: FFmpegOptions,
  input: LoggedInput,
  first: LoggedFrame,
  stop: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  const core = await loadCore(file, options, stop);
  if (core === undefined) return;
  const format = rawFormat(first);
  const capacity = Math.min(256, Math.max(2, Math.floor(batchBytes / format.bytes)));
  const wanted = thinning(selection.fps);
  let seek = 0; // index into `seeks`
  let count = Math.min(firstBatch, capacity);
  let last: RawFrame | undefined;
  let lastTimestamp = Number.NEGATIVE_INFINITY; // microseconds
  let decoded = 0; // frames since the file's beginning, known only where every frame was read
  let damage: Damage | undefined;
  const origin = input.start * 1e6;

  while (true) {
    const began = performance.now();
    const from = last?.logged.timestamp ?? (selection.start - input.start) * 1e6;
    const back = seeks[seek]!;
    const seekable = last === undefined ? selection.start > 0 : last.logged.timestamp !== undefined;
    const batch =
      seekable && back !== 'beginning'
        ? await core.decode({ count: count + 1, format, seek: from / 1e6 - back, from: from / 1e6 }, stop)
        : await core.decode(
            { count: count + 1, format, ...(seekable ? { from: from / 1e6 } : { skip: Math.max(0, decoded - 1) }) },
            stop,
          );
    if (batch === undefined) return;
    const { frames, log } = batch;

    if (back !== 'beginning' && seekable) {
      const exact =
        last === undefined
          ? frames[0]?.logged.timestamp !== undefined && frames[0].logged.timestamp < from + 1e6
          : frames[0] !== undefined && sameFrame(frames[0], last);
      if (!exact) {
        seek++;
        continue;
      }
    }
    const fresh = last === undefined ? frames : frames.slice(1);
    const before = lastTimestamp;
    for (const frame of fresh) {
      decoded++;
      const rate = input.frameRate ?? 25;
      const timestamp =
        frame.logged.timestamp === undefined
          ? Math.round(((decoded - 1) / rate) * 1e6)
          : Math.round(frame.logged.timestamp + origin);
      last = frame;
      if (timestamp <= lastTimestamp) continue; // a broken clock in the file; time goes forward
      lastTimestamp = timestamp;
      if (timestamp >= selection.end * 1e6) return;
      if (timestamp < selection.start * 1e6 || !wanted(timestamp)) continue;
      yield videoFrame(frame, format, timestamp, began);
      if (stop.aborted) return;
    }
    damage ??= damageIn(log, origin, lastTimestamp);
    if (input.duration !== undefined && input.duration > 0) {
      options.onProgress?.(frames.length <= count ? 1 : Math.min(1, (lastTimestamp - origin) / 1e6 / input.duration));
    }
    if (frames.length <= count || lastTimestamp === before) break;
    // the last frame holds the whole batch's buffer through its view; keep only its own bytes
    if (last !== undefined) last = { logged: last.logged, bytes: last.bytes.slice() };
    count = capacity;
  }

  const length = await declaredLength(
    async (start, end) => new Uint8Array(await file.slice(start, end).arrayBuffer()),
    file.size,
  );
  if (length !== undefined && length > file.size) {
    damage = {
      after: damage?.after ?? lastTimestamp,
      complaint: `it should be ${length} bytes long and is ${file.size}.`,
    };
  }
  if (damage !== undefined) {
    const seconds = damage.after / 1e6;
    const where = Number.isFinite(seconds) ? `after ${seconds.toFixed(3)} s` : 'from its beginning';
    throw new WhylightError('MEDIA_CORRUPT', `${name} is damaged or cut off ${where}: ${damage.complaint}`, {
      details: { file: name, ...(Number.isFinite(seconds) ? { seconds } : {}) },
    });
  }
}

interface Damage {
  /** microseconds of presentation time of the last frame before it */
  readonly after: number;
  readonly complaint: string;
}

/** The first complaint of a run after its first picture: earlier ones are about the pictures that it was sent into the middle of. */
function damageIn(log: readonly string[], origin: number, last: number): Damage | undefined {
  const begin = log.findIndex((line) => line.startsWith('[Parsed_showinfo'));
  const complaint = firstComplaint(log.slice(Math.max(0, begin)));
  if (complaint === undefined) return undefined;
  const timestamp = parseFrames(log.slice(0, log.indexOf(complaint, begin))).at(-1)?.timestamp;
  return { complaint, after: timestamp === undefined ? last : timestamp + origin };
}

/** How far before the wanted frame ffmpeg is sent, in seconds, from the quickest to the surest. */
const seeks: readonly (number | 'beginning')[] = [0.001, 5, 'beginning'];

function sameFrame(a: RawFrame, b: RawFrame): boolean {
  return (
    a.logged.timestamp === b.logged.timestamp &&
    a.bytes.length === b.bytes.length &&
    a.bytes.every((byte, i) => byte === b.bytes[i])
  );
}

function videoFrame(frame: RawFrame, format: RawFormat, timestamp: number, captured: number): Frame {
  const shown = shownSize({ ...frame.logged, width: format.width, height: format.height });
  const image = new VideoFrame(frame.bytes, {
    format: format.pixels,
    codedWidth: format.width,
    codedHeight: format.height,
    displayWidth: shown.width,
    displayHeight: shown.height,
    timestamp,
    ...(format.pixels === 'I420' ? { colorSpace: colourSpace(frame.logged) } : {}),
  });
  return ownFrame({ timestamp, captured, ...shown, rotation: 0, image, dropped: 0 });
}

const matrices: Readonly<Record<string, VideoMatrixCoefficients>> = {
  bt709: 'bt709',
  smpte170m: 'smpte170m',
  bt470bg: 'bt470bg',
};
const primaries: Readonly<Record<string, VideoColorPrimaries>> = {
  bt709: 'bt709',
  smpte170m: 'smpte170m',
  bt470bg: 'bt470bg',
};
const transfers: Readonly<Record<string, VideoTransferCharacteristics>> = {
  bt709: 'bt709',
  smpte170m: 'smpte170m',
  'iec61966-2-1': 'iec61966-2-1',
};

/** As the stream says; where it says nothing, by the usual rule: high definition is BT.709, the rest BT.601. */
function colourSpace(frame: LoggedFrame): VideoColorSpaceInit {
  const usual = frame.height >= 720 ? 'bt709' : 'smpte170m';
  return {
    matrix: matrices[frame.colourSpace] ?? usual,
    primaries: primaries[frame.primaries] ?? usual,
    transfer: transfers[frame.transfer] ?? usual,
    fullRange: false, // ffmpeg is asked to convert to limited range
  };
}
