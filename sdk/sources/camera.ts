import { throwIfAborted, WhylightError } from '../errors.js';
import { liveSource } from './live.js';
import type { FrameSource } from './source.js';

/** Settings of {@link camera} and {@link screen}. */
export interface LiveOptions {
  /** aborts the opening, with ABORTED, and afterwards closes the source */
  readonly signal?: AbortSignal;
}

/** Settings of {@link screen}. */
export interface ScreenOptions extends LiveOptions {
  /** passed to `getDisplayMedia`; `audio` is ignored; default `{ video: true }` */
  readonly constraints?: DisplayMediaStreamOptions;
}

/**
 * The camera as a live source. The user is asked at once. A frame's `timestamp` is its time of capture on the page's clock
 * in microseconds. Only the newest frame is kept; `dropped` counts those in between. The camera is on while somebody iterates.
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
    devices('the camera').getUserMedia({ video, audio: false }),
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
    devices('the shared screen').getDisplayMedia(constraints),
  );
}

function open(
  decoder: 'camera' | 'screen',
  name: string,
  signal: AbortSignal | undefined,
  request: () => Promise<MediaStream>,
): Promise<FrameSource> {
  return liveSource(
    {
      decoder,
      name,
      async open() {
        throwIfAborted(signal, `Opening ${name}`);
        const [track] = (
          await request().catch((error: unknown) => Promise.reject(refusal(error, name)))
        ).getVideoTracks();
        if (track === undefined) throw new WhylightError('SOURCE_UNAVAILABLE', `There is no picture from ${name}.`);
        return track;
      },
      async isRefused() {
        // a screen is shared once, by a choice that nothing withdraws but its end
        if (decoder === 'screen') return false;
        // browsers that do not know this name reject
        const status = await navigator.permissions?.query({ name: 'camera' as PermissionName }).catch(() => undefined);
        if (status !== undefined && status.state !== 'denied') await changeOf(status);
        return status?.state === 'denied';
      },
    },
    signal,
  );
}

/** A track may end a moment before its page hears that the permission has changed; milliseconds. */
const newsOfPermission = 500;

function changeOf(status: PermissionStatus): Promise<void> {
  return new Promise((resolve) => {
    const heard = () => {
      clearTimeout(timer);
      status.removeEventListener('change', heard);
      resolve();
    };
    const timer = setTimeout(heard, newsOfPermission);
    status.addEventListener('change', heard);
  });
}

function devices(name: string): MediaDevices {
  if (typeof navigator === 'undefined' || navigator.mediaDevices === undefined) {
    throw new WhylightError(
      'SOURCE_UNAVAILABLE',
      `${name.charAt(0).toUpperCase()}${name.slice(1)} can only be used in the window of a page from https: or localhost.`,
    );
  }
  return navigator.mediaDevices;
}

/** `getUserMedia`'s refusals by name; https://www.w3.org/TR/mediacapture-streams/#dom-mediadevices-getusermedia */
function refusal(error: unknown, name: string): WhylightError {
  if (error instanceof WhylightError) return error;
  const reason = error instanceof DOMException || error instanceof Error ? error.name : '';
  const constraint = (error as { constraint?: string } | null)?.constraint;
  const details = { reason, ...(constraint ? { constraint } : {}) };
  switch (reason) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new WhylightError(
        'SOURCE_PERMISSION',
        `Access to ${name} was refused; allow it in the browser's address bar or in the system's privacy settings.`,
        { details, cause: error },
      );
    case 'NotFoundError':
      return new WhylightError('SOURCE_UNAVAILABLE', `${name.replace(/^the/, 'No')} was found.`, {
        details,
        cause: error,
      });
    case 'NotReadableError':
    case 'AbortError':
      return new WhylightError(
        'SOURCE_UNAVAILABLE',
        `${name.charAt(0).toUpperCase()}${name.slice(1)} is there but gives no picture; another program may be using it.`,
        { details, cause: error },
      );
    case 'OverconstrainedError':
      return new WhylightError(
        'SOURCE_UNAVAILABLE',
        `${name.replace(/^the/, 'No')} meets the constraint ${constraint ?? '(unnamed)'}.`,
        { details, cause: error },
      );
    default:
      return new WhylightError(
        'SOURCE_UNAVAILABLE',
        `${name.charAt(0).toUpperCase()}${name.slice(1)} could not be opened: ${error instanceof Error ? error.message : String(error)}`,
        { details, cause: error },
      );
  }
}
