import type { CanvasPlace, CreateDrawer, Drawn, DrawOptions } from '../runtime/drawing.js';
import type { Size } from '../runtime/preprocess.js';
import { createGpuOverlay } from './gpu-overlay.js';
import { normalizer, sumChannels } from './normalize.js';
import { drawOverlay, type OverlayLook } from './overlay.js';

/** Longest side of a drawing that nobody asked to be larger. */
const usual = 1280;

/** By what relevance is divided; a drawing with another scale begins anew. */
const scaleOf = ({ scale, running }: DrawOptions) => ({ ...(scale && { scale }), ...(running && { running }) });

function sizeOf({ width, height }: Size, longest = Math.min(usual, Math.max(width, height))): Size {
  const factor = longest / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}

/** Drawings by the GPU where there is one, else by a 2D canvas: the same picture either way. */
export const createDrawer: CreateDrawer = (on, input) => {
  const canvas = new OffscreenCanvas(1, 1);
  let paint: { readonly key: string; readonly draw: Paint; readonly destroy?: () => void } | undefined;

  const paintFor = (options: DrawOptions) => {
    const scale = scaleOf(options);
    const key = JSON.stringify(scale);
    if (paint?.key !== key) {
      paint?.destroy?.();
      paint = {
        key,
        ...(typeof on === 'string' ? onCanvas(on, canvas, input, scale) : onGpu(on, canvas, input, scale)),
      };
    }
    return paint;
  };

  return {
    async draw(drawn, options) {
      const { width, height } = sizeOf(drawn.picture, options.longest);
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
      await paintFor(options).draw(drawn, options);
      return canvas.transferToImageBitmap();
    },
    destroy: () => paint?.destroy?.(),
  };
};

type Input = Parameters<CreateDrawer>[1];
type Scale = ReturnType<typeof scaleOf>;
type Paint = (drawn: Drawn, look: OverlayLook) => Promise<void> | void;

function onGpu(gpu: GPUDevice, canvas: OffscreenCanvas, { colour, layout, width, height }: Input, scale: Scale) {
  const overlay = createGpuOverlay(gpu, canvas, scale);
  const channels = colour === 'GRAY' ? 1 : 3;
  return {
    draw({ relevance, ...drawn }: Drawn, look: OverlayLook) {
      const onGpu = relevance === undefined || 'data' in relevance ? undefined : relevance;
      const placed = onGpu && { buffer: onGpu, channels, layout, width, height };
      return overlay.draw({ ...drawn, relevance: placed }, look);
    },
    destroy: () => overlay.destroy(),
  };
}

function onCanvas(at: CanvasPlace, canvas: OffscreenCanvas, input: Input, scale: Scale) {
  const normalize = normalizer(scale);
  const contextOf = (of: OffscreenCanvas) => of.getContext('2d', { willReadFrequently: at === 'memory' })!;
  const createCanvas = (width: number, height: number) => contextOf(new OffscreenCanvas(width, height)).canvas;
  const nothing = { width: 1, height: 1, data: new Float32Array(1) };
  return {
    draw({ picture, fit, relevance, timestamp }: Drawn, look: OverlayLook) {
      const context = contextOf(canvas);
      context.clearRect(0, 0, canvas.width, canvas.height);
      const read = relevance !== undefined && 'data' in relevance ? relevance : undefined;
      const [map] = read ? normalize([sumChannels(read.data, read.dims, input.layout)], timestamp) : [nothing];
      // no relevance is nowhere opaque
      const shown = read ? look : ({ mode: 'tint' } as const);
      drawOverlay(context, picture.image, { map: map!, fit, frame: picture, input }, { ...shown, createCanvas });
    },
  };
}
