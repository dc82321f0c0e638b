import {
  EncodedPacketSink,
  type Input,
  type InputVideoTrack,
  MPEG_TS,
  type VideoSample,
  VideoSampleSink,
} from 'mediabunny';
import { WhylightError } from '../errors.js';
import { aborted, untilAborted } from './abortable.js';
import type { Clip, Selection } from './clip.js';
import type { Frame, SourceInfo } from './frame.js';
import { inOrder, inOrderCodecs } from './in-order.js';
import { codecName, inputOf, shortfall } from './media-input.js';
import { ownFrame } from './ownership.js';
import { thinning } from './thinning.js';

/** How opening a file for WebCodecs went. */
export type Opened =
  | { readonly outcome: 'decodable'; readonly clip: Clip }
  /** the container was not recognized */
  | { readonly outcome: 'unknown-container' }
  /** there is no video track; `audio` tells whether there is sound, and without any track the index is missing */
  | { readonly outcome: 'no-video'; readonly container: string; readonly audio: boolean }
  /** the container was read, but there is no decoder for the codec in this browser */
  | { readonly outcome: 'no-decoder'; readonly container: string; readonly codec: string };

/** Reads a file's container and opens its video, if this browser has a decoder for it. */
export async function openWithWebCodecs(from: Blob | URL, name: string, selection: Selection): Promise<Opened> {
  const input = inputOf(from);
  let keep = false;
  try {
    if (!(await input.canRead())) return { outcome: 'unknown-container' };
    const container = (await input.getFormat()).name;
    const track = await input.getPrimaryVideoTrack();
    if (track === null && container === MPEG_TS.name) {
      // of a transport stream, tracks with unknown codecs are not listed: MPEG-2 television looks as if it were only sound
      return { outcome: 'no-decoder', container, codec: 'unknown' };
    }
    if (track === null) {
      const audio = (await input.getPrimaryAudioTrack()) !== null;
      return { outcome: 'no-video', container, audio };
    }
    if (typeof VideoDecoder === 'undefined' || !(await track.canDecode())) {
      return { outcome: 'no-decoder', container, codec: await codecName(track) };
    }
    const clip = await openTrack(input, track, from, name, selection);
    keep = true;
    return { outcome: 'decodable', clip };
  } finally {
    if (!keep) input.dispose();
  }
}

async function openTrack(
  input: Input,
  track: InputVideoTrack,
  from: Blob | URL,
  name: string,
  selection: Selection,
): Promise<Clip> {
  const duration = await input.getDurationFromMetadata([track]).catch(() => null);
  const info: SourceInfo = {
    kind: 'file',
    duration: duration ?? (await track.computeDuration()),
    width: Math.round(await track.getDisplayWidth()),
    height: Math.round(await track.getDisplayHeight()),
    decoder: 'webcodecs',
  };
  return {
    info,
    frames: (stop) => decode(input, track, from, name, selection, stop),
    close: () => input.dispose(),
  };
}

