import { WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { ResolvedMetadata } from './metadata.js';
import {
  descent,
  drawTransform,
  type FitGeometry,
  fitGeometry,
  type Picture,
  pixelsToTensor,
  type Size,
  uprightSize,
} from './preprocess.js';

/** A picture in the model's input, and where in it. */
export interface Fitted {
  /** where the picture lies in the input */
  readonly fit: FitGeometry;
  /** the input tensor in the model's layout; the next picture is written over it */
  readonly image: Float32Array;
}

/**
 * Pictures → the model's input, by 2D canvases. Every call fills the same array; the image stays open.
 *
 * The function throws WhylightError DEVICE_UNAVAILABLE where the browser gives workers no canvas.
 */
export function createCanvasPicture(input: ResolvedMetadata['input']): (picture: Picture) => Fitted {
  const surfaces: OffscreenCanvasRenderingContext2D[] = [];
  const image = new Float32Array(sizeOf(input.shape));

  /** The canvas of a step in the colour of the border, on which a picture that has holes is to be drawn. */
  const cleared = (index: number, { width, height }: Size): OffscreenCanvasRenderingContext2D => {
    surfaces[index] ??= surface();
    const context = surfaces[index];
    if (context.canvas.width !== width) context.canvas.width = width;
    if (context.canvas.height !== height) context.canvas.height = height;
    context.resetTransform();
    context.fillStyle = `rgb(${input.pad.join(' ')})`;
    context.fillRect(0, 0, width, height);
    // bilinear, the one filter that is the same everywhere: half-way between two pixels it is their mean
    context.imageSmoothingQuality = 'low';
    return context;
  };

  return (picture) => {
    const fit = fitGeometry(picture, input, input.fit);
    const way = descent(uprightSize(picture), picture, fit);
    const [whole, ...steps] = way.sizes;
    // in its own size first: browsers scale what comes out of a decoder by another, coarser filter
    let context = cleared(0, whole);
    const unscaled = { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 };
    context.setTransform(...drawTransform(unscaled, whole, picture.rotation));
    context.drawImage(picture.image, 0, 0);
    steps.forEach((size, index) => {
      const before = context.canvas;
      context = cleared(index + 1, size);
      context.scale(half(before.width, size.width), half(before.height, size.height));
      context.drawImage(before, 0, 0);
    });
    const { width, height } = context.canvas;
    pixelsToTensor(context.getImageData(0, 0, width, height).data, way, fit, input, image);
    return { fit, image };
  };
}

/** An axis is halved exactly, also one of odd length, whose last pixel then lies outside. */
const half = (from: number, to: number): number => (from === to ? 1 : 0.5);

function surface(): OffscreenCanvasRenderingContext2D {
  // the pixels are read back for every frame: a canvas on the GPU would wait for it each time
  const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new WhylightError('DEVICE_UNAVAILABLE', 'The browser gives workers no 2D canvas.');
  return context;
}
