import { WhylightError } from '../errors.js';
import type { Frame, TimedFrame } from './frame.js';
import { owned } from './ownership.js';

/**
 * One window of a stream of sound: so many samples of one channel, as a model that hears takes them at once. Windows may overlap. Its
 * `captured` is when its last sample was, so that the age of what a model says of it counts from the end of the window.
 */
export interface SoundWindow extends TimedFrame {
  /** of the first sample, in microseconds, exact to a sample between the windows of a source */
  readonly timestamp: number;
  /** in microseconds */
  readonly duration: number;
  /** samples a second */
  readonly sampleRate: number;
  /** −1…1, channels averaged; valid until the window is closed, then its source writes other samples there, or nothing is left */
  readonly samples: Float32Array;
}

/** What models take: a picture or a window of sound. */
export type MediaFrame = Frame | SoundWindow;

/** How a stream of sound is cut into windows, in samples or in seconds. */
export interface WindowOptions {
  /** samples a second that windows are to have, whatever the source's own rate is: what the model expects; a whole number, 3000 to 192000 */
  readonly sampleRate: number;
  /** length of a window in samples, ≥ 1; this or `windowSeconds` is needed */
  readonly windowSamples?: number;
  /** length of a window in seconds, rounded to whole samples */
  readonly windowSeconds?: number;
  /** samples from the beginning of a window to that of the next, ≥ 1; default the length of a window, one behind the other */
  readonly hopSamples?: number;
  /** the same in seconds, rounded to whole samples */
  readonly hopSeconds?: number;
}

/** {@link WindowOptions} in samples. */
export interface WindowShape {
  readonly sampleRate: number;
  /** samples of a window */
  readonly size: number;
  /** samples from one window to the next */
  readonly hop: number;
}

/** Throws WhylightError OPTION_INVALID; `details.field` is the option's name. */
export function checkWindows(options: WindowOptions): WindowShape {
  const { sampleRate } = options;
  const invalid = (field: string, sentence: string) =>
    new WhylightError('OPTION_INVALID', `${field} ${sentence}`, { details: { field } });
  if (!(Number.isInteger(sampleRate) && sampleRate >= 3000 && sampleRate <= 192_000)) {
    throw invalid('sampleRate', `is ${sampleRate}; it is a whole number of samples a second, 3000 to 192000.`);
  }
  const lengthOf = (what: 'window' | 'hop'): number | undefined => {
    const [samples, seconds] = [options[`${what}Samples`], options[`${what}Seconds`]];
    if (samples !== undefined && seconds !== undefined) {
      throw invalid(`${what}Samples`, `and ${what}Seconds say the same; give one of them.`);
    }
    if (samples === undefined && seconds === undefined) return undefined;
    const length = samples ?? Math.round(seconds! * sampleRate);
    if (Number.isInteger(length) && length >= 1) return length;
    throw samples === undefined
      ? invalid(`${what}Seconds`, `is ${seconds}; it is in seconds, and at least one sample long.`)
      : invalid(`${what}Samples`, `is ${samples}; it is a whole number of samples, at least 1.`);
  };
  const size = lengthOf('window');
  if (size === undefined) throw invalid('windowSamples', 'is missing, and so is windowSeconds: how long is a window?');
  return { sampleRate, size, hop: lengthOf('hop') ?? size };
}

/** Makes a window out of samples that are owned from now on; `release` gives their buffer back. */
export function ownWindow(window: Omit<SoundWindow, 'close'>, release: () => void): SoundWindow {
  return owned<SoundWindow>(window, `a window of sound at ${window.timestamp} µs`, release);
}

/** Length of so many samples in microseconds. */
export function microsecondsOf(samples: number, sampleRate: number): number {
  return (samples * 1e6) / sampleRate;
}
