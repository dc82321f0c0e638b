import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writePng } from '../../../sdk/cli/pictures.js';
import { run } from '../../../sdk/cli/run.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { ints } from '../../../sdk/graph/graph.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { seeded } from '../../reference/random.js';

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
const clip = fileURLToPath(new URL('../../../samples/media/glyphs.mp4', import.meta.url));

let folder: string;
const file = (name: string): string => join(folder, name);

/** Two convolutions and an average, in float32 or with weights of `bits` bits. */
function classifier({ bits, side = 8, inner = 'inner' }: { bits?: number; side?: number; inner?: string }): Uint8Array {
  const g = createBuilder();
  const random = seeded(5);
  g.input('image', 'float32', [1, 3, side, side]);
  const weight = (dims: readonly number[]): string => {
    const values = Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random() - 0.4);
    if (bits === undefined) return g.initializer(g.name('w'), floatTensor(Float32Array.from(values), dims));
    const scale = 0.6 / (2 ** (bits - 1) - 1);
    const integers = g.initializer(
      g.name('q'),
      tensorOf(
        'int8',
        dims,
        values.map((value) => Math.round(value / scale)),
      ),
    );
    return g.node('DequantizeLinear', [integers, g.floats([scale])]);
  };
  const conv = (x: string, dims: readonly number[], output: string): string =>
    g.node('Relu', [
      g.node(
        'Conv',
        [x, weight(dims)],
        { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) },
        { outputs: [output] },
      ),
    ]);
  const features = conv(conv('image', [4, 3, 3, 3], inner), [4, 4, 3, 3], 'outer');
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [features])]);
  g.node('Gemm', [pooled, weight([4, 3])], {}, { outputs: ['logits'] });
  g.output('logits', 'float32', [1, 3]);
  return encodeModel(modelOf(g.graph));
}

async function whylight(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await run(args, { write: (text) => (out += text) }, { write: (text) => (err += text) });
  return { code, out, err };
}

const drift = (compared: string, ...options: string[]) =>
  whylight('drift', file('float.onnx'), file(compared), '--frames', file('frames'), ...options);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-'));
  await mkdir(file('frames'));
  const random = seeded(11);
  for (let index = 0; index < 4; index++) {
    const data = new Uint8ClampedArray(4 * 64).map((_, at) => (at % 4 === 3 ? 255 : 256 * random()));
    await writeFile(file(`frames/${index}.png`), writePng({ width: 8, height: 8, data }));
  }
  await writeFile(file('float.onnx'), classifier({}));
  await writeFile(file('float.json'), JSON.stringify({ labels: ['cat', 'dog', 'hen'] }));
  await writeFile(file('int8.onnx'), classifier({ bits: 8 }));
  await writeFile(file('int3.onnx'), classifier({ bits: 3, inner: 'renamed' }));
  await writeFile(file('large.onnx'), classifier({ side: 16 }));
});
afterAll(() => rm(folder, { recursive: true }));

interface Report {
  readonly summary: {
    readonly frames: number;
    readonly decisionsChanged: number;
    readonly map: { readonly cosine: { readonly mean: number; readonly worst: { value: number; file: string } } };
    readonly layers: readonly { reference: string; compared: string; matchedBy: string; cosine: { mean: number } }[];
  };
  readonly frames: readonly {
    file: string;
    target: object;
    map: { cosine: number };
    logit: { reference: number; compared: number };
  }[];
}

