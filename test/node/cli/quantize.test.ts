import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { picturesOfClip } from '../../../sdk/cli/clip.js';
import { writePng } from '../../../sdk/cli/pictures.js';
import { run } from '../../../sdk/cli/run.js';
import { samplesOf, windowsOf } from '../../../sdk/cli/sounds.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import type { QuantizationReport } from '../../../sdk/quantize/report.js';
import { seeded } from '../../reference/random.js';
import { wav } from '../../reference/wav.js';

let folder: string;
const file = (name: string): string => join(folder, name);

/** Two convolutions over pictures (or over sound) and a matrix. */
function classifier(input: readonly (number | string)[], rank: 1 | 2): Uint8Array {
  const random = seeded(3);
  const builder = createBuilder();
  const weights = (name: string, ...dims: number[]): string =>
    builder.initializer(
      name,
      floatTensor(
        Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random() - 0.4),
        dims,
      ),
    );
  const kernel = new Array<number>(rank).fill(3);
  let x = builder.input('input', 'float32', input);
  const channels = rank === 1 ? 1 : 3;
  x = builder.node('Relu', [builder.node('Conv', [x, weights('w1', 4, channels, ...kernel), weights('b1', 4)])]);
  x = builder.node('Conv', [x, weights('w2', 4, 4, ...kernel)], { kernel_shape: ints(kernel) }, { name: 'second' });
  x = builder.node('Flatten', [builder.node('GlobalAveragePool', [x])], { axis: int(1) });
  builder.node('Gemm', [x, weights('w3', 4, 2), weights('b3', 2)], {}, { outputs: ['scores'] });
  builder.output('scores', 'float32', [1, 2]);
  return encodeModel(modelOf(builder.graph));
}

function picture(seed: number) {
  const random = seeded(seed);
  const data = new Uint8ClampedArray(4 * 12 * 10).map((_, at) => (at % 4 === 3 ? 255 : random() * 256));
  return writePng({ width: 12, height: 10, data });
}

async function whylight(args: readonly string[], signal?: AbortSignal) {
  let out = '';
  let err = '';
  const code = await run(args, { write: (text) => (out += text) }, { write: (text) => (err += text) }, signal);
  return { code, out, err };
}

const quantize = (model: string, frames: string, ...more: string[]) =>
  whylight(['quantize', file(model), '--calibrate', file(frames), '--out', file('q.onnx'), ...more]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-'));
  await writeFile(file('model.onnx'), classifier([1, 3, 8, 8], 2));
  await writeFile(file('model.json'), JSON.stringify({ input: { fit: 'crop', mean: [0.5], std: [0.5] } }));
  await writeFile(file('sound.onnx'), classifier(['batch', 1, 32], 1));
  for (const name of ['pictures', 'sounds', 'nothing']) await mkdir(file(name));
  for (let index = 0; index < 5; index++) await writeFile(join(file('pictures'), `${index}.png`), picture(index + 1));
  await writeFile(
    join(file('sounds'), 'a.wav'),
    wav([Float32Array.from({ length: 80 }, (_, at) => Math.sin(at / 3) / 2)], 8000),
  );
  await writeFile(file('no-clip.mp4'), 'this is text');
});
afterAll(() => rm(folder, { recursive: true }));

