import type { Fitted } from './canvas-picture.js';
import type { WaveformInput } from './metadata.js';
import type { Sound } from './protocol.js';

/** A window of sound fills its input. */
const fit = { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 };

/**
 * Samples → the model's input: −1…1 becomes the input's range. Where that is the same, they are given as they came; else every call fills
 * the same array.
 */
export function createSoundInput({ samples: length, range: [low, high] }: WaveformInput): (sound: Sound) => Fitted {
  const [scale, shift] = [(high - low) / 2, (high + low) / 2];
  if (scale === 1 && shift === 0) return ({ samples }) => ({ fit, image: samples });
  const image = new Float32Array(length);
  return ({ samples }) => {
    for (let index = 0; index < length; index++) image[index] = samples[index]! * scale + shift;
    return { fit, image };
  };
}
