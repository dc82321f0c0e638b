import { aborted, untilAborted } from './abortable.js';
import { captureBuffersOf, type Kept } from './capture-buffers.js';
import { pageClock } from './page-clock.js';

/** Chromium's way from a track to its frames; not yet in TypeScript's own declarations. */
interface TrackProcessor {
  readonly readable: ReadableStream<VideoFrame>;
}

/** A picture of a track. */
interface Picture {
  readonly image: VideoFrame;
  /** time of capture on `performance.now()`'s clock in milliseconds */
  readonly captured: number;
}

/** A picture of a track as it is handed on. */
export interface CapturedPicture extends Picture {
  /** Closes the image, which another thread may have taken by then. */
  release(): void;
}

/** Every picture of a track, as it comes. Ends with the track, or when `stop` fires, and then stops the track. */
export async function* picturesOfTrack(
  track: MediaStreamTrack,
  stop: AbortSignal,
): AsyncGenerator<CapturedPicture, void, undefined> {
  const buffers = captureBuffersOf(track);
  /** the last picture that another thread was given: it may still be open there */
  let lent: Kept | undefined;
  try {
    for await (const { image: taken, captured } of asCaptured(track, stop)) {
      const kept = await buffers.take(taken);
      const { image } = kept;
      const release = () => {
        const isTransferred = image.codedWidth === 0;
        image.close();
        if (!isTransferred) return kept.returned();
        // who explains frames one after the other gives the next one away when the one before is done with
        lent?.returned();
        lent = kept;
      };
      yield { image, captured, release };
    }
  } finally {
    lent?.returned();
  }
}

function asCaptured(track: MediaStreamTrack, stop: AbortSignal): AsyncIterable<Picture> {
  const Processor = (
    globalThis as { MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack }) => TrackProcessor }
  ).MediaStreamTrackProcessor;
  return Processor === undefined ? throughVideo(track, stop) : throughProcessor(new Processor({ track }), track, stop);
}

/**
 * Where a track is stopped, or its stream cancelled, while a picture is on its way to a read that waits for it, Chromium leaves the picture to
 * the garbage collector: it complains of that, and until then the camera has a buffer less. So the read is waited for, milliseconds at most.
 */
const longestRead = 100;

async function* throughProcessor(
  processor: TrackProcessor,
  track: MediaStreamTrack,
  stop: AbortSignal,
): AsyncGenerator<Picture> {
  const reader = processor.readable.getReader();
  const clock = pageClock();
  let reading: Promise<unknown> = Promise.resolve();
  try {
    while (true) {
      const read = reader.read();
      reading = read.catch(() => undefined);
      const step = await untilAborted(read, stop, (late) => late.value?.close());
      if (step === aborted || step.done) return;
      yield { image: step.value, captured: clock(step.value.timestamp, performance.now()) };
    }
  } finally {
    await untilAborted(reading, AbortSignal.timeout(longestRead));
    track.stop();
    void drain(reader);
  }
}

/** Closes what a stopped track had in store. */
async function drain(reader: ReadableStreamDefaultReader<VideoFrame>): Promise<void> {
  try {
    for (;;) {
      const step = await reader.read();
      if (step.done) return;
      step.value.close();
    }
  } catch {
    // a stream that failed has nothing more
  }
}

/** Where there is no MediaStreamTrackProcessor in the window (Firefox, Safari): a video element shows the track. */
async function* throughVideo(track: MediaStreamTrack, stop: AbortSignal): AsyncGenerator<Picture> {
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
    track.stop();
  }
}
