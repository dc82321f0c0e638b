import { WhylightError } from '../errors.js';
import { aborted, untilAborted } from './abortable.js';
import { type LiveOptions, liveSource } from './live.js';
import { isDenied, mediaDevices, trackFrom } from './media-device.js';
import { pageClock } from './page-clock.js';
import {
  checkWindows,
  microsecondsOf,
  ownWindow,
  type SoundWindow,
  type WindowOptions,
  type WindowShape,
} from './sound-window.js';
import type { FrameSource } from './source.js';
import type { Cut } from './windowing.js';

/** Settings of {@link microphone}. */
export interface MicrophoneOptions extends WindowOptions, LiveOptions {
  /**
   * of the track. Default: whichever microphone there is, without what browsers do to voices (`echoCancellation`, `noiseSuppression` and
   * `autoGainControl` are false), so that a model hears what there is to hear
   */
  readonly constraints?: MediaTrackConstraints;
  /** the script of the audio worklet; default `workers/microphone.js` next to this file */
  readonly worklet?: URL | string;
}

/** A window as the audio thread posted it, and when its last sample was captured. */
interface Heard {
  readonly samples: Float32Array<ArrayBuffer>;
  readonly timestamp: number;
  readonly captured: number;
  /** gives the buffer back to the audio thread */
  release(): void;
}

/** Quartzes of sound cards and of computers are each within 100 ppm. */
const drift = 2e-4;
/** So many milliseconds a browser is given to begin; where it wants a click first it never does. */
const beginsWithin = 2000;

/**
 * The microphone as a live source of windows. The user is asked at once. Sound comes at `sampleRate`, brought to it by the browser, channels
 * averaged, and is cut on the audio thread. Like {@link camera} it keeps only the newest window and counts the others in
 * `dropped`; it is on while somebody iterates.
 *
 * `timestamp` is the page's clock in microseconds at the first window and counts samples from there on; after a pause of the system's
 * sound it begins anew. `captured` of a window is estimated: when its last sample came from the audio thread, by the least delay seen between both
 * clocks, less the latency that the browser tells of the microphone. What it does not tell (of drivers and wireless headsets up to
 * 200 ms) is missing from it, and a delay that stays is taken for a drift of the clocks at 0.2 ms a second.
 *
 * @throws {@link WhylightError} OPTION_INVALID · SOURCE_PERMISSION: refused by the user, the page or the system · SOURCE_UNAVAILABLE: no
 * microphone, none that fits the constraints, one that is in use, a page without a secure origin or a browser that does not change rates ·
 * ABORTED; while iterating SOURCE_ENDED: unplugged · SOURCE_PERMISSION: permission was withdrawn, or the browser starts no sound before the
 * user has clicked into the page · WORKER_FAILED: the worklet's script
 */
export async function microphone(options: MicrophoneOptions): Promise<FrameSource<SoundWindow>> {
  const shape = checkWindows(options);
  const { signal, constraints, worklet } = options;
  const name = 'the microphone';
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, ...constraints };
  // literal, for bundlers look for it
  const script = worklet ?? new URL('./workers/microphone.js', import.meta.url);
  return liveSource<SoundWindow, Heard>(
    {
      name,
      open: () => trackFrom(() => mediaDevices(name).getUserMedia({ audio, video: false }), 'audio', name, signal),
      isRefused: () => isDenied('microphone'),
      infoOf: () => ({ kind: 'live', decoder: 'microphone', sampleRate: shape.sampleRate }),
      capture: (track, stop) => windowsOfTrack(track, shape, script, stop),
      discard: (heard) => heard.release(),
      frameOf({ samples, timestamp, captured, release }, dropped) {
        const duration = microsecondsOf(shape.size, shape.sampleRate);
        return ownWindow({ timestamp, duration, captured, sampleRate: shape.sampleRate, samples, dropped }, release);
      },
    },
    signal,
  );
}

/** Every window of a track, as it comes. Ends with the track, or when `stop` fires. */
async function* windowsOfTrack(
  track: MediaStreamTrack,
  shape: WindowShape,
  script: URL | string,
  stop: AbortSignal,
): AsyncGenerator<Heard, void, undefined> {
  const { sampleRate, size } = shape;
  const waiting: Heard[] = [];
  let wake: (() => void) | undefined;
  let isEnded = track.readyState === 'ended';
  const context = contextAt(sampleRate);
  const ends = () => {
    isEnded = true;
    wake?.();
  };
  track.addEventListener('ended', ends);
  try {
    const loaded = await untilAborted(loadWorklet(context, script), stop);
    if (loaded === aborted) return;
    const node = new AudioWorkletNode(context, 'whylight-microphone', {
      numberOfOutputs: 0,
      // several channels are averaged
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: shape,
    });
    const { port } = node;
    const latency = 1000 * ((track.getSettings() as { latency?: number }).latency ?? 0);
    let clock = pageClock(drift);
    /** the page's time at the context's beginning, microseconds */
    let origin: number | undefined;
    context.onstatechange = () => {
      // the context's clock stood still meanwhile
      clock = pageClock(drift);
      origin = undefined;
    };
    port.onmessage = ({ data: { start, samples } }: MessageEvent<Cut>) => {
      const end = microsecondsOf(start + size, sampleRate);
      const captured = clock(end, performance.now()) - latency;
      origin ??= 1000 * captured - end;
      waiting.push({
        samples: samples as Float32Array<ArrayBuffer>,
        timestamp: Math.round(origin + microsecondsOf(start, sampleRate)),
        captured,
        release: () => port.postMessage(samples, [samples.buffer as ArrayBuffer]),
      });
      wake?.();
    };
    connect(context, track, node);
    if ((await untilAborted(begun(context), stop)) === aborted) return;
    while (!stop.aborted) {
      const heard = waiting.shift();
      if (heard !== undefined) {
        yield heard;
        continue;
      }
      if (isEnded) return;
      const next = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await untilAborted(next, stop);
    }
  } finally {
    track.removeEventListener('ended', ends);
    context.onstatechange = null;
    void context.close().catch(() => undefined);
  }
}

async function loadWorklet(context: AudioContext, script: URL | string): Promise<void> {
  try {
    await context.audioWorklet.addModule(script);
  } catch (error) {
    throw new WhylightError(
      'WORKER_FAILED',
      'The microphone worklet could not be loaded: check the option "worklet", that its file is there, is served as JavaScript and allowed by the content security policy.',
      { details: { script: String(script) }, cause: error },
    );
  }
}

function contextAt(sampleRate: number): AudioContext {
  try {
    return new AudioContext({ sampleRate, latencyHint: 'interactive' });
  } catch (error) {
    throw otherRate(sampleRate, error);
  }
}

function connect(context: AudioContext, track: MediaStreamTrack, node: AudioWorkletNode): void {
  try {
    context.createMediaStreamSource(new MediaStream([track])).connect(node);
  } catch (error) {
    throw otherRate(context.sampleRate, error);
  }
}

function otherRate(sampleRate: number, cause: unknown): WhylightError {
  return new WhylightError(
    'SOURCE_UNAVAILABLE',
    `This browser does not bring the microphone to ${sampleRate} samples a second.`,
    { details: { sampleRate }, cause },
  );
}

/** Resolves when the context runs. */
async function begun(context: AudioContext): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, beginsWithin);
  });
  await Promise.race([context.resume(), late]);
  clearTimeout(timer);
  if (context.state === 'running') return;
  throw new WhylightError(
    'SOURCE_PERMISSION',
    'This browser starts no sound before the user has clicked or pressed a key; open the microphone in answer to that.',
    { details: { state: context.state } },
  );
}
