import { WhylightError } from '../errors.js';
import { aborted, linkedController, untilAborted } from './abortable.js';
import type { Frame, SourceInfo } from './frame.js';
import { ownFrame } from './ownership.js';
import { type FrameSource, framesOf } from './source.js';

/** Chromium's way from a track to its frames; not yet in TypeScript's own declarations. */
interface TrackProcessor {
  readonly readable: ReadableStream<VideoFrame>;
}

/** A picture of a track with its time of capture on `performance.now()`'s clock in milliseconds. */
interface Captured {
  readonly image: VideoFrame;
  readonly captured: number;
}

/** How a live source gets its track, and what it is called. */
export interface LiveDevice {
  readonly decoder: 'camera' | 'screen';
  /** for sentences: `the camera` */
  readonly name: string;
  /** asks the browser, and so the user, for a track; throws {@link WhylightError} */
  open(): Promise<MediaStreamTrack>;
  /** whether the user, the page or the system does not allow it now; false where the browser does not say */
  isRefused(): Promise<boolean>;
}

/**
 * A live source over a device. The track that was opened to find out whether there is one serves the first iteration; an
 * iteration that ends stops its track, so that the camera's light goes out, and a later one opens the device again.
 */
export async function liveSource(device: LiveDevice, signal: AbortSignal | undefined): Promise<FrameSource> {
  let waiting: MediaStreamTrack | undefined = await device.open();
  const running = new Set<MediaStreamTrack>();
  const closing = linkedController(signal);
  const close = () => {
    waiting?.stop();
    waiting = undefined;
    for (const track of running) track.stop();
  };
  closing.signal.addEventListener('abort', close, { once: true });
  if (closing.signal.aborted) {
    close();
    throw new WhylightError('ABORTED', `Opening ${device.name} was aborted.`);
  }

  const { width, height } = waiting.getSettings();
  const info: SourceInfo = {
    kind: 'live',
    ...(width === undefined ? {} : { width }),
    ...(height === undefined ? {} : { height }),
    decoder: device.decoder,
  };
  const takeTrack = async (): Promise<MediaStreamTrack> => {
    const [other] = running;
    const track = waiting ?? other?.clone() ?? (await device.open());
    waiting = undefined;
    return track;
  };

  const source: FrameSource = {
    info,
    async *frames(options = {}) {
      if (closing.signal.aborted) throw new WhylightError('DISPOSED', `The source of ${device.name} has been closed.`);
      const stop = linkedController(closing.signal, options.signal);
      let track: MediaStreamTrack | undefined;
      try {
        const taken = await untilAborted(takeTrack(), stop.signal, (late) => late.stop());
        if (taken === aborted) return;
        track = taken;
        running.add(track);
        yield* newest(track, device, stop.signal);
      } finally {
        stop.abort();
        if (track !== undefined) {
          running.delete(track);
          track.stop();
        }
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

/** The newest frame of a track whenever one is asked for; those that nobody asked for in time are closed and counted. */
async function* newest(
  track: MediaStreamTrack,
  device: LiveDevice,
  stop: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  let held: Captured | undefined;
  let dropped = 0;
  let ended: { readonly failure: unknown } | undefined;
  let wake: (() => void) | undefined;
  // whoever leaves the iteration is heard here before `stop` fires: a frame may come in between
  let isLeft = false;
  const pump = (async () => {
    for await (const captured of framesOfTrack(track, stop)) {
      if (isLeft || stop.aborted) {
        captured.image.close();
        return;
      }
      if (held !== undefined) {
        held.image.close();
        dropped++;
      }
      held = captured;
      wake?.();
    }
  })();
  pump
    .then(
      () => {
        ended = { failure: undefined };
      },
      (failure: unknown) => {
        ended = { failure };
      },
    )
    .then(() => wake?.());

  let before = Number.NEGATIVE_INFINITY;
  try {
    while (!stop.aborted) {
      if (held !== undefined) {
        const { image, captured } = held;
        held = undefined;
        // two captures within a microsecond do not happen, but a corrected clock may go back that far
        const timestamp = Math.max(Math.round(captured * 1000), before + 1);
        before = timestamp;
        const frame = ownFrame({
          timestamp,
          ...(image.duration === null ? {} : { duration: image.duration }),
          captured,
          width: image.displayWidth,
          height: image.displayHeight,
          rotation: 0, // a VideoFrame of a turned camera carries its rotation itself, and is drawn upright
          image,
          dropped,
        });
        dropped = 0;
        yield frame;
        continue;
      }
      if (ended !== undefined) {
        throw await reasonOfEnd(device, ended.failure);
      }
      const next = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await untilAborted(next, stop);
    }
  } finally {
    isLeft = true;
    held?.image.close();
  }
}

/** A track that ends says nothing of why; whether it was permission that was withdrawn, the browser can be asked. */
async function reasonOfEnd(device: LiveDevice, failure: unknown): Promise<WhylightError> {
  const name = `${device.name.charAt(0).toUpperCase()}${device.name.slice(1)}`;
  const options = failure === undefined ? {} : { cause: failure };
  return (await device.isRefused())
    ? new WhylightError(
        'SOURCE_PERMISSION',
        `${name} ended: its permission was withdrawn; allow it in the browser's address bar or in the system's privacy settings.`,
        options,
      )
    : new WhylightError(
        'SOURCE_ENDED',
        `${name} ended: it was unplugged, taken by another program, or sharing was stopped.`,
        options,
      );
}

function framesOfTrack(track: MediaStreamTrack, stop: AbortSignal): AsyncIterable<Captured> {
  const Processor = (
    globalThis as { MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack }) => TrackProcessor }
  ).MediaStreamTrackProcessor;
  return Processor === undefined ? throughVideo(track, stop) : throughProcessor(new Processor({ track }), stop);
}

async function* throughProcessor(processor: TrackProcessor, stop: AbortSignal): AsyncGenerator<Captured> {
  const reader = processor.readable.getReader();
  const clock = pageClock();
  try {
    while (true) {
      const step = await untilAborted(reader.read(), stop, (late) => late.value?.close());
      if (step === aborted || step.done) return;
      yield { image: step.value, captured: clock(step.value.timestamp, performance.now()) };
    }
  } finally {
    // a frame that is in the queue is closed by the cancelled stream
    void reader.cancel().catch(() => {});
  }
}

/**
 * Timestamps of a camera run on a clock of their own. The least delay ever seen between the two clocks is taken for their
 * difference: then times of capture are as regular as the camera, and what the page was late counts as age.
 *
 * @returns the time of capture in milliseconds on the page's clock, for a frame's timestamp in microseconds and the time at
 * which it arrived in milliseconds
 */
export function pageClock(): (timestamp: number, arrived: number) => number {
  let difference = Number.POSITIVE_INFINITY;
  return (timestamp, arrived) => {
    difference = Math.min(difference, arrived - timestamp / 1000);
    return timestamp / 1000 + difference;
  };
}

/** Where there is no MediaStreamTrackProcessor in the window (Firefox, Safari): a video element shows the track. */
async function* throughVideo(track: MediaStreamTrack, stop: AbortSignal): AsyncGenerator<Captured> {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  const ended = new Promise<'ended'>((resolve) => {
    if (track.readyState === 'ended') resolve('ended');
    track.addEventListener('ended', () => resolve('ended'), { once: true });
  });
  let handle = 0;
  try {
    if ((await untilAborted(video.play(), stop)) === aborted) return;
    while (true) {
      const shown = new Promise<VideoFrameCallbackMetadata>((resolve) => {
        handle = video.requestVideoFrameCallback((_, metadata) => resolve(metadata));
      });
      const step = await untilAborted(Promise.race([shown, ended]), stop);
      if (step === aborted || step === 'ended') return;
      const captured = step.captureTime ?? step.presentationTime;
      yield { image: new VideoFrame(video, { timestamp: Math.round(captured * 1000) }), captured };
    }
  } finally {
    video.cancelVideoFrameCallback(handle);
    video.srcObject = null;
  }
}
