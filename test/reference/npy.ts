import { readFileSync } from 'node:fs';
import { count, type Dense, dense } from './dense.js';

/** Reads a .npy file of float32, float64, int32 or int64 in C order; integers become numbers. Throws Error naming the file otherwise. */
export function readNpy(path: string): Dense {
  const file = readFileSync(path);
  if (file.subarray(1, 6).toString('latin1') !== 'NUMPY') throw new Error(`${path} is not a .npy file`);
  const version = file[6]!;
  const headerStart = version === 1 ? 10 : 12;
  const headerLength = version === 1 ? file.readUInt16LE(8) : file.readUInt32LE(8);
  const header = file.subarray(headerStart, headerStart + headerLength).toString('latin1');
  if (!/'fortran_order':\s*False/.test(header)) throw new Error(`${path} is not in C order`);
  const dims = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(Number);
  // a copy, because the typed arrays below need an aligned start
  const bytes = new Uint8Array(file.subarray(headerStart + headerLength)).buffer;
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  switch (descr) {
    case '<f4':
      return dense(new Float32Array(bytes, 0, count(dims)), dims);
    case '<f8':
      return dense(new Float64Array(bytes, 0, count(dims)), dims);
    case '<i4':
      return dense(new Int32Array(bytes, 0, count(dims)), dims);
    case '<i8':
      return dense(Array.from(new BigInt64Array(bytes, 0, count(dims)), Number), dims);
    default:
      throw new Error(`${path} holds ${descr}, which no reader is written for`);
  }
}
