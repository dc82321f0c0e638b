import { WhylightError } from '../errors.js';
import { drawTransform, type FitGeometry, type Size } from '../runtime/preprocess.js';
import { type Colormap, type ColormapName, colormap, colourOf, entryOf } from './colormap.js';
import type { RelevanceMap } from './normalize.js';

/** Pixels as `ImageData` has them: RGBA, 0…255, not premultiplied. */
export interface Pixels {
  /** in pixels */
  readonly width: number;
  /** in pixels */
  readonly height: number;
  /** 4 · width · height values */
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** Which relevance shows through an alpha channel. */
export type Sign = 'both' | 'positive' | 'negative';

/** A map of −1…1 in colours; `alpha`: opaque (default), or as opaque as the relevance is strong. */
export function heatmap(map: RelevanceMap, colours: Colormap, alpha: 'opaque' | 'relevance' = 'opaque'): Pixels {
  const { width, height, data } = map;
  const pixels = new Uint8ClampedArray(4 * data.length);
  const { table } = colours;
  for (let i = 0; i < data.length; i++) {
    const from = 4 * entryOf(data[i]!);
    const to = 4 * i;
    pixels[to] = table[from]!;
    pixels[to + 1] = table[from + 1]!;
    pixels[to + 2] = table[from + 2]!;
    pixels[to + 3] = alpha === 'opaque' ? 255 : 255 * (Math.abs(data[i]!) || 0);
  }
  return { width, height, data: pixels };
}

/** A map of −1…1 as an alpha channel (thesis, figure D.1): black, as opaque as the relevance of that sign is strong. */
export function alphaMask({ width, height, data }: RelevanceMap, sign: Sign = 'both'): Pixels {
  const pixels = new Uint8ClampedArray(4 * data.length);
  for (let i = 0; i < data.length; i++) {
    const value = data[i]! || 0;
    pixels[4 * i + 3] = 255 * (sign === 'both' ? Math.abs(value) : sign === 'positive' ? value : -value);
  }
  return { width, height, data: pixels };
}

/**
 * A map in another size, by bilinear interpolation of the relevance itself: between plus and minus it goes through zero, where
 * interpolated colours would go through a mixture; a value never leaves the range of its neighbours and so never changes
 * sign where they agree.
 */
export function resample(map: RelevanceMap, width: number, height: number): RelevanceMap {
  if (width === map.width && height === map.height) return map;
  const data = new Float32Array(width * height);
  if (map.data.length === 0) return { width, height, data };
  const columns = taps(map.width, width);
  const rows = taps(map.height, height);
  let to = 0;
  for (const { low, high, weight: down } of rows) {
    const upper = low * map.width;
    const lower = high * map.width;
    for (const { low: left, high: right, weight: across } of columns) {
      const above = map.data[upper + left]! * (1 - across) + map.data[upper + right]! * across;
      const below = map.data[lower + left]! * (1 - across) + map.data[lower + right]! * across;
      data[to++] = above * (1 - down) + below * down;
    }
  }
  return { width, height, data };
}

/** For every new pixel the two old ones that its centre lies between. */
function taps(from: number, to: number): readonly { low: number; high: number; weight: number }[] {
  return Array.from({ length: to }, (_, i) => {
    const position = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const low = Math.floor(position);
    return { low, high: Math.min(from - 1, low + 1), weight: position - low };
  });
}

/** A rectangle on a canvas, in its pixels. */
export interface Rectangle extends Size {
  /** left edge */
  readonly x: number;
  /** upper edge */
  readonly y: number;
}

/**
 * Where a map of the model's input lies on a canvas on which `place` shows the whole picture. With a letterbox it reaches
 * beyond `place` (its borders are to be cut off), with a crop it covers only a part.
 *
 * @param fit how the picture lies in the model's input
 * @param picture size of the picture as shown, in pixels
 * @param input size of the model's input, in pixels
 */
export function placeOfInput(fit: FitGeometry, picture: Size, input: Size, place: Rectangle): Rectangle {
  const perPictureX = place.width / picture.width;
  const perPictureY = place.height / picture.height;
  return {
    x: place.x + (-fit.offsetX / fit.scaleX) * perPictureX,
    y: place.y + (-fit.offsetY / fit.scaleY) * perPictureY,
    width: (input.width / fit.scaleX) * perPictureX,
    height: (input.height / fit.scaleY) * perPictureY,
  };
}

/** A canvas of any kind. */
export type AnyCanvas = HTMLCanvasElement | OffscreenCanvas;
/** Its drawing context. */
export type AnyContext = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** What is drawn: a normalized map, and where it belongs. An explanation has `fit` and `frame`. */
export interface Overlaid {
  /** relevance of −1…1 of the model's input; any size, it is stretched over the whole input */
  readonly map: RelevanceMap;
  /** how the picture lies in the model's input */
  readonly fit: FitGeometry;
  /** size of the picture as shown, and the clockwise degrees by which a decoded one is turned for that */
  readonly frame: Size & { readonly rotation?: 0 | 90 | 180 | 270 };
  /** size of the model's input; default the map's */
  readonly input?: Size;
}

/** How relevance looks. */
export interface OverlayLook {
  /**
   * `overlay` (default): the heatmap over the picture, equally opaque everywhere · `tint`: the heatmap over the picture, as opaque
   * as the relevance is strong · `alpha`: the picture alone, only where relevance is · `heatmap`: the heatmap alone
   */
  readonly mode?: 'overlay' | 'tint' | 'alpha' | 'heatmap';
  /** default `black-firered` for `tint`, else `seismic` */
  readonly colormap?: ColormapName | Colormap;
  /** of the heatmap, 0…1; default 0.6 for `overlay`, else 1 */
  readonly opacity?: number;
  /** interpolate between the map's pixels; default true */
  readonly smooth?: boolean;
  /** for `alpha`: which relevance lets the picture through; default both */
  readonly sign?: Sign;
}

/** Settings of {@link drawOverlay}. */
export interface OverlayOptions extends OverlayLook {
  /** where on the canvas the whole picture goes; default all of it */
  readonly place?: Rectangle;
  /** makes a canvas to draw in; default an OffscreenCanvas */
  readonly createCanvas?: (width: number, height: number) => AnyCanvas;
}

/** A look with its defaults filled in; throws {@link WhylightError} OPTION_INVALID. */
export function resolveLook(look: OverlayLook) {
  const { mode = 'overlay', smooth = true, sign = 'both' } = look;
  const { opacity = mode === 'overlay' ? 0.6 : 1 } = look;
  if (!(opacity >= 0 && opacity <= 1)) {
    throw new WhylightError('OPTION_INVALID', `opacity is ${opacity}; it is from 0 to 1.`, {
      details: { field: 'opacity' },
    });
  }
  const chosen = look.colormap ?? (mode === 'tint' ? 'black-firered' : 'seismic');
  return { mode, smooth, sign, opacity, colours: typeof chosen === 'string' ? colormap(chosen) : chosen };
}

/** Longest side to which relevance is interpolated before it is coloured; the canvas stretches it further. */
const smoothSide = 448;

/**
 * Draws a picture and its relevance. What was there in `place` stays under what is transparent: clear it where that matters.
 *
 * @param image the picture, or null to draw the relevance alone over what is there. A `VideoFrame` or `ImageBitmap` is turned
 * by `overlaid.frame.rotation`; a video, image or canvas element is taken as upright
 * @throws {@link WhylightError} OPTION_INVALID
 */
export function drawOverlay(
  context: AnyContext,
  image: CanvasImageSource | null,
  overlaid: Overlaid,
  options: OverlayOptions = {},
): void {
  const { createCanvas = defaultCanvas } = options;
  const { mode, smooth, sign, opacity, colours } = resolveLook(options);
  const place = options.place ?? { x: 0, y: 0, width: context.canvas.width, height: context.canvas.height };
  const { map, fit, frame } = overlaid;
  const on = placeOfInput(fit, frame, overlaid.input ?? map, place);
  const fine = smooth ? refined(map) : map;

  context.save();
  context.beginPath();
  context.rect(place.x, place.y, place.width, place.height);
  context.clip();
  if (mode === 'alpha') {
    const layer = createCanvas(Math.max(1, Math.round(place.width)), Math.max(1, Math.round(place.height)));
    const inLayer = contextOf(layer);
    const whole = { x: 0, y: 0, width: layer.width, height: layer.height };
    if (image === null) {
      const [red, green, blue] = colourOf(colours, 1);
      inLayer.fillStyle = `rgb(${red} ${green} ${blue})`;
      inLayer.fillRect(0, 0, layer.width, layer.height);
    } else drawUpright(inLayer, image, frame, whole);
    // keeps of the picture what is under the mask, and nothing beside it
    inLayer.globalCompositeOperation = 'destination-in';
    drawPixels(
      inLayer,
      alphaMask(fine, sign),
      placeOfInput(fit, frame, overlaid.input ?? map, whole),
      smooth,
      createCanvas,
    );
    context.globalAlpha = opacity;
    context.drawImage(layer, place.x, place.y, place.width, place.height);
  } else {
    if (image !== null && mode !== 'heatmap') drawUpright(context, image, frame, place);
    context.globalAlpha = opacity;
    if (mode === 'heatmap') {
      // outside of a crop the model has seen nothing, so nothing there is relevant
      const [red, green, blue] = colourOf(colours, 0);
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(place.x, place.y, place.width, place.height);
    }
    drawPixels(context, heatmap(fine, colours, mode === 'tint' ? 'relevance' : 'opaque'), on, smooth, createCanvas);
  }
  context.restore();
}

/** Enlarged as far as colouring it stays cheap. */
function refined(map: RelevanceMap): RelevanceMap {
  const factor = Math.floor(smoothSide / Math.max(map.width, map.height, 1));
  return factor > 1 ? resample(map, map.width * factor, map.height * factor) : map;
}

function drawPixels(
  context: AnyContext,
  pixels: Pixels,
  on: Rectangle,
  smooth: boolean,
  createCanvas: (width: number, height: number) => AnyCanvas,
): void {
  if (pixels.width === 0 || pixels.height === 0) return;
  const canvas = createCanvas(pixels.width, pixels.height);
  contextOf(canvas).putImageData(new ImageData(pixels.data, pixels.width, pixels.height), 0, 0);
  context.imageSmoothingEnabled = smooth;
  context.drawImage(canvas, on.x, on.y, on.width, on.height);
}

function drawUpright(context: AnyContext, image: CanvasImageSource, frame: Overlaid['frame'], place: Rectangle): void {
  const decoded =
    (typeof VideoFrame !== 'undefined' && image instanceof VideoFrame) ||
    (typeof ImageBitmap !== 'undefined' && image instanceof ImageBitmap);
  const rotation = decoded ? (frame.rotation ?? 0) : 0;
  const fit = {
    scaleX: place.width / frame.width,
    scaleY: place.height / frame.height,
    offsetX: place.x,
    offsetY: place.y,
  };
  const [width, height] = rotation % 180 === 0 ? [frame.width, frame.height] : [frame.height, frame.width];
  context.save();
  context.imageSmoothingEnabled = true;
  context.transform(...drawTransform(fit, frame, rotation));
  context.drawImage(image, 0, 0, width, height);
  context.restore();
}

function contextOf(canvas: AnyCanvas): AnyContext {
  return canvas.getContext('2d') as AnyContext;
}

function defaultCanvas(width: number, height: number): AnyCanvas {
  return new OffscreenCanvas(width, height);
}
