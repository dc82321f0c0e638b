import { deserializeError, type SerializedError, serializeError, type WhylightError } from '../errors.js';
import type { Frame } from './frame.js';
import { ownFrame } from './ownership.js';

// Frames from one thread to another over a MessagePort. The one that takes them gives credit: so many frames the other may
// still send. So it decodes a few frames ahead, and never more.

/** A frame on its way; its image is transferred. What the taker knows better is left out. */
type Picture = Omit<Frame, 'close' | 'captured' | 'dropped'>;

/** What goes to the taker. Nothing follows an end. */
type Delivery = Picture | { readonly end: SerializedError | null };

/** What goes to the giver: for how many more frames there is room now, or that no more is wanted. */
type Demand = number | 'stop';

/** Frames that may be sent before any has been taken. */
const ahead = 4;
/** So many are taken before the giver hears of it: one message for two frames. */
const creditEvery = 2;

/** Sends what `frames` gives, while there is credit, and then its end or its error; the taker closes the port. */
export async function sendFrames(
  port: MessagePort,
  frames: (stop: AbortSignal) => AsyncIterable<Frame>,
): Promise<void> {
  const stop = new AbortController();
  let credit = ahead;
  let wake: (() => void) | undefined;
  port.onmessage = ({ data }: MessageEvent<Demand>) => {
    if (data === 'stop') stop.abort();
    else credit += data;
    wake?.();
  };
  const deliver = (delivery: Delivery, images: Transferable[] = []) => port.postMessage(delivery, images);
  try {
    for await (const frame of frames(stop.signal)) {
      const { image, timestamp, duration, width, height, rotation } = frame;
      const picture: Picture = { image, timestamp, width, height, rotation };
      deliver(duration === undefined ? picture : { ...picture, duration }, [image]);
      frame.close();
      credit--;
      while (credit === 0 && !stop.signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    deliver({ end: null });
  } catch (error) {
    deliver({ end: serializeError(error, 'MEDIA_CORRUPT') });
  }
}

/**
 * The frames that the other end sends, each captured when it was asked for. Ends without an error when `stop` fires; what arrives
 * later is closed.
 *
 * Throws what the other end failed with, or the reason of `ended` where that fires first: the other thread is no more.
 */
export async function* receiveFrames(
  port: MessagePort,
  stop: AbortSignal,
  ended: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  const waiting: Picture[] = [];
  let end: { readonly error: WhylightError | undefined } | undefined;
  let isLeft = false;
  let taken = 0;
  let wake: (() => void) | undefined;
  port.onmessage = ({ data }: MessageEvent<Delivery>) => {
    if ('end' in data) {
      end ??= { error: data.end === null ? undefined : deserializeError(data.end) };
      port.close();
    } else if (isLeft) data.image.close();
    else waiting.push(data);
    wake?.();
  };
  const demand = (demanded: Demand) => port.postMessage(demanded);
  const hear = () => wake?.();
  const die = () => {
    end ??= { error: ended.reason };
    wake?.();
  };
  stop.addEventListener('abort', hear, { once: true });
  ended.addEventListener('abort', die, { once: true });
  if (ended.aborted) die();
  try {
    let captured = performance.now();
    while (!stop.aborted) {
      const picture = waiting.shift();
      if (picture !== undefined) {
        if (++taken % creditEvery === 0) demand(creditEvery);
        yield ownFrame({ ...picture, captured, dropped: 0 });
        captured = performance.now();
        continue;
      }
      if (end !== undefined) {
        if (end.error !== undefined) throw end.error;
        return;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    isLeft = true;
    stop.removeEventListener('abort', hear);
    ended.removeEventListener('abort', die);
    for (const { image } of waiting) image.close();
    if (end === undefined) demand('stop');
  }
}
