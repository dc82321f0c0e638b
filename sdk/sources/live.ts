import { WhylightError } from '../errors.js';
import { aborted, linkedController, untilAborted } from './abortable.js';
import type { SourceInfo, TimedFrame } from './frame.js';
import { capitalized } from './media-device.js';
import { type FrameSource, framesOf } from './source.js';

/** Settings of every live source. */
export interface LiveOptions {
  /** aborts the opening, with ABORTED, and afterwards closes the source */
  readonly signal?: AbortSignal;
}

/** How a live source gets its track, what it makes of it, and what it is called. */
export interface LiveDevice<Item extends TimedFrame, Taken> {
  /** for sentences: `the camera` */
  readonly name: string;
  /** asks the browser, and so the user, for a track; throws {@link WhylightError} */
  open(): Promise<MediaStreamTrack>;
  /** whether the user, the page or the system does not allow it now; false where the browser does not say */
  isRefused(): Promise<boolean>;
  /** what is known of the track before it has given anything */
  infoOf(track: MediaStreamTrack): SourceInfo;
  /** What the track gives, as it comes. Ends with the track, or when `stop` fires. */
  capture(track: MediaStreamTrack, stop: AbortSignal): AsyncIterable<Taken>;
  /** Releases what nobody asked for in time. */
  discard(taken: Taken): void;
  /** What is handed over, after `dropped` others were not; `before` is the timestamp of what was handed over last, −∞ at first. */
  frameOf(taken: Taken, dropped: number, before: number): Item;
}

/**
 * A live source over a device. The track that was opened to find out whether there is one serves the first iteration; an
 * iteration that ends stops its track as soon as nothing is on its way, so that the camera's light goes out, and a later one opens the device
 * again.
 */
export async function liveSource<Item extends TimedFrame, Taken>(
  device: LiveDevice<Item, Taken>,
  signal: AbortSignal | undefined,
): Promise<FrameSource<Item>> {
  let waiting: MediaStreamTrack | undefined = await device.open();
  let opening: Promise<void> | undefined;
  const running = new Set<MediaStreamTrack>();
  const closing = linkedController(signal);
  const close = () => {
    waiting?.stop();
    waiting = undefined;
  };
  closing.signal.addEventListener('abort', close, { once: true });
  if (closing.signal.aborted) {
    close();
    throw new WhylightError('ABORTED', `Opening ${device.name} was aborted.`);
  }

  const info = device.infoOf(waiting);
  const opened = async (): Promise<void> => {
    waiting = await device.open();
  };
  /** A track of the device's, which is opened once for all who come at the same time. */
  const takeTrack = async (): Promise<MediaStreamTrack> => {
    for (;;) {
      // the clone of one that has ended has ended too
      const other = [...running].find(({ readyState }) => readyState === 'live');
      const track = waiting ?? other?.clone();
      if (track !== undefined) {
        waiting = undefined;
        running.add(track);
        return track;
      }
      opening ??= opened().finally(() => {
        opening = undefined;
      });
      await opening;
    }
  };

  const source: FrameSource<Item> = {
    info,
    async *frames(options = {}) {
      if (closing.signal.aborted) throw new WhylightError('DISPOSED', `The source of ${device.name} has been closed.`);
      const stop = linkedController(closing.signal, options.signal);
      let track: MediaStreamTrack | undefined;
      try {
        const taken = await untilAborted(takeTrack(), stop.signal, (late) => {
          running.delete(late);
          late.stop();
        });
        if (taken === aborted) return;
        track = taken;
        yield* newest(track, device, stop.signal);
      } finally {
        stop.abort();
        if (track !== undefined) running.delete(track);
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

/** The newest that a track gave whenever it is asked for; what nobody asked for in time is discarded and counted. */
async function* newest<Item extends TimedFrame, Taken>(
  track: MediaStreamTrack,
  device: LiveDevice<Item, Taken>,
  stop: AbortSignal,
): AsyncGenerator<Item, void, undefined> {
  let held: { readonly taken: Taken } | undefined;
  let dropped = 0;
  let ended: { readonly failure: unknown } | undefined;
  let wake: (() => void) | undefined;
  // whoever leaves the iteration is heard here before `stop` fires: a frame may come in between
  let isLeft = false;
  const letGo = () => {
    if (held !== undefined) device.discard(held.taken);
    held = undefined;
  };
  // who is busy with a frame, and closes the source meanwhile, may never ask for the next one
  stop.addEventListener('abort', letGo, { once: true });
  const pump = (async () => {
    try {
      for await (const taken of device.capture(track, stop)) {
        if (isLeft || stop.aborted) {
          device.discard(taken);
          return;
        }
        if (held !== undefined) dropped++;
        letGo();
        held = { taken };
        wake?.();
      }
    } finally {
      track.stop();
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
        const { taken } = held;
        held = undefined;
        const frame = device.frameOf(taken, dropped, before);
        before = frame.timestamp;
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
    letGo();
  }
}

/** A track that ends says nothing of why; whether it was permission that was withdrawn, the browser can be asked. */
async function reasonOfEnd(
  device: Pick<LiveDevice<TimedFrame, unknown>, 'name' | 'isRefused'>,
  failure: unknown,
): Promise<WhylightError> {
  const name = capitalized(device.name);
  const options = failure === undefined ? {} : { cause: failure };
  // what says itself why it ended knows better
  if (failure instanceof WhylightError) return failure;
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
