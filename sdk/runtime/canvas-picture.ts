import { WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { PictureInput } from './metadata.js';
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
export function createCanvasPicture(input: PictureInput): (picture: Picture) => Fitted {
  const surfaces: OffscreenCanvasRenderingContext2D[] = [];
  const image = new Float32Array(sizeOf(input.shape));
  const border = `rgb(${input.pad.join(' ')})`;

  /** The canvas of a step in the colour of the border, on which a picture that has holes is to be drawn. */
  const cleared = (index: number, { width, height }: Size): OffscreenCanvasRenderingContext2D => {
    surfaces[index] ??= surface();
    const context = surfaces[index];
    if (context.canvas.width !== width) context.canvas.width = width;
    if (context.canvas.height !== height) context.canvas.height = height;
    context.resetTransform();
    context.fillStyle = border;
    context.fillRect(0, 0, width, height);
    // bilinear, the one filter that is the same everywhere: half-way between two pixels it is their mean
    context.imageSmoothingQuality = 'low';
    return context;
  };

  let plan: Plan | undefined;

  return (picture) => {
    const decoded = uprightSize(picture);
    if (plan === undefined || !isFor(plan, picture, decoded)) plan = planFor(picture, decoded, input);
    const { fit, sizes, transform, fill } = plan;
    // in its own size first: browsers scale what comes out of a decoder by another, coarser filter
    let context = cleared(0, decoded);
    context.setTransform(transform);
    context.drawImage(picture.image, 0, 0);
    for (let index = 1; index < sizes.length; index++) {
      const before = context.canvas;
      const size = sizes[index]!;
      context = cleared(index, size);
      context.scale(half(before.width, size.width), half(before.height, size.height));
      context.drawImage(before, 0, 0);
    }
    const { width, height } = context.canvas;
    fill(context.getImageData(0, 0, width, height).data, image);
    return { fit, image };
  };
}

/** What is the same for all pictures of a video. */
interface Plan {
  readonly shown: Size;
  readonly rotation: Picture['rotation'];
  readonly fit: FitGeometry;
  /** the decoded picture's own, upright, then those of the steps */
  readonly sizes: readonly Size[];
  /** turns the decoded picture upright */
  readonly transform: DOMMatrix;
  readonly fill: ReturnType<typeof pixelsToTensor>;
}

function planFor(picture: Picture, decoded: Size, input: PictureInput): Plan {
  const { width, height, rotation } = picture;
  const fit = fitGeometry(picture, input, input.fit);
  const way = descent(decoded, picture, fit);
  const unscaled = { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 };
  return {
    shown: { width, height },
    rotation,
    fit,
    sizes: way.sizes,
    transform: new DOMMatrix([...drawTransform(unscaled, decoded, rotation)]),
    fill: pixelsToTensor(way, fit, input),
  };
}

function isFor({ shown, rotation, sizes }: Plan, picture: Picture, decoded: Size): boolean {
  return rotation === picture.rotation && isSame(shown, picture) && isSame(sizes[0]!, decoded);
}

const isSame = (a: Size, b: Size): boolean => a.width === b.width && a.height === b.height;

/** An axis is halved exactly, also one of odd length, whose last pixel then lies outside. */
const half = (from: number, to: number): number => (from === to ? 1 : 0.5);

function surface(): OffscreenCanvasRenderingContext2D {
  // the pixels are read back for every frame: a canvas on the GPU would wait for it each time
  const context = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new WhylightError('DEVICE_UNAVAILABLE', 'The browser gives workers no 2D canvas.');
  return context;
}
