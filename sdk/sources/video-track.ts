import { aborted, untilAborted } from './abortable.js';
import { pageClock } from './page-clock.js';

/** Chromium's way from a track to its frames; not yet in TypeScript's own declarations. */
interface TrackProcessor {
  readonly readable: ReadableStream<VideoFrame>;
}

/** A picture of a track with its time of capture on `performance.now()`'s clock in milliseconds. */
export interface CapturedPicture {
  readonly image: VideoFrame;
  readonly captured: number;
}

/** Every picture of a track, as it comes. Ends with the track, or when `stop` fires. */
export function picturesOfTrack(track: MediaStreamTrack, stop: AbortSignal): AsyncIterable<CapturedPicture> {
  const Processor = (
    globalThis as { MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack }) => TrackProcessor }
  ).MediaStreamTrackProcessor;
  return Processor === undefined ? throughVideo(track, stop) : throughProcessor(new Processor({ track }), stop);
}

async function* throughProcessor(processor: TrackProcessor, stop: AbortSignal): AsyncGenerator<CapturedPicture> {
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

/** Where there is no MediaStreamTrackProcessor in the window (Firefox, Safari): a video element shows the track. */
async function* throughVideo(track: MediaStreamTrack, stop: AbortSignal): AsyncGenerator<CapturedPicture> {
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
