import { type AudioSample, AudioSampleSink, type Input, type InputAudioTrack } from 'mediabunny';
import { WhylightError } from '../errors.js';
import { aborted, untilAborted } from './abortable.js';
import type { Clip } from './clip.js';
import { messageOf } from './media-file.js';
import { codecName, inputOf, shortfall } from './media-input.js';
import { type Resampler, resampler } from './resample.js';
import { microsecondsOf, ownWindow, type SoundWindow, type WindowShape } from './sound-window.js';
import { type Cut, windowing } from './windowing.js';

/** What is taken of a file's sound. */
export interface SoundSelection extends WindowShape {
  /** seconds */
  readonly start: number;
  /** seconds */
  readonly end: number;
}

/** How opening went. */
export type OpenedSound =
  | { readonly outcome: 'decodable'; readonly clip: Clip<SoundWindow> }
  | { readonly outcome: 'unknown-container' | 'no-sound' | 'no-decoder'; readonly codec: string };

/** Timestamps of containers are rounded, to a millisecond or more; what is further off is a hole. */
const jitter = 0.02;

/** So many seconds are read around what is wanted, since decoders and filters know what comes before and after. */
const around = 0.1;

/** Reads a file's container and opens its sound, if there is a decoder for it. */
export async function openSound(from: Blob | URL, name: string, selection: SoundSelection): Promise<OpenedSound> {
  const input = inputOf(from);
  let keep = false;
  try {
    if (!(await input.canRead())) return { outcome: 'unknown-container', codec: '' };
    const track = await input.getPrimaryAudioTrack();
    if (track === null) return { outcome: 'no-sound', codec: '' };
    if (!(await track.canDecode())) return { outcome: 'no-decoder', codec: await codecName(track) };
    const duration =
      (await input.getDurationFromMetadata([track]).catch(() => null)) ?? (await track.computeDuration());
    const clip: Clip<SoundWindow> = {
      info: { kind: 'file', duration, sampleRate: selection.sampleRate, decoder: 'webcodecs' },
      frames: (stop) => decode(input, track, from, name, selection, stop),
      close: () => input.dispose(),
    };
    keep = true;
    return { outcome: 'decodable', clip };
  } finally {
    if (!keep) input.dispose();
  }
}

async function* decode(
  input: Input,
  track: InputAudioTrack,
  from: Blob | URL,
  name: string,
  selection: SoundSelection,
  stop: AbortSignal,
): AsyncGenerator<SoundWindow, void, undefined> {
  const { sampleRate, size } = selection;
  const free: Float32Array[] = [];
  const cutter = cutterOf(selection, () => free.pop() ?? new Float32Array(size));
  const windowOf = ({ start, samples }: Cut, captured: number): SoundWindow => {
    const timestamp = Math.round(microsecondsOf(start, sampleRate));
    const duration = microsecondsOf(size, sampleRate);
    return ownWindow({ timestamp, duration, captured, sampleRate, samples, dropped: 0 }, () => free.push(samples));
  };
  let reached = 0;
  let failure: unknown;
  const samples = new AudioSampleSink(track).samples(Math.max(0, selection.start - around), selection.end + around);
  let asked = performance.now();
  try {
    while (true) {
      const step = await untilAborted(samples.next(), stop, (late) => {
        if (late.done !== true) late.value.close();
      });
      if (step === aborted) return;
      if (step.done === true) break;
      reached = step.value.timestamp + step.value.duration;
      for (const cut of cutter.push(step.value)) {
        yield windowOf(cut, asked);
        asked = performance.now();
      }
    }
  } catch (error) {
    if (stop.aborted) return;
    failure = error;
  } finally {
    // not awaited: a read that hangs must not keep the caller from leaving
    void samples.return(undefined);
  }
  for (const cut of cutter.end()) {
    yield windowOf(cut, asked);
    asked = performance.now();
  }
  if (stop.aborted) return;
  const problem = failure === undefined ? await missing(input, from, reached, selection.end) : messageOf(failure);
  if (problem === undefined) return;
  throw new WhylightError('MEDIA_CORRUPT', `${name} is damaged or cut off after ${reached.toFixed(3)} s: ${problem}`, {
    details: { file: name, seconds: reached },
    ...(failure === undefined ? {} : { cause: failure }),
  });
}

/** What is missing of a file that was read up to `reached` without an error; undefined if nothing is. */
async function missing(input: Input, from: Blob | URL, reached: number, end: number): Promise<string | undefined> {
  if (end !== Number.POSITIVE_INFINITY) return undefined;
  if (reached === 0) return 'it has no sound that can be read.';
  return shortfall(input, from);
}

/** Decoded samples as a file has them, channel by channel. */
export type Decoded = Pick<
  AudioSample,
  'timestamp' | 'sampleRate' | 'numberOfFrames' | 'numberOfChannels' | 'copyTo' | 'close'
>;

/** From what a decoder gives to windows. */
export interface Cutter {
  /** The windows that decoded samples complete; it closes them. */
  push(decoded: Decoded): readonly Cut[];
  end(): readonly Cut[];
}

/** Averages channels, changes the rate, and cuts what is selected into windows; places count samples of the new rate from 0 s. */
export function cutterOf({ sampleRate, size, hop, start, end }: SoundSelection, take: () => Float32Array): Cutter {
  const windows = windowing(size, hop, take);
  const [from, until] = [Math.round(start * sampleRate), Math.round(end * sampleRate)];
  let stretch: { readonly rate: number; readonly resampler: Resampler } | undefined;
  /** of the old rate */
  let next = 0;
  /** of the new one */
  let place = 0;
  let mean = new Float32Array();
  let channel = new Float32Array();

  const given = (samples: Float32Array): readonly Cut[] => {
    const first = Math.max(0, from - place);
    const last = Math.min(samples.length, until - place);
    const cuts = first < last ? windows.push(samples.subarray(first, last), place + first) : [];
    place += samples.length;
    return cuts;
  };

  const leave = (): readonly Cut[] => {
    if (stretch === undefined) return [];
    const cuts = given(stretch.resampler.end());
    stretch = undefined;
    return [...cuts, ...windows.end()];
  };

  return {
    push(decoded) {
      const { numberOfFrames: count, numberOfChannels: channels, sampleRate: rate, timestamp } = decoded;
      if (mean.length < count) [mean, channel] = [new Float32Array(count), new Float32Array(count)];
      mean.fill(0);
      for (let planeIndex = 0; planeIndex < channels; planeIndex++) {
        decoded.copyTo(channel, { planeIndex, format: 'f32-planar' });
        for (let index = 0; index < count; index++) mean[index]! += channel[index]! / channels;
      }
      decoded.close();
      const at = Math.round(timestamp * rate);
      const isNew = stretch?.rate !== rate || Math.abs(at - next) > jitter * rate;
      const before = isNew ? leave() : [];
      if (stretch === undefined) {
        stretch = { rate, resampler: resampler(rate, sampleRate, at) };
        place = stretch.resampler.first;
        next = at;
      }
      next += count;
      return [...before, ...given(stretch.resampler.push(mean.subarray(0, count)))];
    },
    end: leave,
  };
}
