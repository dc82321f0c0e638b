import type { Frame, SourceInfo } from './frame.js';
import { type LiveOptions, liveSource } from './live.js';
import { isDenied, mediaDevices, trackFrom } from './media-device.js';
import { ownFrame } from './ownership.js';
import type { FrameSource } from './source.js';
import { type CapturedPicture, picturesOfTrack } from './video-track.js';

/** Settings of {@link screen}. */
export interface ScreenOptions extends LiveOptions {
  /** passed to `getDisplayMedia`; `audio` is ignored; default `{ video: true }` */
  readonly constraints?: DisplayMediaStreamOptions;
}

/**
 * The camera as a live source. The user is asked at once. A frame's `timestamp` is its time of capture on the page's clock
 * in microseconds. Only the newest frame is kept; `dropped` counts those in between. The camera is on while somebody iterates, and up to a tenth of a second longer.
 *
 * @param constraints of the video track, or of a whole stream (its `audio` is ignored); default: whichever camera there is
 * @throws {@link WhylightError} SOURCE_PERMISSION: refused by the user, the page or the system · SOURCE_UNAVAILABLE: no camera,
 * none that fits the constraints, one that is in use, or a page without a secure origin · ABORTED; while iterating
 * SOURCE_ENDED: unplugged · SOURCE_PERMISSION: permission was withdrawn
 */
export async function camera(
  constraints: MediaTrackConstraints | MediaStreamConstraints = {},
  options: LiveOptions = {},
): Promise<FrameSource> {
  const video = 'video' in constraints ? (constraints.video ?? true) : (constraints as MediaTrackConstraints);
  return open('camera', 'the camera', options.signal, () =>
    mediaDevices('the camera').getUserMedia({ video, audio: false }),
  );
}

/**
 * A screen, window or tab that the user picks, as a live source like {@link camera}. Browsers show their picker only in answer
 * to a click or a key.
 *
 * @throws {@link WhylightError} as {@link camera}
 */
export async function screen(options: ScreenOptions = {}): Promise<FrameSource> {
  const constraints = { video: true, ...options.constraints, audio: false };
  return open('screen', 'the shared screen', options.signal, () =>
    mediaDevices('the shared screen').getDisplayMedia(constraints),
  );
}

function open(
  decoder: 'camera' | 'screen',
  name: string,
  signal: AbortSignal | undefined,
  request: () => Promise<MediaStream>,
): Promise<FrameSource> {
  return liveSource<Frame, CapturedPicture>(
    {
      name,
      open: () => trackFrom(request, 'video', name, signal),
      // a screen is shared once, by a choice that nothing withdraws but its end
      isRefused: async () => decoder === 'camera' && (await isDenied('camera')),
      infoOf(track) {
        const { width, height } = track.getSettings();
        const info: SourceInfo = { kind: 'live', decoder };
        return { ...info, ...(width === undefined ? {} : { width }), ...(height === undefined ? {} : { height }) };
      },
      capture: picturesOfTrack,
      discard: ({ release }) => release(),
      frameOf: ({ image, captured, release }, dropped, before) =>
        ownFrame(
          {
            // two captures within a microsecond do not happen, but a corrected clock may go back that far
            timestamp: Math.max(Math.round(captured * 1000), before + 1),
            ...(image.duration === null ? {} : { duration: image.duration }),
            captured,
            width: image.displayWidth,
            height: image.displayHeight,
            rotation: 0, // a VideoFrame of a turned camera carries its rotation itself, and is drawn upright
            image,
            dropped,
          },
          release,
        ),
    },
    signal,
  );
}
