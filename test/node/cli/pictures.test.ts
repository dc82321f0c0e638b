import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { picturesIn, writePng } from '../../../sdk/cli/pictures.js';
import { resolveMetadata } from '../../../sdk/runtime/metadata.js';
import { createPixelPicture, type PixelPicture } from '../../../sdk/runtime/pixel-picture.js';

const grey = (width: number, height: number, value = 0): PixelPicture => ({
  width,
  height,
  data: new Uint8ClampedArray(4 * width * height).map((_, at) => (at % 4 === 3 ? 255 : value)),
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-'));
});
afterAll(() => rm(folder, { recursive: true }));

const all = async (path: string) => {
  const files = [];
  for await (const { name, picture } of picturesIn(path)) files.push([name, picture.width, picture.data[0]]);
  return files;
};

describe('the pictures of a folder', () => {
  it('come in the order of their numbers, and nothing else does', async () => {
    await writeFile(join(folder, 'frame10.png'), writePng(grey(3, 2, 10)));
    await writeFile(join(folder, 'frame2.PNG'), writePng(grey(5, 1, 2)));
    await writeFile(join(folder, 'frames.json'), '{}');
    expect(await all(folder)).toEqual([
      ['frame2.PNG', 5, 2],
      ['frame10.png', 3, 10],
    ]);
  });

  it.each([
    ['is cut off', (bytes: Buffer) => bytes.subarray(0, bytes.length - 20), /cannot be decoded/],
    ['is no picture', () => Buffer.from('<!doctype html><title>not found</title>'), /"bad.png"/],
    ['is empty', () => Buffer.alloc(0), /too short/],
    [
      'says that it is huge',
      (bytes: Buffer) => {
        bytes.writeUInt32BE(0x7fff_ffff, 16);
        return bytes;
      },
      /pixels, more than are read/,
    ],
  ])('are an error that names the file where one %s', async (_, damage, sentence) => {
    const bad = await mkdtemp(join(tmpdir(), 'whylight-'));
    await writeFile(join(bad, 'bad.png'), damage(Buffer.from(writePng(grey(9, 9, 7)))));
    await expect(all(bad)).rejects.toMatchObject({
      code: 'MEDIA_CORRUPT',
      message: expect.stringMatching(sentence),
      details: { file: 'bad.png' },
    });
    await rm(bad, { recursive: true });
  });

  it('are an error that names the folder where there are none', async () => {
    await expect(all(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    const empty = await mkdtemp(join(tmpdir(), 'whylight-'));
    await expect(all(empty)).rejects.toThrow(/no picture in it/);
    await rm(empty, { recursive: true });
  });
});

describe('a picture in memory', () => {
  const inputOf = (side: number, more = {}) =>
    resolveMetadata({ input: { range: [0, 255], ...more } }, [{ name: 'x', type: 'float32', dims: [1, 3, side, side] }])
      .input;

  it('becomes small by means of two by two pixels', () => {
    const picture = grey(4, 4);
    // red 0, 16, 32 … 240
    for (let pixel = 0; pixel < 16; pixel++) picture.data[4 * pixel] = 16 * pixel;
    const { image, fit } = createPixelPicture(inputOf(2))(picture);
    expect([...image.subarray(0, 4)]).toEqual([40, 72, 168, 200]);
    expect(fit).toEqual({ scaleX: 0.5, scaleY: 0.5, offsetX: 0, offsetY: 0 });
  });

  it('shows the colour of the border where it is transparent', () => {
    const picture = grey(1, 1, 100);
    picture.data[3] = 51;
    const { image } = createPixelPicture(inputOf(1, { pad: [200, 100, 0] }))(picture);
    expect([...image]).toEqual([180, 100, 20]);
  });
});
