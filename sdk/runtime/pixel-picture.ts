import { sizeOf } from '../graph/graph.js';
import type { Fitted } from './canvas-picture.js';
import type { PictureInput } from './metadata.js';
import { descent, fitGeometry, pixelsToTensor, type Size } from './preprocess.js';

/** A decoded picture as plain memory: RGBA, 0…255, row-major, not premultiplied. */
export interface PixelPicture extends Size {
  /** 4 · width · height values */
  readonly data: Uint8ClampedArray;
}

/**
 * Pictures → the model's input where there is no canvas and no GPU, in Node: the same steps, and in Chromium the very numbers, of
 * `createCanvasPicture`. Every call gives an array of its own.
 */
export function createPixelPicture(input: PictureInput): (picture: PixelPicture) => Fitted {
  return (picture) => {
    const fit = fitGeometry(picture, input, input.fit);
    const way = descent(picture, picture, fit);
    const [, ...steps] = way.sizes;
    const small = steps.reduce(halved, opaque(picture, input.pad));
    const image = new Float32Array(sizeOf(input.shape));
    pixelsToTensor(way, fit, input)(small.data, image);
    return { fit, image };
  };
}

/** What is transparent shows the colour of the border, as on a canvas that was filled with it. */
function opaque(picture: PixelPicture, pad: readonly [number, number, number]): PixelPicture {
  const data = new Uint8ClampedArray(picture.data.length);
  for (let at = 0; at < data.length; at += 4) {
    const alpha = picture.data[at + 3]! / 255;
    for (let k = 0; k < 3; k++) data[at + k] = picture.data[at + k]! * alpha + pad[k]! * (1 - alpha);
    data[at + 3] = 255;
  }
  return { width: picture.width, height: picture.height, data };
}

/** Means of two by two pixels, or of two where one axis stays, rounded down as canvases do; an odd row or column at the end is left out. */
function halved(picture: PixelPicture, { width, height }: Size): PixelPicture {
  const across = width < picture.width ? 2 : 1;
  const down = height < picture.height ? 2 : 1;
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 4; channel++, to++) {
        let sum = 0;
        for (let dy = 0; dy < down; dy++) {
          const row = (y * down + dy) * picture.width;
          for (let dx = 0; dx < across; dx++) sum += picture.data[4 * (row + x * across + dx) + channel]!;
        }
        data[to] = Math.floor(sum / (across * down));
      }
    }
  }
  return { width, height, data };
}