async function* decode(
  input: Input,
  track: InputVideoTrack,
  from: Blob | URL,
  name: string,
  selection: Selection,
  stop: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  const wanted = thinning(selection.fps);
  let last = Number.NEGATIVE_INFINITY; // seconds
  let failure: unknown;
  const give = (sample: VideoSample, began: number): Frame | undefined => {
    last = sample.timestamp;
    if (last < selection.start || !wanted(microseconds(last))) {
      sample.close();
      return undefined;
    }
    return frameOf(sample, began);
  };

  const direct = inOrderCodecs.includes((await track.getCodec()) ?? '') ? inOrder(track) : undefined;
  // mediabunny throws away what it has decoded ahead when the decoder meets something broken. So the frames between the last
  // one given and the broken place are asked for once more, one by one and without reading ahead.
  const passes =
    direct !== undefined
      ? [() => direct.samples(selection.start, selection.end)]
      : [
          () => new VideoSampleSink(track).samples(selection.start, selection.end),
          async function* () {
            const missed = await presentationTimes(track, last, selection.end);
            for await (const sample of new VideoSampleSink(track).samplesAtTimestamps(missed)) {
              if (sample !== null) yield sample;
            }
          },
        ];
  for (const pass of passes) {
    failure = undefined;
    const samples = pass();
    try {
      while (true) {
        const began = performance.now();
        const step = await untilAborted(samples.next(), stop, (late) => {
          if (late.done !== true) late.value.close();
        });
        if (step === aborted) return;
        if (step.done === true) break;
        const frame = give(step.value, began);
        if (frame !== undefined) yield frame;
      }
    } catch (error) {
      if (stop.aborted) return;
      failure = error;
    } finally {
      // not awaited: a read that hangs must not keep the caller from leaving
      void samples.return(undefined);
    }
    if (failure === undefined) break;
  }

  const problem =
    failure === undefined ? await missing(input, track, from, direct?.reached ?? last, selection.end) : String(failure);
  if (stop.aborted || problem === undefined) return;
  const where = last === Number.NEGATIVE_INFINITY ? 'before its first frame' : `after ${last.toFixed(3)} s`;
  throw new WhylightError('MEDIA_CORRUPT', `${name} is damaged or cut off ${where}: ${problem}`, {
    details: { file: name, ...(Number.isFinite(last) ? { seconds: last } : {}) },
    ...(failure === undefined ? {} : { cause: failure }),
  });
}

/** Presentation times after `after`, one after the other and no sooner than they are asked for. */
async function presentationTimes(track: InputVideoTrack, after: number, end: number): Promise<AsyncGenerator<number>> {
  const sink = new EncodedPacketSink(track);
  const first = Number.isFinite(after)
    ? await sink.getKeyPacket(after, { metadataOnly: true })
    : await sink.getFirstPacket({ metadataOnly: true });
  const times: number[] = [];
  if (first !== null) {
    for await (const packet of sink.packets(first, undefined, { metadataOnly: true })) {
      if (packet.timestamp > after && packet.timestamp < end) times.push(packet.timestamp);
      if (times.length > 128) break; // more than any decoder is behind
    }
  }
  times.sort((a, b) => a - b);
  return (async function* () {
    yield* times;
  })();
}

/** What is missing of a file that was read up to `reached`, in seconds, without an error; undefined if nothing is. */
async function missing(
  input: Input,
  track: InputVideoTrack,
  from: Blob | URL,
  reached: number,
  end: number,
): Promise<string | undefined> {
  if (reached === Number.NEGATIVE_INFINITY && end === Number.POSITIVE_INFINITY)
    return 'it has no frame that can be read.';
  const packet = await new EncodedPacketSink(track).getPacket(end, { metadataOnly: true }).catch(() => null);
  // the index of an MP4 file lists frames beyond the point where it was cut off
  if (packet !== null && packet.timestamp < end && packet.timestamp > reached + 1e-6) {
    return `its index lists frames up to ${packet.timestamp.toFixed(3)} s.`;
  }
  if (end !== Number.POSITIVE_INFINITY) return undefined;
  return shortfall(input, from);
}

/** Takes the sample over: it is closed here. */
function frameOf(sample: VideoSample, began: number): Frame {
  try {
    const timestamp = microseconds(sample.timestamp);
    const duration = microseconds(sample.duration);
    const shown = {
      timestamp,
      ...(duration > 0 ? { duration } : {}),
      captured: began,
      width: Math.round(sample.displayWidth),
      height: Math.round(sample.displayHeight),
      dropped: 0,
    };
    if (sample.flip) return ownFrame({ ...shown, rotation: 0, image: upright(sample, timestamp) });
    return ownFrame({ ...shown, rotation: sample.rotation, image: sample.toVideoFrame() });
  } finally {
    sample.close();
  }
}

/** A mirrored picture, drawn as it is shown: a frame says how it is turned, but not that it is mirrored. */
function upright(sample: VideoSample, timestamp: number): VideoFrame {
  const canvas = new OffscreenCanvas(Math.round(sample.displayWidth), Math.round(sample.displayHeight));
  sample.draw(canvas.getContext('2d')!, 0, 0);
  return new VideoFrame(canvas, { timestamp });
}

function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6);
}
