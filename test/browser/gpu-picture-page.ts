import { createCanvasPicture, type Fitted } from '../../sdk/runtime/canvas-picture.js';
import { createGpuPicture } from '../../sdk/runtime/gpu-picture.js';
import { type ModelMetadata, type PictureInput, pictureInput, resolveMetadata } from '../../sdk/runtime/metadata.js';
import { createPixelPicture } from '../../sdk/runtime/pixel-picture.js';
import type { Picture } from '../../sdk/runtime/preprocess.js';

/** How far apart the two ways are, in steps of 1/255 of the range from black to white. */
export interface Apart {
  /** the largest difference */
  readonly most: number;
  /** the mean difference */
  readonly mean: number;
  /** values that lie strictly between the extremes: a black picture would prove nothing */
  readonly between: number;
}

/** One comparison: a picture, and what the model expects. */
export interface Comparison {
  /** `pixels` is a bitmap whose pixels go the way in memory instead of the GPU's; of a `cut-frame` a part is visible */
  readonly kind: 'bitmap' | 'pixels' | 'rgba-frame' | 'cut-frame' | 'video';
  readonly width: number;
  readonly height: number;
  readonly rotation: 0 | 90 | 180 | 270;
  readonly input: NonNullable<ModelMetadata['input']> & { readonly shape: readonly number[] };
}

declare global {
  interface Window {
    comparePictures: (comparisons: readonly Comparison[]) => Promise<Apart[]>;
  }
}

/** Discs, stripes and a gradient, some of them half transparent. */
function drawing(width: number, height: number): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d')!;
  const gradient = context.createLinearGradient(0, 0, width, height);
  gradient.addColorStop(0, '#102080');
  gradient.addColorStop(1, '#f0c010');
  context.fillStyle = gradient;
  context.fillRect(0, 0, width, height);
  for (let i = 0; i < 24; i++) {
    context.fillStyle = `hsl(${i * 47} 80% ${30 + i * 2}%)`;
    context.beginPath();
    context.arc((i * 97) % width, (i * 61) % height, 3 + ((i * 13) % Math.ceil(height / 6)), 0, 7);
    context.fill();
    context.fillRect((i * 31) % width, 0, 1 + (i % 3), height);
  }
  return canvas;
}

async function pictureOf({ kind, width, height, rotation }: Comparison) {
  const [across, down] = rotation % 180 === 0 ? [width, height] : [height, width];
  if (kind === 'video') {
    const source = await window.whylight.videoFile('/samples/media/glyphs.mp4');
    for await (const frame of source.frames()) return { image: frame.image, close: () => frame.close() };
    throw new Error('the clip has no frame');
  }
  const canvas = drawing(across, down);
  if (kind === 'bitmap' || kind === 'pixels') {
    const image = await createImageBitmap(canvas);
    return { image, close: () => image.close() };
  }
  if (kind === 'cut-frame') {
    const [codedWidth, codedHeight] = [across + 31, down + 18];
    const { data } = drawing(codedWidth, codedHeight).getContext('2d')!.getImageData(0, 0, codedWidth, codedHeight);
    const visibleRect = { x: 13, y: 7, width: across, height: down };
    const image = new VideoFrame(data, { format: 'RGBA', codedWidth, codedHeight, visibleRect, timestamp: 0 });
    return { image, close: () => image.close() };
  }
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, across, down);
  const image = new VideoFrame(data, { format: 'RGBA', codedWidth: across, codedHeight: down, timestamp: 0 });
  return { image, close: () => image.close() };
}

async function read(device: GPUDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const copy = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(copy.getMappedRange().slice(0));
  copy.destroy();
  return values;
}

async function onGpu(device: GPUDevice, input: PictureInput, picture: Picture): Promise<Fitted> {
  const gpu = createGpuPicture(device, input);
  const fit = await gpu.draw(picture);
  const image = await read(device, gpu.buffer);
  gpu.destroy();
  return { fit, image };
}

window.comparePictures = async (comparisons) => {
  const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
  const results: Apart[] = [];
  for (const comparison of comparisons) {
    const input = pictureInput(
      resolveMetadata({ input: comparison.input }, [
        { name: 'picture', type: 'float32', dims: comparison.input.shape },
      ]),
    );
    const { image, close } = await pictureOf(comparison);
    const { width, height, rotation } = comparison;
    const onCanvas = createCanvasPicture(input)({ image, width, height, rotation });
    const other =
      comparison.kind === 'pixels'
        ? createPixelPicture(input)(drawing(width, height).getContext('2d')!.getImageData(0, 0, width, height))
        : await onGpu(device, input, { image, width, height, rotation });
    close();
    const { fit } = other;
    if (JSON.stringify(fit) !== JSON.stringify(onCanvas.fit)) throw new Error('the two fits differ');
    const unit = Math.abs(input.range[1] - input.range[0]) / 255 / Math.max(...input.std.map(Math.abs));
    const apart = other.image.map((value, index) => Math.abs(value - onCanvas.image[index]!) / unit);
    const [low, high] = [Math.min(...onCanvas.image), Math.max(...onCanvas.image)];
    results.push({
      most: Math.max(...apart),
      mean: apart.reduce((sum, value) => sum + value, 0) / apart.length,
      between: onCanvas.image.filter((value) => value > low && value < high).length,
    });
  }
  device.destroy();
  return results;
};
