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
import { type ModelMetadata, pictureInput, resolveMetadata } from '../../../sdk/runtime/metadata.js';
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

/** A part of a photograph, from `share` of its width and height, or that part in a mirror. */
function partOf({ width, height, data }: PixelPicture, share: number, random: () => number, isMirrored: boolean) {
  const [w, h] = [Math.floor(width * share), Math.floor(height * share)];
  const [x, y] = [Math.floor((width - w) * random()), Math.floor((height - h) * random())];
  const part = new Uint8ClampedArray(4 * w * h);
  for (let row = 0; row < h; row++) {
    for (let column = 0; column < w; column++) {
      const from = 4 * ((y + row) * width + x + (isMirrored ? w - 1 - column : column));
      part.set(data.subarray(from, from + 4), 4 * (row * w + column));
    }
  }
  return { width: w, height: h, data: part };
}

/** What calibration sees: first the photographs in a mirror, so that ranges are those of whole ones, then parts of them. */
function mirrored(count: number): PixelPicture[] {
  const random = seeded(12);
  return Array.from({ length: count }, (_, index) => {
    const share = index < photographs.length ? 1 : 0.4 + 0.6 * random();
    return partOf(photographs[index % photographs.length]!, share, random, true);
  });
}

/** What is judged: the photographs, and `count` parts of them. */
function judgedPictures(count: number): PixelPicture[] {
  const random = seeded(31);
  const parts = Array.from({ length: count }, (_, index) =>
    partOf(photographs[index % photographs.length]!, 0.4 + 0.5 * random(), random, false),
  );
  return [...photographs, ...parts];
}

interface Case {
  readonly file: string;
  readonly metadata: ModelMetadata;
  /** joined to one for each picture */
  readonly outputs: readonly string[];
  /** frames of calibration; default 16 */
  readonly count?: number;
  /** how many of them are measured; default 4 */
  readonly measured?: number;
  /** parts of the photographs that are judged besides; default 0 */
  readonly parts?: number;
}

/** What the float model and the int8 one say to each picture. */
interface Answer {
  readonly before: Float64Array;
  readonly after: Float64Array;
}

/** Quantizes a model with what calibration sees; what both then say to what is judged. */
async function answersOf({ file, metadata, outputs, count = 16, measured = 4, parts = 0 }: Case) {
  const model = new Uint8Array(readFileSync(`${shared}/${file}`));
  const { inputs, initializers } = decodeModel(model).graph;
  const declared = inputs.find(({ name }) => !initializers.has(name))!;
  const input = pictureInput(resolveMetadata(metadata, [{ ...declared, type: 'float32' }]));
  const toInput = createPixelPicture(input);
  const frame = (picture: PixelPicture): CalibrationFrame => ({
    [input.name]: { dims: input.shape, data: toInput(picture).image.slice() },
  });
  const { model: quantized, report } = await quantize(model, mirrored(count).map(frame), {
    open,
    measuredFrames: measured,
  });
  const frames = judgedPictures(parts).map(frame);
  const [float, int8] = [await open(model), await open(quantized)];
  try {
    const before = await outputsOf(float, frames, declared.type, outputs);
    const after = await outputsOf(int8, frames, declared.type, outputs);
    return {
      answers: before.map((values, index): Answer => ({ before: values, after: after[index]! })),
      size: report.bytes.quantized / report.bytes.original,
    };
  } finally {
    await float.close();
    await int8.close();
  }
}

async function outputsOf(
  model: OpenedModel,
  frames: readonly CalibrationFrame[],
  type: DataType,
  names: readonly string[],
): Promise<Float64Array[]> {
  const all: Float64Array[] = [];
  for (const frame of frames) {
    const given = Object.entries(frame).map(([name, { dims, data }]) => {
      const { bytes } = tensorOf(type, dims, data as Float32Array);
      return [name, type === 'float16' ? { type, dims, data: new Uint16Array(bytes.buffer) } : { dims, data }] as const;
    });
    const outputs = await model.run(Object.fromEntries(given));
    const values = names.flatMap((name) => {
      const { dims, data } = outputs[name]!;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return [...numbersOf({ type, dims, bytes })];
    });
    all.push(Float64Array.from(values));
  }
  return all;
}

/** The places of the strongest scores, from the strongest on. */
function strongest(scores: ArrayLike<number>, count: number): number[] {
  return Array.from(scores, (_, place) => place)
    .sort((a, b) => scores[b]! - scores[a]!)
    .slice(0, count);
}

/** Asserts that the surest five detections above a score stay them, and how many there were. */
function expectDetectionsStay(answers: readonly Answer[], least: number): number {
  let seen = 0;
  for (const { before, after } of answers) {
    const found = strongest(before, 5).filter((place) => before[place]! > least);
    seen += found.length;
    expect(strongest(after, found.length).sort()).toEqual([...found].sort());
    for (const place of found) expect(after[place]).toBeGreaterThan(least);
    if (found.length === 0) expect(Math.max(...after)).toBeLessThan(least);
  }
  return seen;
}

const centred = { range: [0, 255], mean: [127.5], std: [127.5] } as const;

