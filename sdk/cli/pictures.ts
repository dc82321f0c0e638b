import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { WhylightError } from '../errors.js';
import type { PixelPicture } from '../runtime/pixel-picture.js';
import { decodeJpeg } from './jpeg.js';

/** One picture of a folder. */
export interface PictureFile {
  /** the file's name, without the folder */
  readonly name: string;
  /** decoded */
  readonly picture: PixelPicture;
}

/** Larger pictures are taken for damage: 4 bytes of memory for each pixel. */
const mostPixels = 2 ** 27;

/** Whether a file is one of those that are read, by its name. */
export const isPictureName = (name: string): boolean => /\.(png|jpe?g)$/i.test(name);

/**
 * A folder's PNG and JPEG files one by one, in the order of their names with numbers by their value (`frame2.png` before `frame10.png`).
 *
 * Throws WhylightError SOURCE_UNAVAILABLE (no such folder, or none in it) and MEDIA_CORRUPT, naming the file.
 */
export async function* picturesIn(folder: string): AsyncGenerator<PictureFile, void> {
  const unavailable = (what: string, cause?: unknown) =>
    new WhylightError('SOURCE_UNAVAILABLE', `Folder "${folder}" ${what}.`, { details: { folder }, cause });
  const files = await readdir(folder).catch((cause: unknown) => {
    throw unavailable('cannot be read', cause);
  });
  const order = new Intl.Collator('en', { numeric: true });
  const names = files.filter(isPictureName).sort(order.compare);
  if (names.length === 0) throw unavailable('has no picture in it; PNG and JPEG files are read');
  for (const name of names) yield { name, picture: await decoded(await readFile(join(folder, name)), name) };
}

/** A PNG or JPEG file. Throws WhylightError SOURCE_UNAVAILABLE and MEDIA_CORRUPT, naming it. */
export async function pictureAt(file: string): Promise<PixelPicture> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    const message = `Picture "${file}" cannot be read.`;
    throw new WhylightError('SOURCE_UNAVAILABLE', message, { details: { file }, cause });
  });
  return decoded(bytes, file);
}

/** What the bytes are decides, not the name. Throws WhylightError MEDIA_CORRUPT. */
async function decoded(bytes: Buffer, file: string): Promise<PixelPicture> {
  const corrupt = (what: string, cause?: unknown) =>
    new WhylightError('MEDIA_CORRUPT', `Picture "${file}" ${what}.`, { details: { file }, cause });
  const undecodable = (cause: unknown) =>
    corrupt(`cannot be decoded: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (isJpeg) {
    return decodeJpeg(bytes).catch((cause: unknown) => {
      throw undecodable(cause);
    });
  }
  // signature, chunk length and type come first, then the size: it is looked at before memory is made for it
  if (bytes.length < 24) throw corrupt('is too short to be a picture');
  const pixels = bytes.readUInt32BE(16) * bytes.readUInt32BE(20);
  if (pixels > mostPixels) throw corrupt(`says that it has ${pixels} pixels, more than are read`);
  try {
    const { width, height, data } = PNG.sync.read(bytes);
    return { width, height, data: new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength) };
  } catch (cause) {
    throw undecodable(cause);
  }
}

/** A PNG file's bytes; it is opaque. */
export function writePng({ width, height, data }: PixelPicture): Uint8Array {
  const png = new PNG({ width, height });
  png.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return PNG.sync.write(png, { colorType: 2, deflateLevel: 9 });
}
