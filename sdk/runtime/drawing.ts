import { WhylightError } from '../errors.js';
import type { NormalizerOptions } from '../render/normalize.js';
import type { OverlayLook } from '../render/overlay.js';
import type { FloatArray } from './explanation.js';
import type { PictureInput, ResolvedMetadata } from './metadata.js';
import type { FitGeometry, Picture } from './preprocess.js';

/** How a frame and its relevance are drawn where they are computed. */
export interface DrawOptions extends OverlayLook, Omit<NormalizerOptions, 'joint'> {
  /** the drawing's longer side in pixels; default the picture's, 1280 at most */
  readonly longest?: number;
}

/** A frame and its relevance on their way onto a canvas. */
export interface Drawn {
  /** open until the drawing is there */
  readonly picture: Picture;
  /** how it lies in the model's input */
  readonly fit: FitGeometry;
  /** relevance of the model's input, on the GPU or read; undefined draws the picture alone */
  readonly relevance: GPUBuffer | FloatArray | undefined;
  /** in microseconds, for a scale that follows the video */
  readonly timestamp: number;
}

/** Draws on the device that computed the relevance, or beside it. */
export interface Drawer {
  /** The drawing, to be closed by whoever gets it. */
  draw(drawn: Drawn, options: DrawOptions): Promise<ImageBitmap>;
  /** Gives its memory back. */
  destroy(): void;
}

/**
 * Where 2D canvases have their pixels: where the `browser` likes, which may be the GPU's process, or in the `memory` of their own. Where a
 * GPU has just been lost, a new canvas of the browser's choice is lost with it, and at first does not say so: its drawings are blank.
 */
export type CanvasPlace = 'browser' | 'memory';

/** Makes a drawer for a model's input: on a GPU, or by 2D canvases. */
export type CreateDrawer = (on: GPUDevice | CanvasPlace, input: PictureInput) => Drawer;

/** Throws WhylightError OPTION_INVALID, also for a model that takes no pictures; the look itself is checked by whoever draws. */
export function checkDrawOptions({ longest }: DrawOptions, input: ResolvedMetadata['input']): void {
  const invalid = (field: string, sentence: string) =>
    new WhylightError('OPTION_INVALID', `${field} ${sentence}`, { details: { field } });
  if (input.kind !== 'picture') throw invalid('draw', 'draws pictures, and the model takes sound.');
  if (longest === undefined || (Number.isInteger(longest) && longest > 0 && longest <= 8192)) return;
  throw invalid('draw.longest', `is ${longest}; it is a whole number of pixels, 1 to 8192.`);
}
