/** What files begin with that people load in place of an ONNX model. */
const signatures: readonly { readonly at: number; readonly start: RegExp | string; readonly is: string }[] = [
  { at: 0, start: /^\s*<(!doctype|html|\?xml)/i, is: 'an HTML or XML page, probably an error page of the server' },
  { at: 0, start: /^version https:\/\/git-lfs/, is: 'a Git LFS pointer in place of the file itself' },
  { at: 0, start: /^\s*[{[]/, is: 'JSON' },
  { at: 0, start: 'PK\x03\x04', is: 'a zip archive (a PyTorch checkpoint is one)' },
  { at: 0, start: '\x1f\x8b', is: 'gzip-compressed; decompress it first' },
  { at: 0, start: '\x89HDF', is: 'an HDF5 file (Keras)' },
  { at: 0, start: '\x89PNG', is: 'a PNG image' },
  { at: 4, start: /^ORTM/, is: 'in the ORT format; give the .onnx file that it was made from' },
  { at: 4, start: /^TFL3/, is: 'a TensorFlow Lite model' },
];

/** Half a sentence about what bytes look like that are no ONNX file, e.g. `it starts with "<!DOCTYPE html", …`. */
export function looksLike(bytes: Uint8Array): string {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  const known = signatures.find(({ at, start }) =>
    typeof start === 'string' ? head.startsWith(start, at) : start.test(head.slice(at)),
  );
  const printable = /^[\x20-\x7e\r\n\t]{4,}/.exec(head);
  const start =
    printable === null
      ? `the bytes ${[...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}`
      : `'${printable[0].trim().slice(0, 15)}'`;
  if (known !== undefined) return `it starts with ${start} and is ${known.is}`;
  return `it has ${bytes.length} bytes, starts with ${start} and is truncated or damaged`;
}
