import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { strongestOf } from '../../../sdk/cli/explain.js';
import { writePng } from '../../../sdk/cli/pictures.js';
import { run } from '../../../sdk/cli/run.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { ints } from '../../../sdk/graph/graph.js';

let folder: string;
const file = (name: string): string => join(folder, name);

/**
 * A detector [1, 16 cells, 2 classes] that reads one pixel for each cell: class 0 its red, class 1 its blue; or each times a weight
 * that is an input.
 */
function detector(weighted = false): Uint8Array {
  const g = createBuilder();
  g.input('image', 'float32', [1, 3, 4, 4]);
  const weights = g.initializer('w', floatTensor([1, 0, 0, 0, 0, 1], [2, 3, 1, 1]));
  const cells = g.node('Transpose', [g.node('Conv', ['image', weights])], { perm: ints([0, 2, 3, 1]) });
  const scores = weighted ? g.node('Mul', [cells, g.input('classes', 'float32', [2])]) : cells;
  g.node('Reshape', [scores, g.ints([1, 16, 2])], {}, { outputs: ['scores'] });
  g.output('scores', 'float32', [1, 16, 2]);
  return encodeModel(modelOf(g.graph));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-explain-'));
  const data = new Uint8ClampedArray(4 * 16).fill(255);
  for (let pixel = 0; pixel < 16; pixel++) data.set([10, 0, pixel === 6 ? 200 : 20], 4 * pixel);
  data.set([250, 0, 0], 4 * 9);
  await writeFile(file('picture.png'), writePng({ width: 4, height: 4, data }));
  await writeFile(file('detector.onnx'), detector());
  await writeFile(file('weighted.onnx'), detector(true));
  await writeFile(file('weighted.json'), JSON.stringify({ inputValues: { classes: [0, 10] } }));
});
afterAll(() => rm(folder, { recursive: true }));

async function explain(...options: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const args = [
    'explain',
    file('detector.onnx'),
    '--image',
    file('picture.png'),
    '--out',
    file('heat.png'),
    ...options,
  ];
  const code = await run(args, { write: (text) => (out += text) }, { write: (text) => (err += text) });
  return { code, out, err };
}

/** Which of the 16 pixels are red in the right-hand panel: the middle of each. */
async function redPixels(): Promise<number[]> {
  const { width, data } = PNG.sync.read(await readFile(file('heat.png')));
  const side = (width - 2 * 16 - 8) / 2;
  return Array.from({ length: 16 }, (_, pixel) => pixel).filter((pixel) => {
    const x = 16 + side + 8 + Math.round(((pixel % 4) + 0.5) * (side / 4));
    const y = 16 + Math.round((Math.floor(pixel / 4) + 0.5) * (side / 4));
    const [red, green] = data.subarray(4 * (y * width + x));
    return red! - green! > 60;
  });
}

test('the pixels that speak for the strongest output are red in the picture', async () => {
  const { code, out } = await explain('--composite', 'epsilon');
  expect(code).toBe(0);
  expect(out).toMatch(/^18\nlogit \+0\.98, at pixels \+0\.97\nstrongest: 18, 13/);
  expect(await redPixels()).toEqual([9]);
});

test('--strongest-of picks the best box of a class, --class any output', async () => {
  expect((await explain('--composite', 'epsilon', '--strongest-of', '*,1')).out).toMatch(/^13\n/);
  expect(await redPixels()).toEqual([6]);
  expect((await explain('--composite', 'epsilon', '--class', '18')).out).toMatch(/^18\n/);
  expect(await redPixels()).toEqual([9]);
});

test('a position is one number or * for each of the last axes', () => {
  const values = Float32Array.of(5, 1, 4, 9, 3, 7);
  expect(strongestOf('*', values, [1, 3, 2])).toBe(3);
  expect(strongestOf('*,0', values, [1, 3, 2])).toBe(0);
  expect(strongestOf('2,*', values, [1, 3, 2])).toBe(5);
  for (const pattern of ['3,*', '*,x', '0,0,0,0']) {
    expect(() => strongestOf(pattern, values, [1, 3, 2])).toThrow(/is nowhere in an output of shape \[1, 3, 2\]/);
  }
});

test('the metadata say what an input is that is no picture', async () => {
  let out = '';
  const files = [file('weighted.onnx'), '--image', file('picture.png'), '--out', file('heat.png')];
  const code = await run(['explain', ...files], { write: (text) => (out += text) }, { write: (text) => (out += text) });
  expect([code, out]).toEqual([0, expect.stringMatching(/^13\nlogit \+7\.8/)]);
  expect(await redPixels()).toEqual([6]);
});

test('what is missing or wrong is said', async () => {
  expect((await explain('--class', '1', '--strongest-of', '*,1')).err).toContain('both say what is explained');
  expect((await explain('--image', file('none.png'))).err).toContain(`Picture "${file('none.png')}" cannot be read.`);
  let err = '';
  const write = (text: string): string => (err += text);
  expect(await run(['explain', file('detector.onnx')], { write }, { write })).toBe(2);
  expect(err).toContain('explain needs --image PICTURE');
});
