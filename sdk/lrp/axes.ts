import type { Emitter, Value } from './emitter.js';
import { invalid } from './invalid.js';

/** Pictures have at most this many channels; other axes are longer. */
const FEW = 4;

/** An input's axis of channels: the one that is given, else axis 1, or one of at most four elements where axis 1 has more. */
export function channelAxisOf(dims: readonly number[], given: number | undefined): number | undefined {
  if (given !== undefined) {
    if (given < dims.length) return given;
    return invalid('channelAxis', `is ${given}, but an input has the shape [${dims.join(', ')}]`);
  }
  if (dims.length < 3) return undefined;
  if (dims.length === 3 || dims[1]! <= FEW) return 1;
  const others = dims.map((_, axis) => axis).slice(2);
  return [others.at(-1)!, ...others].find((axis) => dims[axis]! <= FEW) ?? 1;
}

/** Axes of space and time: neither the batch's nor the channels'. */
export function placeAxesOf(dims: readonly number[], channelAxis: number | undefined): number[] {
  return dims.map((_, axis) => axis).filter((axis) => axis > 0 && axis !== channelAxis);
}

/** One value per place in equal parts in every channel, so that the sum over channels gives it back. */
export function overChannels(
  emit: Emitter,
  perPlace: Value,
  dims: readonly number[],
  channelAxis: number | undefined,
): Value {
  const channels = channelAxis === undefined ? 1 : dims[channelAxis]!;
  return emit.expand(channels === 1 ? perPlace : emit.mul(perPlace, emit.scalar(1 / channels)), dims);
}
