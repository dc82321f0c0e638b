import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import encode, { init } from '@jsquash/jpeg/encode.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pictureAt, picturesIn, writePng } from '../../../sdk/cli/pictures.js';
import { pictureInput, resolveMetadata } from '../../../sdk/runtime/metadata.js';
import { createPixelPicture, type PixelPicture } from '../../../sdk/runtime/pixel-picture.js';

const grey = (width: number, height: number, value = 0): PixelPicture => ({
  width,
  height,
  data: new Uint8ClampedArray(4 * width * height).map((_, at) => (at % 4 === 3 ? 255 : value)),
});

async function jpeg(picture: PixelPicture): Promise<Buffer> {
  const file = fileURLToPath(import.meta.resolve('@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm'));
  const module = await WebAssembly.compile(await readFile(file));
  await (init as (module: WebAssembly.Module) => Promise<void>)(module);
  return Buffer.from(await encode(picture as unknown as ImageData, { quality: 90 }));
}

let folder: string;
/** of pictures that are none */
let bad: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-'));
  bad = await mkdtemp(join(tmpdir(), 'whylight-'));
});
afterAll(() => Promise.all([rm(folder, { recursive: true }), rm(bad, { recursive: true })]));

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
    await writeFile(join(bad, 'bad.png'), damage(Buffer.from(writePng(grey(9, 9, 7)))));
    await expect(all(bad)).rejects.toMatchObject({
      code: 'MEDIA_CORRUPT',
      message: expect.stringMatching(sentence),
      details: { file: 'bad.png' },
    });
  });

  it.each([
    ['head', 100],
    ['pixels', -20],
  ])('are an error where a JPEG file breaks off in its %s, in the words of its decoder', async (_, end) => {
    const file = join(bad, 'broken.jpg');
    await writeFile(file, (await jpeg(grey(64, 64, 90))).subarray(0, end));
    await expect(pictureAt(file)).rejects.toMatchObject({
      code: 'MEDIA_CORRUPT',
      message: expect.stringMatching(/broken\.jpg" cannot be decoded: .*JPEG/),
    });
  });

  it('may be JPEG files by any name, upright as they say themselves', async () => {
    // red at the left, blue at the right
    const halves: PixelPicture = { ...grey(32, 16), data: new Uint8ClampedArray(4 * 32 * 16) };
    for (let at = 0; at < 32 * 16; at++)
      halves.data.set(at % 32 < 16 ? [200, 30, 30, 255] : [30, 30, 200, 255], 4 * at);
    const bytes = await jpeg(halves);
    await writeFile(join(folder, 'frame11.jpeg'), bytes);
    // a camera that was turned: what it calls row 0 is the picture's right side (Exif 2.3, orientation 6)
    const exif = '45786966000049492a00080000000100120103000100000006000000' + '00000000';
    const segment = Buffer.from(`ffe1${(exif.length / 2 + 2).toString(16).padStart(4, '0')}${exif}`, 'hex');
    const turned = Buffer.concat([bytes.subarray(0, 2), segment, bytes.subarray(2)]);
    await writeFile(join(folder, 'frame12.png'), turned);
    const colour = async (name: string, x: number, y: number) => {
      const { width, data } = await pictureAt(join(folder, name));
      return [...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4)];
    };
    const near = (rgba: readonly number[]) => rgba.map((value) => expect.closeTo(value, -0.7));
    const [red, blue] = [near([200, 30, 30, 255]), near([30, 30, 200, 255])];
    expect([await colour('frame11.jpeg', 3, 8), await colour('frame11.jpeg', 28, 8)]).toEqual([red, blue]);
    expect([await colour('frame12.png', 8, 3), await colour('frame12.png', 8, 28)]).toEqual([red, blue]);
    expect((await all(folder)).slice(-2)).toEqual([
      ['frame11.jpeg', 32, expect.any(Number)],
      ['frame12.png', 16, expect.any(Number)],
    ]);
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
    pictureInput(
      resolveMetadata({ input: { range: [0, 255], ...more } }, [
        { name: 'x', type: 'float32', dims: [1, 3, side, side] },
      ]),
    );

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
