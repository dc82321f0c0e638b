import { throwIfAborted, WhylightError } from '../errors.js';

/** What a track of each kind gives, for sentences. */
const gives = { video: 'picture', audio: 'sound' } as const;

/**
 * The first track of a kind of what the browser, and so the user, is asked for. `name` is what sentences call its device.
 *
 * Throws WhylightError SOURCE_PERMISSION, SOURCE_UNAVAILABLE or ABORTED.
 */
export async function trackFrom(
  request: () => Promise<MediaStream>,
  kind: 'video' | 'audio',
  name: string,
  signal: AbortSignal | undefined,
): Promise<MediaStreamTrack> {
  throwIfAborted(signal, `Opening ${name}`);
  const stream = await request().catch((error: unknown) => Promise.reject(refusal(error, name, gives[kind])));
  const track = stream.getTracks().find((track) => track.kind === kind);
  if (track === undefined) throw new WhylightError('SOURCE_UNAVAILABLE', `There is no ${gives[kind]} from ${name}.`);
  return track;
}

/** Whether the page may not use a device at the moment; false where the browser does not say. */
export async function isDenied(device: 'camera' | 'microphone'): Promise<boolean> {
  // browsers that do not know this name reject
  const status = await navigator.permissions?.query({ name: device as PermissionName }).catch(() => undefined);
  if (status !== undefined && status.state !== 'denied') await changeOf(status);
  return status?.state === 'denied';
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

/** Throws WhylightError SOURCE_UNAVAILABLE where the page may have no devices; `name` is such as `the camera`. */
export function mediaDevices(name: string): MediaDevices {
  if (typeof navigator === 'undefined' || navigator.mediaDevices === undefined) {
    throw new WhylightError(
      'SOURCE_UNAVAILABLE',
      `${capitalized(name)} can only be used in the window of a page from https: or localhost.`,
    );
  }
  return navigator.mediaDevices;
}

/** `getUserMedia`'s refusals by name; https://www.w3.org/TR/mediacapture-streams/#dom-mediadevices-getusermedia */
function refusal(error: unknown, name: string, gives: string): WhylightError {
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
        `${capitalized(name)} is there but gives no ${gives}; another program may be using it.`,
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
        `${capitalized(name)} could not be opened: ${error instanceof Error ? error.message : String(error)}`,
        { details, cause: error },
      );
  }
}

/** At the beginning of a sentence. */
export function capitalized(name: string): string {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
