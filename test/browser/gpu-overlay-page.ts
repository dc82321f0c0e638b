import { createGpuOverlay } from '../../sdk/render/gpu-overlay.js';
import type { GpuRelevance } from '../../sdk/render/gpu-scale.js';
import { type NormalizerOptions, normalizer, sumChannels } from '../../sdk/render/normalize.js';
import { drawOverlay, type OverlayLook } from '../../sdk/render/overlay.js';
import { fitGeometry } from '../../sdk/runtime/preprocess.js';

/** Frames of one video, drawn by the GPU and by a canvas. */
export interface OverlayComparison {
  readonly look: OverlayLook;
  readonly scale?: Omit<NormalizerOptions, 'joint'>;
  readonly layout?: 'NCHW' | 'NHWC';
  readonly fit?: 'letterbox' | 'crop' | 'stretch';
  readonly rotation?: 0 | 90 | 180 | 270;
  /** relevance of the frames, by their number; default some of both signs, growing and shrinking */
  readonly relevance?: 'zero' | 'not finite';
}

/** How far apart the two are, over all frames. */
export interface OverlayApart {
  /** share of the values that differ by more than 1/255 */
  readonly beyond: number;
  /** the largest difference, in steps of 1/255 */
  readonly most: number;
  /** colours that the canvas shows: one would prove nothing */
  readonly colours: number;
}

declare global {
  interface Window {
    compareOverlays: (comparisons: readonly OverlayComparison[]) => Promise<OverlayApart[]>;
  }
}

/** The map is drawn three times as large, as `drawOverlay` refines it itself: no second filter lies between. */
const [mapSide, canvasSide] = [128, 384];
const timestamps = [0, 200_000, 400_000, 3_000_000];

function relevanceOf(
  frame: number,
  { relevance }: OverlayComparison,
  layout: 'NCHW' | 'NHWC',
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(3 * mapSide * mapSide);
  if (relevance === 'zero') return values;
  const strength = [1, 0.3, 2, 0.1][frame]!;
  for (let pixel = 0; pixel < mapSide * mapSide; pixel++) {
    const [x, y] = [pixel % mapSide, Math.floor(pixel / mapSide)];
    for (let channel = 0; channel < 3; channel++) {
      const value =
        strength * Math.sin(x * 0.13 + channel) * Math.cos(y * 0.09 + frame) * Math.exp(-((x - 60) ** 2) / 900);
      values[layout === 'NCHW' ? channel * mapSide * mapSide + pixel : pixel * 3 + channel] = value;
    }
  }
  if (relevance === 'not finite') {
    for (let i = 0; i < 300; i++) values[(i * 7919) % values.length] = [Number.NaN, Number.POSITIVE_INFINITY][i % 2]!;
  }
  return values;
}

function pictureOf(width: number, height: number): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d')!;
  for (let i = 0; i < 40; i++) {
    context.fillStyle = `hsl(${i * 37} 70% ${20 + i}%)`;
    context.fillRect((i * 53) % width, (i * 29) % height, 60, 45);
  }
  return canvas;
}

const onGrey = (image: CanvasImageSource): Uint8ClampedArray => {
  const context = new OffscreenCanvas(canvasSide, canvasSide).getContext('2d', { willReadFrequently: true })!;
  context.fillStyle = 'rgb(90 120 60)';
  context.fillRect(0, 0, canvasSide, canvasSide);
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvasSide, canvasSide).data;
};

window.compareOverlays = async (comparisons) => {
  const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
  const failures: string[] = [];
  device.addEventListener('uncapturederror', (event) => failures.push(event.error.message));
  const image = await createImageBitmap(pictureOf(canvasSide, canvasSide));
  const results: OverlayApart[] = [];
  for (const comparison of comparisons) {
    const { look, layout = 'NCHW', rotation = 0, scale = {} } = comparison;
    const picture = { image, width: canvasSide, height: canvasSide, rotation } as const;
    const input = { width: mapSide, height: mapSide };
    const fit = fitGeometry(
      comparison.fit === 'crop' ? { width: 576, height: 384 } : picture,
      input,
      comparison.fit ?? 'stretch',
    );
    const shown = comparison.fit === 'crop' ? { ...picture, width: 576 } : picture;
    const canvas = new OffscreenCanvas(canvasSide, canvasSide);
    const overlay = createGpuOverlay(device, canvas, scale);
    const normalize = normalizer(scale);
    let [beyond, most, count] = [0, 0, 0];
    const colours = new Set<string>();
    for (const [frame, timestamp] of timestamps.entries()) {
      const values = relevanceOf(frame, comparison, layout);
      const dims = layout === 'NCHW' ? [1, 3, mapSide, mapSide] : [1, mapSide, mapSide, 3];
      const buffer = device.createBuffer({
        size: values.byteLength,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(buffer, 0, values);
      const relevance: GpuRelevance = { buffer, channels: 3, layout, ...input };
      await overlay.draw({ picture: shown, fit, relevance, timestamp }, look);
      const drawn = canvas.transferToImageBitmap();
      const onGpu = onGrey(drawn);
      drawn.close();
      buffer.destroy();

      const [map] = normalize([sumChannels(values, dims, layout)], timestamp);
      const reference = new OffscreenCanvas(canvasSide, canvasSide);
      drawOverlay(reference.getContext('2d')!, image, { map: map!, fit, frame: shown }, look);
      const onCanvas = onGrey(reference);
      onGpu.forEach((value, index) => {
        const apart = Math.abs(value - onCanvas[index]!);
        most = Math.max(most, apart);
        if (apart > 1) beyond++;
        if (index % 4 === 0) colours.add(onCanvas.slice(index, index + 3).join());
      });
      count += onGpu.length;
    }
    overlay.destroy();
    results.push({ beyond: beyond / count, most, colours: colours.size });
  }
  image.close();
  device.destroy();
  if (failures.length > 0) throw new Error(failures[0]);
  return results;
};
