import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { pictureAt } from '../../../sdk/cli/pictures.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import type { DataType } from '../../../sdk/graph/graph.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';
import type { CalibrationFrame } from '../../../sdk/quantize/frames.js';
import { quantize } from '../../../sdk/quantize/quantize.js';
import type { OpenedModel } from '../../../sdk/quantize/runtime.js';
import { type ModelMetadata, resolveMetadata } from '../../../sdk/runtime/metadata.js';
import { createPixelPicture, type PixelPicture } from '../../../sdk/runtime/pixel-picture.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { seeded } from '../../reference/random.js';

const shared = resolve(import.meta.dirname, '../../../../shared/real');
const absent = !existsSync(shared);
if (absent) console.log(`skipped: no photographs and models, ${shared} does not exist`);
const open = wasmRuntime();
const timeout = 120_000;

let photographs: readonly PixelPicture[] = [];
beforeAll(async () => {
  if (absent) return;
  const names = ['image1.jpg', 'image2.jpg', 'portrait.jpg', 'three_people.jpg'];
  photographs = await Promise.all(names.map((name) => pictureAt(`${shared}/media_tfjs_models/${name}`)));
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
  readonly output: string;
  /** frames of calibration, and how many of them are measured */
  readonly count: number;
  readonly measured: number;
  /** nodes that stay in float32 */
  readonly exclude?: readonly string[];
}

/** One output for every frame, of the float model and of the int8 one. */
interface Answers {
  readonly float: readonly Float64Array[];
  readonly int8: readonly Float64Array[];
}

/** Quantizes a model on parts of the photographs; what both then say to the photographs, and to the measured parts. */
async function answersOf({ file, metadata, output, count, measured, exclude = [] }: Case) {
  const model = new Uint8Array(readFileSync(`${shared}/${file}`));
  const [declared] = decodeModel(model).graph.inputs;
  const { type } = declared!;
  const { input } = resolveMetadata(metadata, [{ ...declared!, type: 'float32' }]);
  const toInput = createPixelPicture(input);
  const frame = (picture: PixelPicture): CalibrationFrame => ({
    [input.name]: { dims: input.shape, data: toInput(picture).image.slice() },
  });
  const calibration = parts(count).map(frame);
  const quantized = await quantize(model, calibration, { open, exclude, measuredFrames: measured });
  const [float, int8] = [await open(model), await open(quantized.model)];
  try {
    const bothOn = async (frames: readonly CalibrationFrame[]): Promise<Answers> => ({
      float: await outputsOf(float, frames, type, output),
      int8: await outputsOf(int8, frames, type, output),
    });
    const judged = await bothOn(photographs.map(frame));
    return { judged, calibrated: await bothOn(calibration), bytes: quantized.report.bytes };
  } finally {
    await float.close();
    await int8.close();
  }
}

async function outputsOf(model: OpenedModel, frames: readonly CalibrationFrame[], type: DataType, output: string) {
  const all: Float64Array[] = [];
  for (const frame of frames) {
    const given = Object.entries(frame).map(([name, { dims, data }]) => {
      const { bytes } = tensorOf(type, dims, data as Float32Array);
      return [name, type === 'float16' ? { type, dims, data: new Uint16Array(bytes.buffer) } : { dims, data }] as const;
    });
    const { dims, data } = (await model.run(Object.fromEntries(given)))[output]!;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    all.push(Float64Array.from(numbersOf({ type, dims, bytes })));
  }
  return all;
}

/** The places of the strongest scores, from the strongest on. */
function strongest(scores: ArrayLike<number>, count: number): number[] {
  return Array.from(scores, (_, place) => place)
    .sort((a, b) => scores[b]! - scores[a]!)
    .slice(0, count);
}

/** Below this, half precision has fewer digits, and logarithms of probabilities are no logits any more. */
const LEAST_NORMAL_HALF = 2 ** -14;

/**
 * Root mean square of what quantization does to logits, up to what all of a frame's logits have in common: logarithms of probabilities are
 * logits but for that.
 */
function logitNoise({ float, int8 }: Answers): number {
  let [squares, count] = [0, 0];
  for (const [index, before] of float.entries()) {
    const after = int8[index]!;
    const places = [...before.keys()].filter((at) => Math.min(before[at]!, after[at]!) >= LEAST_NORMAL_HALF);
    const changes = places.map((at) => Math.log(after[at]! / before[at]!));
    const common = changes.reduce((total, change) => total + change, 0) / changes.length;
    for (const change of changes) squares += (change - common) ** 2;
    count += changes.length - 1;
  }
  return Math.sqrt(squares / count);
}

describe.skipIf(absent)('quantized on photographs', () => {
  test('squeezenet keeps the five strongest classes, but where the fifth and another are a tie to 8 bits', {
    timeout,
  }, async () => {
    const { judged, calibrated } = await answersOf({
      file: 'squeezenet_fp16/SqueezeNet_fp16.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255], mean: [103.939, 116.779, 123.68], fit: 'crop' } },
      output: 'softmaxout_1',
      count: 16,
      measured: 4,
    });
    // the difference of two logits has √2 of their noise; within twice of that, either may come out in front
    const resolved = 2 * Math.SQRT2 * logitNoise(calibrated);
    let separate = 0;
    for (const [index, scores] of judged.float.entries()) {
      const expected = strongest(scores, 5);
      const found = strongest(judged.int8[index]!, 5);
      expect(found[0]).toBe(expected[0]);
      const lost = expected.filter((place) => !found.includes(place));
      const gained = found.filter((place) => !expected.includes(place));
      const lead = (before: number, after: number): number => Math.log(scores[before]! / scores[after]!);
      for (const before of lost) for (const after of gained) expect(lead(before, after)).toBeLessThan(resolved);
      const [fifth, sixth] = strongest(scores, 6).slice(4) as [number, number];
      if (lead(fifth, sixth) >= resolved) separate++;
    }
    // or else nothing has been asserted of the fifth
    expect(separate).toBeGreaterThanOrEqual(2);
  });

  test('ultraface keeps its faces', { timeout }, async () => {
    const { judged } = await answersOf({
      file: 'ultraface/version-slim-320.onnx',
      metadata: { input: { range: [0, 255], mean: [127], std: [128] } },
      output: 'scores',
      count: 16,
      measured: 4,
    });
    const faces = (scores: Float64Array): Float64Array => scores.filter((_, at) => at % 2 === 1);
    let seen = 0;
    for (const [index, scores] of judged.float.entries()) {
      const [before, after] = [faces(scores), faces(judged.int8[index]!)];
      const isFace = strongest(before, 5).filter((place) => before[place]! > 0.5);
      seen += isFace.length;
      expect(strongest(after, isFace.length).sort()).toEqual([...isFace].sort());
      for (const place of isFace) expect(after[place]).toBeGreaterThan(0.5);
      if (isFace.length === 0) expect(Math.max(...after)).toBeLessThan(0.5);
    }
    expect(seen).toBeGreaterThanOrEqual(10);
  });

  test('yolox keeps its objects, and the five surest, where its first convolutions stay in float32', {
    timeout,
  }, async () => {
    const first = [41, 44, 47, 50, 53, 56, 59, 62, 67, 70, 73, 76, 82, 85, 92, 95, 105];
    const { judged, bytes } = await answersOf({
      file: 'yolox_nano/yolox_nano.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255] } },
      output: 'output',
      count: 16,
      measured: 1,
      exclude: first.map((number) => `Conv_${number}`),
    });
    expect(bytes.quantized / bytes.original).toBeLessThanOrEqual(0.3);
    let seen = 0;
    for (const [index, rows] of judged.float.entries()) {
      const [before, after] = [objectScores(rows), objectScores(judged.int8[index]!)];
      expect(strongest(after, 5).sort()).toEqual(strongest(before, 5).sort());
      const found = objectsIn(judged.int8[index]!, 0.5);
      for (const { label, box } of objectsIn(rows, 0.75)) {
        seen++;
        expect(found.some((other) => other.label === label && overlap(other.box, box) > 0.5)).toBe(true);
      }
    }
    expect(seen).toBeGreaterThanOrEqual(20);
  });
});

/** Box, objectness and 80 classes. */
const YOLOX_ROW = 85;

/** Left, top, right, bottom in pixels of the input. */
type Box = readonly [number, number, number, number];

/** By row: objectness times that of the surest class. */
function objectScores(rows: Float64Array): Float64Array {
  return Float64Array.from({ length: rows.length / YOLOX_ROW }, (_, row) => {
    const values = rows.subarray(row * YOLOX_ROW, (row + 1) * YOLOX_ROW);
    return values[4]! * values.subarray(5).reduce((most, value) => Math.max(most, value), 0);
  });
}

interface DetectedObject {
  readonly label: number;
  readonly box: Box;
}

/** YOLOX's objects above a score: rows for every cell of three grids, sizes as logarithms. */
function objectsIn(rows: Float64Array, least: number): DetectedObject[] {
  const size = 416;
  const scores = objectScores(rows);
  const objects: DetectedObject[] = [];
  let row = 0;
  for (const stride of [8, 16, 32]) {
    const cells = size / stride;
    for (let cell = 0; cell < cells ** 2; cell++, row++) {
      if (scores[row]! <= least) continue;
      const values = rows.subarray(row * YOLOX_ROW, (row + 1) * YOLOX_ROW);
      const [label] = strongest(values.subarray(5), 1) as [number];
      const [x, y] = [(values[0]! + (cell % cells)) * stride, (values[1]! + Math.floor(cell / cells)) * stride];
      const [w, h] = [(Math.exp(values[2]!) * stride) / 2, (Math.exp(values[3]!) * stride) / 2];
      objects.push({ label, box: [x - w, y - h, x + w, y + h] });
    }
  }
  return objects;
}

/** Area that two boxes share over the area that they cover. */
function overlap(a: Box, b: Box): number {
  const area = (left: number, top: number, right: number, bottom: number): number =>
    Math.max(0, right - left) * Math.max(0, bottom - top);
  const shared = area(Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3]));
  return shared / (area(...a) + area(...b) - shared);
}