describe('whylight quantize', () => {
  it('writes an int8 model and its metadata, and prints what became of each layer', async () => {
    const { code, out, err } = await quantize('model.onnx', 'pictures', '--frames', '3', '--integers', 'everywhere');
    expect(err).toContain('calibrating: frame 1');
    expect(code).toBe(0);
    expect(out).toMatch(/second +Conv +int8 .* dB/);
    expect(out).toMatch(/output scores: \d+\.\d dB/);
    expect(out).toContain('frames: 3 for calibration, 3 of them measured');
    const { graph } = decodeModel(await readFile(file('q.onnx')));
    expect(graph.nodes.map(({ op }) => op)).toContain('QuantizeLinear');
    expect(await readFile(file('q.json'), 'utf8')).toBe(await readFile(file('model.json'), 'utf8'));
  });

  it('gives the report as JSON, with layers left out by name', async () => {
    const { out } = await quantize('model.onnx', 'pictures', '--json', '--exclude', 'sec*', '--method', 'entropy');
    const report = JSON.parse(out) as QuantizationReport;
    expect(report.layers.find(({ name }) => name === 'second')).toMatchObject({
      scheme: 'float32',
      reason: 'excluded by "sec*"',
    });
    expect(report.calibrationFrames).toBe(5);
  });

  it('cuts sounds into windows of the input', async () => {
    const { code, out, err } = await quantize('sound.onnx', 'sounds');
    expect(err).not.toContain('whylight:');
    expect(code).toBe(0);
    // 80 samples fill 2 windows of 32 and half of a third
    expect(out).toContain('frames: 3 for calibration');
  });

  it('makes integers of weights alone without any frame', async () => {
    const args = ['quantize', file('model.onnx'), '--out', file('w.onnx'), '--scheme', 'int8-weights'];
    const { code, out } = await whylight(args);
    expect(code).toBe(0);
    expect(out).toContain('output scores: not measured');
    const ops = decodeModel(await readFile(file('w.onnx'))).graph.nodes.map(({ op }) => op);
    expect(ops.filter((op) => op === 'DequantizeLinear')).toHaveLength(3);
    expect(ops).not.toContain('QuantizeLinear');
  });

  it.each([
    ['no frames', ['model.onnx', 'nothing'], /has no picture in it/],
    ['a folder that is not there', ['model.onnx', 'nowhere'], /cannot be read/],
    ['sounds for a model of pictures', ['model.onnx', 'sounds'], /takes something else/],
    ['a layer that is not there', ['model.onnx', 'pictures', '--exclude', 'third'], /no node is called "third"/],
  ])('says in one sentence what is wrong with %s', async (_, [model, frames, ...more], sentence) => {
    const { code, err } = await quantize(model!, frames!, ...more);
    expect(code).toBe(1);
    expect(err).toMatch(sentence);
  });

  it.each([
    [['--scheme', 'int3']],
    [['--method', 'luck']],
    [['--integers', 'here']],
    [['--bound', 'high']],
    [['--fps', '0']],
  ])('shows the usage for %s', async (more) => {
    const { code, err } = await quantize('model.onnx', 'pictures', ...more);
    expect(code).toBe(2);
    expect(err).toContain('usage: whylight');
  });

  it('ends when it is interrupted, and writes nothing', async () => {
    const controller = new AbortController();
    const args = ['quantize', file('model.onnx'), '--calibrate', file('pictures'), '--out', file('never.onnx')];
    const work = whylight(args, controller.signal);
    controller.abort();
    const { code, err } = await work;
    expect(code).toBe(1);
    expect(err).toContain('Quantization was aborted');
    expect(existsSync(file('never.onnx'))).toBe(false);
  });
});

const isPresent = (() => {
  try {
    execFileSync('ffmpeg', ['-version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

describe('clips', () => {
  const clip = 'samples/media/glyphs.mp4';

  it.skipIf(!isPresent)('come as pictures, as many a second as asked for (needs the program ffmpeg)', async () => {
    const pictures = [];
    for await (const found of picturesOfClip(clip, 1)) pictures.push(found);
    expect(pictures.map(({ width, height }) => [width, height])).toEqual(new Array(9).fill([480, 480]));
    const { data } = pictures[3]!;
    expect(data.length).toBe(4 * 480 * 480);
    // there is something to see in it, and all of it is opaque
    expect(new Set(data.subarray(0, 4000)).size).toBeGreaterThan(20);
    expect(data.filter((_, at) => at % 4 === 3).every((alpha) => alpha === 255)).toBe(true);
  });

  it.skipIf(!isPresent)('that are none are an error with the sentence of ffmpeg (needs the program)', async () => {
    const { code, err } = await quantize('model.onnx', 'no-clip.mp4');
    expect(code).toBe(1);
    expect(err).toMatch(/no picture that ffmpeg could decode: .*Invalid data/);
  });

  it('need the program ffmpeg, and the error says so', async () => {
    const pictures = picturesOfClip(clip, 1, 'no-such-program-of-this-name');
    await expect(pictures.next()).rejects.toMatchObject({ code: 'MEDIA_UNSUPPORTED' });
  });
});

describe('sounds', () => {
  it('are the mean of their channels', async () => {
    await writeFile(file('stereo.wav'), wav([Float32Array.of(0.5, 0.25, 0), Float32Array.of(-0.5, 0.75, -1)], 8000));
    const samples = await samplesOf(file('stereo.wav'));
    for (const [at, value] of [0, 0.5, -0.5].entries()) expect(samples[at]).toBeCloseTo(value, 3);
    expect([...windowsOf(samples, 2)].map((window) => window.length)).toEqual([2, 2]);
  });

  it('that are none are an error that names the file', async () => {
    await expect(samplesOf(file('no-clip.mp4'))).rejects.toMatchObject({ code: 'MEDIA_CORRUPT' });
  });
});
