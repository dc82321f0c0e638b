import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import decode, { init } from '@jsquash/jpeg/decode.js';
import type { PixelPicture } from '../runtime/pixel-picture.js';

let ready: Promise<void> | undefined;
/** What the decoder has said about the picture at hand. */
let complaints: string[] = [];

/** MozJPEG as WebAssembly. It gives browsers' ImageData, which Node has not, and would fetch its own file, which Node cannot. */
async function prepare(): Promise<void> {
  globalThis.ImageData ??= class {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  } as unknown as typeof ImageData;
  const wasm = await readFile(fileURLToPath(import.meta.resolve('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm')));
  const module = await WebAssembly.compile(wasm);
  const settings = {
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(module, imports);
      done(instance);
      return instance.exports;
    },
    printErr: (line: string) => complaints.push(line),
  };
  await init(settings as Parameters<typeof init>[0]);
}

/** A JPEG file's pixels, upright as its EXIF says. Rejects with an Error that holds the decoder's own words. */
export async function decodeJpeg(bytes: Uint8Array): Promise<PixelPicture> {
  ready ??= prepare();
  await ready;
  complaints = [];
  const file = new Uint8Array(bytes).buffer;
  const { width, height, data } = await decode(file, { preserveOrientation: true }).catch((cause: unknown) => {
    throw new Error(complaints.join('. ') || 'no reason was given', { cause });
  });
  // the rest of the picture is grey then, which the decoder finds good enough
  const cut = complaints.find((line) => line.startsWith('Premature end'));
  if (cut !== undefined) throw new Error(cut);
  return { width, height, data: new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength) };
}