describe('whylight drift', () => {
  /** of the model with 8 bits */
  let fine: Report['summary'];

  it('gives the figures of every picture and in sum, as JSON', async () => {
    const { code, out, err } = await drift('int8.onnx', '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const { summary, frames } = JSON.parse(out) as Report;
    fine = summary;
    expect(frames.map((frame) => frame.file)).toEqual(['0.png', '1.png', '2.png', '3.png']);
    const cosines = frames.map(({ map }) => map.cosine);
    expect(summary.map.cosine.worst.value).toBe(Math.min(...cosines));
    expect(summary.map.cosine.worst.file).toBe(frames[cosines.indexOf(Math.min(...cosines))]!.file);
    for (const { map, logit } of frames) {
      expect(map.cosine).toBeGreaterThan(0.99);
      expect(logit.compared).not.toBe(logit.reference);
    }
    expect(summary.layers).toMatchObject([
      { reference: 'inner', compared: 'inner', matchedBy: 'name' },
      { reference: 'outer', compared: 'outer', matchedBy: 'name' },
    ]);
  });

  it('finds no difference between a model and itself', async () => {
    const { summary, frames } = JSON.parse((await drift('float.onnx', '--json')).out) as Report;
    expect(summary.decisionsChanged).toBe(0);
    for (const { map, logit } of frames) {
      expect(map).toMatchObject({ cosine: 1, spearman: 1, top1: 1, top10: 1 });
      expect(logit).toMatchObject({ change: 0, relative: 0 });
    }
  });

  it('prints a table, and explains the class that is asked for', async () => {
    const { code, out } = await drift('int3.onnx');
    expect(code).toBe(0);
    expect(out).toMatch(/4 pictures/);
    expect(out).toMatch(/^cosine +0\.\d{4} +0\.\d{4} +0\.\d{4} +\d\.png +0\.\d{4}$/m);
    expect(out).toMatch(/^inner → renamed +1×4×8×8 +0\.\d{4}/m);
    expect(out).toContain('1 matched by name, 1 by position');
    const asked = JSON.parse((await drift('int8.onnx', '--json', '--no-layers', '--class', 'hen', '--class', '0')).out);
    for (const frame of (asked as Report).frames)
      expect(frame.target).toEqual({ indices: [0, 2], labels: ['cat', 'hen'] });
    expect((asked as Report).summary.layers).toEqual([]);
  });

  it('tells a coarse quantization from a fine one, and draws both overlays and their difference', async () => {
    const { code, out } = await drift('int3.onnx', '--json', '--out', file('drift.png'));
    expect(code).toBe(0);
    const { summary } = JSON.parse(out) as Report;
    expect(summary.map.cosine.mean).toBeLessThan(fine.map.cosine.mean);
    expect(summary.layers[0]).toMatchObject({ reference: 'inner', compared: 'renamed', matchedBy: 'position' });
    expect(summary.layers[0]!.cosine.mean).toBeLessThan(fine.layers[0]!.cosine.mean);
    const { width, height, data } = PNG.sync.read(await readFile(file('drift.png')));
    // three maps of 8 × 28 pixels side by side, and three rows of them
    expect(width).toBeGreaterThan(3 * 224);
    expect(height).toBeGreaterThan(3 * 224);
    const colourful = (from: number, to: number): number => {
      let count = 0;
      for (let y = 0; y < height; y++) {
        for (let x = from; x < to; x++) {
          const [red, , blue] = data.subarray(4 * (y * width + x));
          if (Math.abs(red! - blue!) > 60) count++;
        }
      }
      return count;
    };
    const third = width / 3;
    for (const column of [0, 1, 2]) {
      expect(colourful(Math.round(column * third), Math.round((column + 1) * third))).toBeGreaterThan(1000);
    }
  });

  it('writes what it has where a picture is damaged, and says which one', async () => {
    await mkdir(file('damaged'));
    for (const index of [0, 1]) await copyFile(file(`frames/${index}.png`), file(`damaged/${index}.png`));
    await writeFile(file('damaged/2.png'), 'no picture at all, but text');
    const { code, out, err } = await drift('int8.onnx', '--json', '--no-layers', '--frames', file('damaged'));
    expect(code).toBe(1);
    expect(err).toContain('"2.png"');
    expect((JSON.parse(out) as Report).summary.frames).toBe(2);
  });

  it.skipIf(!hasFfmpeg)('takes pictures of a clip (skipped without ffmpeg)', async () => {
    const { code, out } = await drift('int8.onnx', '--json', '--no-layers', ...['--frames', clip, '--fps', '0.5']);
    expect(code).toBe(0);
    const { frames } = JSON.parse(out) as Report;
    expect(frames.slice(0, 2).map((frame) => frame.file)).toEqual(['glyphs.mp4 at 0.00 s', 'glyphs.mp4 at 2.00 s']);
    expect(frames.length).toBeGreaterThan(3);
  });

  it('ends when it is interrupted', async () => {
    let err = '';
    const args = ['drift', file('float.onnx'), file('int8.onnx'), '--frames', file('frames'), '--no-layers'];
    const code = await run(args, { write: () => {} }, { write: (text) => (err += text) }, AbortSignal.abort());
    expect(code).toBe(1);
    expect(err).toMatch(/aborted/);
  });

  it.each([
    ['models for other pictures', ['large.onnx'], /\[1, 3, 8, 8\].*\[1, 3, 16, 16\]/],
    ['a model that is not there', ['nowhere.onnx'], /cannot be read/],
    ['a class that is not known', ['int8.onnx', '--class', 'cow'], /"cow".*cat, dog, hen/],
    ['a folder without pictures', ['int8.onnx', '--frames', '/nowhere'], /"\/nowhere" cannot be read/],
  ])('says in one sentence what is wrong with %s', async (_, [compared, ...options], sentence) => {
    const { code, out, err } = await drift(compared!, ...options);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(sentence);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  it.each([
    ['one model', ['drift', 'a.onnx', '--frames', '.']],
    ['no frames', ['drift', 'a.onnx', 'b.onnx']],
    ['a rate that is none', ['drift', 'a.onnx', 'b.onnx', '--frames', 'clip.mp4', '--fps', '0']],
    ['an unknown option', ['drift', 'a.onnx', 'b.onnx', '--frames', '.', '--fast']],
  ])('answers %s with the usage', async (_, args) => {
    const { code, err } = await whylight(...args);
    expect(code).toBe(2);
    expect(err).toContain('whylight drift REFERENCE.onnx COMPARED.onnx');
  });
});
