import type { Fit, ResolvedMetadata } from './metadata.js';

/**
 * Where the shown picture lies in the model's input: input = picture · scale + offset, both in pixels with (0, 0) at the
 * outer corner of the first one. The picture is as shown: turned upright, with its pixel aspect applied.
 */
export interface FitGeometry {
  /** input pixels per picture pixel, horizontally */
  readonly scaleX: number;
  /** input pixels per picture pixel, vertically */
  readonly scaleY: number;
  /** where the picture's left edge lies in the input, in input pixels; negative where a crop cuts it off */
  readonly offsetX: number;
  /** where the picture's upper edge lies in the input, in input pixels */
  readonly offsetY: number;
}

/** A width and a height in pixels. */
export interface Size {
  /** in pixels, > 0 */
  readonly width: number;
  /** in pixels, > 0 */
  readonly height: number;
}

/**
 * How a picture of one size meets an input of another. `letterbox` shows all of it with equal borders, `crop` fills the
 * input and cuts equally on both sides, `stretch` fills it and distorts.
 */
export function fitGeometry(picture: Size, input: Size, fit: Fit): FitGeometry {
  const fillX = input.width / picture.width;
  const fillY = input.height / picture.height;
  if (fit === 'stretch') return { scaleX: fillX, scaleY: fillY, offsetX: 0, offsetY: 0 };
  const scale = fit === 'letterbox' ? Math.min(fillX, fillY) : Math.max(fillX, fillY);
  return {
    scaleX: scale,
    scaleY: scale,
    offsetX: (input.width - picture.width * scale) / 2,
    offsetY: (input.height - picture.height * scale) / 2,
  };
}

/** A point of the picture in the input's pixels. */
export function toInput(fit: FitGeometry, x: number, y: number): readonly [x: number, y: number] {
  return [x * fit.scaleX + fit.offsetX, y * fit.scaleY + fit.offsetY];
}

/** A point of the input in the picture's pixels; outside of the picture for letterbox borders. */
export function toPicture(fit: FitGeometry, x: number, y: number): readonly [x: number, y: number] {
  return [(x - fit.offsetX) / fit.scaleX, (y - fit.offsetY) / fit.scaleY];
}

/** The six numbers of a canvas' `setTransform(a, b, c, d, e, f)`. */
export type CanvasTransform = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/**
 * The canvas transform under which a decoded picture, drawn at (0, 0) with its size before rotation, appears upright and
 * fitted: first the clockwise rotation, then the fit.
 * For 90° and 270°, `shown.width` is the decoded picture's height.
 */
export function drawTransform(fit: FitGeometry, shown: Size, rotation: 0 | 90 | 180 | 270): CanvasTransform {
  const { scaleX, scaleY, offsetX, offsetY } = fit;
  const right = offsetX + shown.width * scaleX;
  const bottom = offsetY + shown.height * scaleY;
  switch (rotation) {
    case 0:
      return [scaleX, 0, 0, scaleY, offsetX, offsetY];
    case 90: // decoded right goes down, decoded down goes left
      return [0, scaleY, -scaleX, 0, right, offsetY];
    case 180:
      return [-scaleX, 0, 0, -scaleY, right, bottom];
    case 270: // decoded right goes up, decoded down goes right
      return [0, -scaleY, scaleX, 0, offsetX, bottom];
  }
}

/** Rec. 601 luma, what OpenCV and Pillow make grey pictures with. */
const luma = [0.299, 0.587, 0.114] as const;

/**
 * RGBA pixels (0–255, row-major, alpha ignored) as the model's input: v = low + p/255 · (high − low), then (v − mean) / std
 * per channel, in the model's layout and channel order. Writes into `tensor`, whose length is width · height · channels.
 */
export function pixelsToTensor(
  pixels: Uint8ClampedArray,
  input: ResolvedMetadata['input'],
  tensor: Float32Array,
): void {
  const { range, mean, std, colour, layout } = input;
  const count = input.width * input.height;
  const channels = colour === 'GRAY' ? 1 : 3;
  const pixelStep = layout === 'NCHW' ? 1 : channels;
  const channelStep = layout === 'NCHW' ? count : 1;
  for (let channel = 0; channel < channels; channel++) {
    // both steps of the normalisation as one multiplication and one addition
    const scale = (range[1] - range[0]) / 255 / std[channel]!;
    const shift = (range[0] - mean[channel]!) / std[channel]!;
    let to = channel * channelStep;
    if (colour === 'GRAY') {
      const [red, green, blue] = luma;
      for (let pixel = 0; pixel < count; pixel++, to += pixelStep) {
        const from = 4 * pixel;
        const grey = red * pixels[from]! + green * pixels[from + 1]! + blue * pixels[from + 2]!;
        tensor[to] = grey * scale + shift;
      }
    } else {
      let from = colour === 'BGR' ? 2 - channel : channel;
      for (let pixel = 0; pixel < count; pixel++, from += 4, to += pixelStep) {
        tensor[to] = pixels[from]! * scale + shift;
      }
    }
  }
}
