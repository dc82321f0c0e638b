import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { decodeModel } from '../../sdk/graph/decode.js';
import type { DataType } from '../../sdk/graph/graph.js';
import { numbersOf, tensorOf } from '../../sdk/graph/tensors.js';
import type { CalibrationFrame } from '../../sdk/quantize/frames.js';
import { quantize } from '../../sdk/quantize/quantize.js';
import type { OpenedModel } from '../../sdk/quantize/runtime.js';
import { type ModelMetadata, resolveMetadata } from '../../sdk/runtime/metadata.js';
import { createPixelPicture, type PixelPicture } from '../../sdk/runtime/pixel-picture.js';
import { wasmRuntime } from '../../sdk/runtime/wasm-runtime.js';
import { seeded } from '../reference/random.js';
import { openChromium } from './chromium.js';

const shared = resolve(import.meta.dirname, '../../../shared/real');
const absent = !existsSync(shared);
if (absent) console.log(`skipped: no photographs and models, ${shared} does not exist`);
const open = wasmRuntime();

/** The photographs as pixels; only the browser can decode JPEG. */
let photographs: readonly PixelPicture[] = [];
beforeAll(async () => {
  if (absent) return;
  const browser = await openChromium({ webgpu: false });
  const { page, close } = await browser.open();
  const decoded: PixelPicture[] = [];
  for (const name of ['image1.jpg', 'image2.jpg', 'portrait.jpg', 'three_people.jpg']) {
    const base64 = readFileSync(`${shared}/media_tfjs_models/${name}`).toString('base64');
    const { width, height, rgba } = await page.evaluate(async (text) => {
      const file = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([file]));
      // as much as any model here looks at
      const scale = Math.min(1, 640 / Math.max(bitmap.width, bitmap.height));
      const [width, height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
      const context = new OffscreenCanvas(width, height).getContext('2d')!;
      context.drawImage(bitmap, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      let rgba = '';
      for (let at = 0; at < data.length; at += 8192) rgba += String.fromCharCode(...data.subarray(at, at + 8192));
      return { width, height, rgba: btoa(rgba) };
    }, base64);
    decoded.push({ width, height, data: new Uint8ClampedArray(Buffer.from(rgba, 'base64')) });
  }
  photographs = decoded;
  await close();
  await browser.close();
});

/** Parts of the photographs, which are not what is judged. */
function parts(count: number): PixelPicture[] {
  const random = seeded(12);
  return Array.from({ length: count }, (_, index) => {
    const { width, height, data } = photographs[index % photographs.length]!;
    const share = 0.4 + 0.5 * random();
    const [w, h] = [Math.floor(width * share), Math.floor(height * share)];
    const [x, y] = [Math.floor((width - w) * random()), Math.floor((height - h) * random())];
    const part = new Uint8ClampedArray(4 * w * h);
    for (let row = 0; row < h; row++) {
      const from = 4 * ((y + row) * width + x);
      part.set(data.subarray(from, from + 4 * w), 4 * w * row);
    }
    return { width: w, height: h, data: part };
  });
}

interface Case {
  readonly file: string;
  readonly metadata: ModelMetadata;
  /** scores, the higher the surer */
  readonly output: string;
}

async function prepared({ file, metadata }: Case) {
  const model = new Uint8Array(readFileSync(`${shared}/${file}`));
  const [declared] = decodeModel(model).graph.inputs;
  const { input } = resolveMetadata(metadata, [{ ...declared!, type: 'float32' }]);
  const toInput = createPixelPicture(input);
  const frame = (picture: PixelPicture): CalibrationFrame => ({
    [input.name]: { dims: input.shape, data: toInput(picture).image },
  });
  return { model, type: declared!.type, calibration: parts(16).map(frame), judged: photographs.map(frame) };
}

/** The places of the five strongest scores, from the strongest on. */
async function strongest(
  model: OpenedModel,
  frame: CalibrationFrame,
  type: DataType,
  output: string,
): Promise<number[]> {
  const given = Object.entries(frame).map(([name, { dims, data }]) => {
    const { bytes } = tensorOf(type, dims, data as Float32Array);
    return [name, type === 'float16' ? { type, dims, data: new Uint16Array(bytes.buffer) } : { dims, data }] as const;
  });
  const { dims, data } = (await model.run(Object.fromEntries(given)))[output]!;
  const scores = numbersOf({ type, dims, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
  return [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, 5);
}

describe.skipIf(absent)('quantized on photographs', () => {
  test.each<Case>([
    {
      file: 'squeezenet_fp16/SqueezeNet_fp16.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255], mean: [103.939, 116.779, 123.68], fit: 'crop' } },
      output: 'softmaxout_1',
    },
    {
      file: 'ultraface/version-slim-320.onnx',
      metadata: { input: { range: [0, 255], mean: [127], std: [128] } },
      output: 'scores',
    },
  ])('$file keeps its strongest answer, and four of the five strongest', { timeout: 120_000 }, async (one) => {
    const { model, type, calibration, judged } = await prepared(one);
    const { model: int8 } = await quantize(model, calibration, { open, measuredFrames: 4 });
    const [float, quantized] = [await open(model), await open(int8)];
    for (const frame of judged) {
      const expected = await strongest(float, frame, type, one.output);
      const found = await strongest(quantized, frame, type, one.output);
      // the fifth and sixth are often next to equal
      expect(found[0]).toBe(expected[0]);
      expect(found.filter((place) => expected.includes(place)).length).toBeGreaterThanOrEqual(4);
    }
    await float.close();
    await quantized.close();
  });
});
