import type { Fit, PictureInput } from './metadata.js';

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

/** A decoded picture on its way into a model's input. */
export interface Picture {
  /** as decoded, not yet turned */
  readonly image: VideoFrame | ImageBitmap;
  /** width as shown, in pixels */
  readonly width: number;
  /** height as shown, in pixels */
  readonly height: number;
  /** clockwise degrees that turn the decoded picture upright */
  readonly rotation: 0 | 90 | 180 | 270;
}

/** The size of a decoded picture once it is upright, in its own pixels, before any pixel aspect is applied. */
export function uprightSize({ image, rotation }: Picture): Size {
  const { width, height } =
    'displayWidth' in image ? { width: image.displayWidth, height: image.displayHeight } : image;
  return rotation % 180 === 0 ? { width, height } : { width: height, height: width };
}

/**
 * How a picture becomes small: by steps that average two by two pixels (two by one, where only one axis is too long) until it is
 * less than twice as large as what the model sees, and then by bilinear interpolation. No pixel of a large picture is left out
 * but the last of an odd row or column, and every way of drawing, on a canvas or on the GPU, comes to the same numbers.
 */
export interface Descent {
  /** the picture's own size, then that of every step */
  readonly sizes: readonly [Size, ...Size[]];
  /** model input = position in the last step's pixels · scale + offset */
  readonly scaleX: number;
  /** vertically */
  readonly scaleY: number;
}

/** The steps for an upright picture in its own pixels that is shown, and fitted, in the size `shown`. */
export function descent(upright: Size, shown: Size, fit: FitGeometry): Descent {
  const sizes: [Size, ...Size[]] = [upright];
  let { width, height } = upright;
  let scaleX = (fit.scaleX * shown.width) / width;
  let scaleY = (fit.scaleY * shown.height) / height;
  for (;;) {
    const across = scaleX <= 0.5 && width > 1;
    const down = scaleY <= 0.5 && height > 1;
    if (!across && !down) return { sizes, scaleX, scaleY };
    if (across) [width, scaleX] = [Math.floor(width / 2), scaleX * 2];
    if (down) [height, scaleY] = [Math.floor(height / 2), scaleY * 2];
    sizes.push({ width, height });
  }
}

/** Along one axis: the two pixels of the picture that an input pixel's centre lies between, and how far the picture covers it. */
interface Tap {
  readonly low: number;
  readonly high: number;
  /** of `high`, 0…1 */
  readonly weight: number;
  /** 1 inside of the picture, 0 in the border, between where the picture's edge cuts through the pixel */
  readonly covered: number;
}

function taps(length: number, pixels: number, scale: number, offset: number): readonly Tap[] {
  const end = offset + scale * pixels;
  return Array.from({ length }, (_, i) => {
    const position = (i + 0.5 - offset) / scale - 0.5;
    const low = Math.floor(position);
    return {
      low: Math.min(pixels - 1, Math.max(0, low)),
      high: Math.min(pixels - 1, Math.max(0, low + 1)),
      weight: position - low,
      covered: Math.min(1, Math.max(0, Math.min(i + 1, end) - Math.max(i, offset))),
    };
  });
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

/** A channel of the input as a function of a pixel's red, green and blue in 0…255: weights · colour + shift. */
export interface InputChannel {
  /** of red, green and blue */
  readonly weights: readonly [red: number, green: number, blue: number];
  /** added at the end */
  readonly shift: number;
}

/** The model's channels in its own order: v = low + p/255 · (high − low), then (v − mean) / std. */
export function inputChannels({ range, mean, std, colour }: PictureInput): readonly InputChannel[] {
  const order = colour === 'GRAY' ? [luma] : [[1, 0, 0] as const, [0, 1, 0] as const, [0, 0, 1] as const];
  return (colour === 'BGR' ? order.reverse() : order).map(([red, green, blue], channel) => {
    // both steps of the normalisation as one multiplication and one addition
    const scale = (range[1] - range[0]) / 255 / std[channel]!;
    return { weights: [red * scale, green * scale, blue * scale], shift: (range[0] - mean[channel]!) / std[channel]! };
  });
}

/** How far apart the elements of neighbouring pixels and of neighbouring channels lie in the input tensor. */
export function inputSteps(input: PictureInput): { readonly pixel: number; readonly channel: number } {
  return input.layout === 'NCHW'
    ? { pixel: 1, channel: input.width * input.height }
    : { pixel: input.colour === 'GRAY' ? 1 : 3, channel: 1 };
}

/**
 * How RGBA pixels (0–255, row-major, alpha ignored) of the last step of `descent` become the model's input: bilinear, with the
 * border around them, by {@link inputChannels}, in the model's layout. What depends on the sizes alone is computed here, once; the
 * function that comes out writes into `tensor`, whose length is width · height · channels.
 */
export function pixelsToTensor(
  { sizes, scaleX, scaleY }: Descent,
  { offsetX, offsetY }: FitGeometry,
  input: PictureInput,
): (pixels: Uint8ClampedArray, tensor: Float32Array) => void {
  const { width, height } = sizes.at(-1)!;
  const columns = taps(input.width, width, scaleX, offsetX);
  const rows = taps(input.height, height, scaleY, offsetY);
  const steps = inputSteps(input);
  const channels = inputChannels(input);
  const colour = [0, 0, 0];
  return (pixels, tensor) => {
    let at = 0;
    for (const row of rows) {
      const above = 4 * width * row.low;
      const below = 4 * width * row.high;
      for (const column of columns) {
        const left = 4 * column.low;
        const right = 4 * column.high;
        const covered = row.covered * column.covered;
        for (let k = 0; k < 3; k++) {
          const upper = pixels[above + left + k]! * (1 - column.weight) + pixels[above + right + k]! * column.weight;
          const lower = pixels[below + left + k]! * (1 - column.weight) + pixels[below + right + k]! * column.weight;
          colour[k] = (upper * (1 - row.weight) + lower * row.weight) * covered + input.pad[k]! * (1 - covered);
        }
        for (let channel = 0; channel < channels.length; channel++) {
          const { weights, shift } = channels[channel]!;
          tensor[at + channel * steps.channel] =
            weights[0] * colour[0]! + weights[1] * colour[1]! + weights[2] * colour[2]! + shift;
        }
        at += steps.pixel;
      }
    }
  };
}