describe.skipIf(absent)('quantized on photographs', () => {
  test('squeezenet keeps the five strongest classes', { timeout }, async () => {
    const { answers, size } = await answersOf({
      file: 'squeezenet_fp16/SqueezeNet_fp16.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255], mean: [103.939, 116.779, 123.68], fit: 'crop' } },
      outputs: ['softmaxout_1'],
    });
    // of a file in half precision
    expect(size / 2).toBeLessThanOrEqual(0.3);
    for (const { before, after } of answers) {
      expect(strongest(after, 1)).toEqual(strongest(before, 1));
      expect(strongest(after, 5).sort()).toEqual(strongest(before, 5).sort());
    }
  });

  test.each<Case>([
    {
      parts: 12,
      file: 'cifar10_resnets/resnet20.onnx',
      metadata: { input: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], fit: 'crop' } },
      outputs: ['208'],
    },
    // of twelve parts of photographs one is a tie to it in float32 already: five kinds of flowers, and no flower
    {
      file: 'stm32_mobilenet_v2_035_128/mobilenet_v2_0.35_128_tfs_channel_first.onnx',
      metadata: { input: { ...centred, shape: [1, 3, 128, 128], fit: 'crop' } },
      outputs: ['dense'],
    },
    {
      parts: 12,
      file: 'mnist_cntk/mnist.onnx',
      metadata: { input: { name: 'Input3', colour: 'GRAY', range: [0, 255] } },
      outputs: ['Plus214_Output_0'],
    },
  ])('$file keeps the strongest class', { timeout }, async (model) => {
    const { answers } = await answersOf(model);
    expect(new Set(answers.map(({ before }) => strongest(before, 1)[0])).size).toBeGreaterThan(1);
    for (const { before, after } of answers) expect(strongest(after, 1)).toEqual(strongest(before, 1));
  });

  test('ultraface keeps its faces', { timeout }, async () => {
    const { answers } = await answersOf({
      file: 'ultraface/version-slim-320.onnx',
      metadata: { input: { range: [0, 255], mean: [127], std: [128] } },
      outputs: ['scores'],
    });
    expect(expectDetectionsStay(secondOfTwo(answers), 0.5)).toBeGreaterThanOrEqual(10);
  });

  test('yunet keeps its faces', { timeout }, async () => {
    const { answers } = await answersOf({
      file: 'yunet/face_detection_yunet_120x160.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255] } },
      outputs: ['conf'],
    });
    expect(expectDetectionsStay(secondOfTwo(answers), 0.5)).toBeGreaterThanOrEqual(10);
  });

  test('blazeface keeps its faces', { timeout }, async () => {
    const { answers } = await answersOf({
      file: 'blazeface/face_detection_front_128x128_barracuda.onnx',
      metadata: { input: { ...centred, layout: 'NHWC' } },
      outputs: ['Identity:0', 'Identity_1:0'],
    });
    // logits
    expect(expectDetectionsStay(answers, 0)).toBeGreaterThanOrEqual(10);
  });

  test('deeplab gives the same class to 99 % of the pixels', { timeout }, async () => {
    const { answers, size } = await answersOf({
      file: 'deeplab_v3/deeplab_v3_1_default_1.onnx',
      metadata: { input: { ...centred, layout: 'NHWC' } },
      outputs: ['ResizeBilinear_3'],
      count: 6,
      measured: 1,
    });
    expect(size).toBeLessThanOrEqual(0.3);
    const classes = 21;
    let [same, all] = [0, 0];
    for (const { before, after } of answers) {
      for (let at = 0; at < before.length; at += classes) {
        const [expected] = strongest(before.subarray(at, at + classes), 1);
        if (strongest(after.subarray(at, at + classes), 1)[0] === expected) same++;
        all++;
      }
    }
    expect(same / all).toBeGreaterThan(0.99);
  });

  test('yolox keeps its objects, and the five surest', { timeout }, async () => {
    const { answers, size } = await answersOf({
      file: 'yolox_nano/yolox_nano.onnx',
      metadata: { input: { colour: 'BGR', range: [0, 255] } },
      outputs: ['output'],
      count: 8,
      measured: 1,
    });
    expect(size).toBeLessThanOrEqual(0.3);
    let seen = 0;
    for (const { before: rows, after: roundedRows } of answers) {
      const [before, after] = [objectScores(rows), objectScores(roundedRows)];
      expect(strongest(after, 5).sort()).toEqual(strongest(before, 5).sort());
      const found = objectsIn(roundedRows, 0.5);
      for (const { label, box } of objectsIn(rows, 0.75)) {
        seen++;
        expect(found.some((other) => other.label === label && overlap(other.box, box) > 0.5)).toBe(true);
      }
    }
    expect(seen).toBeGreaterThanOrEqual(20);
  });
});

/** Of pairs of scores, those of the second class. */
function secondOfTwo(answers: readonly Answer[]): Answer[] {
  const second = (scores: Float64Array): Float64Array => scores.filter((_, at) => at % 2 === 1);
  return answers.map(({ before, after }) => ({ before: second(before), after: second(after) }));
}

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
