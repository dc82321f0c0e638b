import { WhylightError } from '../errors.js';
import { dataTypeOf } from './data-types.js';
import type { DataType, Tensor } from './graph.js';
import { elementBytes } from './graph.js';
import { type SparseTensorProto, type TensorProto, TensorProto_DataLocation } from './proto/onnx_pb.js';

/** Files beside a model that its tensors may point to, by the `location` that the model knows them by. */
export type ExternalData = Readonly<Record<string, Uint8Array>>;

/**
 * Reads a tensor message. Raw and external data stay views; typed fields (`float_data` …) become bytes.
 * `owner` names the tensor in errors, e.g. `Initializer "conv1.weight"`.
 *
 * Throws MODEL_CORRUPT where the bytes do not fit the dims, MODEL_TYPE for an unknown element type, EXTERNAL_DATA for a file that
 * was not given or is too short.
 */
export function readTensor(proto: TensorProto, owner: string, external: ExternalData): Tensor {
  const type = dataTypeOf(proto.dataType);
  if (type === undefined) {
    const code = proto.dataType === 0 ? 'MODEL_CORRUPT' : 'MODEL_TYPE';
    throw new WhylightError(code, `${owner} has element type ${proto.dataType}, which ONNX does not define.`, {
      details: { tensor: proto.name },
    });
  }
  const dims = proto.dims.map((dim) => readDim(dim, owner));
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (!Number.isSafeInteger(size)) throw corrupt(owner, `has ${dims.join('×')} elements, which no file can hold`);
  if (proto.segment !== undefined) throw corrupt(owner, 'is stored in segments, which no runtime reads');

  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    if (type === 'string') throw corrupt(owner, 'holds strings in external data, which ONNX does not allow');
    return { type, dims, bytes: externalBytes(proto, owner, byteLength(type, size), external) };
  }
  if (type === 'string') {
    if (proto.stringData.length !== size) throw mismatch(owner, dims, proto.stringData.length, 'strings');
    return { type, dims, bytes: packStrings(proto.stringData) };
  }
  const expected = byteLength(type, size);
  if (proto.rawData.length > 0 || expected === 0) {
    if (proto.rawData.length !== expected) throw mismatch(owner, dims, proto.rawData.length, `bytes of ${type}`);
    return { type, dims, bytes: proto.rawData };
  }
  return { type, dims, bytes: typedBytes(proto, type, dims, size, owner) };
}

/** Most elements that a sparse tensor may have: it takes far fewer bytes of the file, so that the file's size says nothing. */
const MOST_SPARSE = 1 << 24;

/**
 * Reads a sparse tensor message as a dense tensor: zero wherever it names no element. Throws as {@link readTensor}, and MODEL_CORRUPT
 * where indices lie outside or do not fit the values.
 */
export function readSparseTensor(proto: SparseTensorProto, owner: string, external: ExternalData): Tensor {
  if (proto.values === undefined || proto.indices === undefined)
    throw corrupt(owner, 'is sparse and has no values or indices');
  const values = readTensor(proto.values, `${owner} (values)`, external);
  const indices = readTensor(proto.indices, `${owner} (indices)`, external);
  const dims = proto.dims.map((dim) => readDim(dim, owner));
  const size = dims.reduce((product, dim) => product * dim, 1);
  const width = elementBytes[values.type];
  if (width === undefined) throw corrupt(owner, `is sparse with elements of ${values.type}`);
  if (size > MOST_SPARSE)
    throw corrupt(owner, `is sparse with ${dims.join('×')} elements, of which most are zero; store it densely`);
  const count = values.bytes.length / width;
  const isLinear = indices.dims.length === 1;
  const entries = isLinear ? 1 : dims.length;
  if (indices.type !== 'int64' || indices.bytes.length !== 8 * count * entries) {
    throw corrupt(owner, `has ${count} values but indices of shape [${indices.dims.join(', ')}]`);
  }
  const view = new DataView(indices.bytes.buffer, indices.bytes.byteOffset, indices.bytes.byteLength);
  const bytes = new Uint8Array(size * width);
  for (let element = 0; element < count; element++) {
    let at = 0;
    for (let axis = 0; axis < entries; axis++) {
      const length = isLinear ? size : dims[axis]!;
      const index = Number(view.getBigInt64((element * entries + axis) * 8, true));
      if (index < 0 || index >= length) throw corrupt(owner, `has the index ${index} outside of [${dims.join(', ')}]`);
      at = at * length + index;
    }
    bytes.set(values.bytes.subarray(element * width, (element + 1) * width), at * width);
  }
  return { type: values.type, dims, bytes };
}

/** Bytes that `size` elements of a type take; 4-bit types are packed. Not for strings. */
export function byteLength(type: DataType, size: number): number {
  const bytes = elementBytes[type];
  return bytes === undefined ? Math.ceil(size / 2) : size * bytes;
}

/** Whether a location stays in or below the model's own folder, as ONNX demands: whoever supplies the files resolves it. */
export function staysInFolder(location: string): boolean {
  return !/^([/\\]|[a-z]+:)/i.test(location) && !location.split(/[/\\]/).includes('..');
}

/** Packs UTF-8 strings into the bytes of a string {@link Tensor}. */
export function packStrings(strings: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(strings.reduce((total, string) => total + 4 + string.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const string of strings) {
    view.setUint32(at, string.length, true);
    bytes.set(string, at + 4);
    at += 4 + string.length;
  }
  return bytes;
}

/** The UTF-8 strings of a string {@link Tensor}. */
export function unpackStrings(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    strings.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return strings;
}

function readDim(dim: bigint, owner: string): number {
  if (dim < 0n) throw corrupt(owner, `has the negative dimension ${dim}`);
  if (dim > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(owner, `has the dimension ${dim}, which no file can hold`);
  return Number(dim);
}

function corrupt(owner: string, what: string): WhylightError {
  return new WhylightError('MODEL_CORRUPT', `${owner} ${what}.`, { details: { tensor: owner } });
}

function mismatch(owner: string, dims: readonly number[], found: number, unit: string): WhylightError {
  return corrupt(owner, `has dims [${dims.join(', ')}] but ${found} ${unit}`);
}

/** The typed field that holds each element type; `stride` is the number of field entries per element. */
function typedBytes(proto: TensorProto, type: DataType, dims: readonly number[], size: number, owner: string) {
  const check = (found: number, entries = size): void => {
    if (found !== entries) throw mismatch(owner, dims, found, `values of ${type}`);
  };
  switch (type) {
    case 'float32':
      check(proto.floatData.length);
      return bytesOf(Float32Array.from(proto.floatData));
    case 'complex64':
      check(proto.floatData.length, 2 * size);
      return bytesOf(Float32Array.from(proto.floatData));
    case 'float64':
      check(proto.doubleData.length);
      return bytesOf(Float64Array.from(proto.doubleData));
    case 'complex128':
      check(proto.doubleData.length, 2 * size);
      return bytesOf(Float64Array.from(proto.doubleData));
    case 'int64':
      check(proto.int64Data.length);
      return bytesOf(BigInt64Array.from(proto.int64Data));
    case 'uint64':
      check(proto.uint64Data.length);
      return bytesOf(BigUint64Array.from(proto.uint64Data));
    case 'uint32':
      check(proto.uint64Data.length);
      return bytesOf(Uint32Array.from(proto.uint64Data, (value) => Number(BigInt.asUintN(32, value))));
    case 'int32':
      check(proto.int32Data.length);
      return bytesOf(Int32Array.from(proto.int32Data));
    case 'int4':
    case 'uint4':
      // one entry holds a packed pair
      check(proto.int32Data.length, Math.ceil(size / 2));
      return Uint8Array.from(proto.int32Data);
    default:
      check(proto.int32Data.length);
      return elementBytes[type] === 2
        ? bytesOf(Uint16Array.from(proto.int32Data))
        : bytesOf(Uint8Array.from(proto.int32Data));
  }
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function externalBytes(proto: TensorProto, owner: string, expected: number, external: ExternalData): Uint8Array {
  const fields = new Map(proto.externalData.map((entry) => [entry.key, entry.value]));
  const location = fields.get('location') ?? '';
  const fail = (what: string): WhylightError =>
    new WhylightError('EXTERNAL_DATA', `${owner} ${what}.`, { details: { tensor: proto.name, file: location } });

  if (location === '') throw fail('is stored in an external file, but the model does not say in which');
  if (!staysInFolder(location)) {
    throw fail(`points to "${location}"; only files in or below the model's own folder are allowed`);
  }
  const file = Object.hasOwn(external, location) ? external[location] : undefined;
  if (file === undefined) throw fail(`is stored in "${location}", which was not given in externalData`);
  const number = (key: string, fallback: number): number => {
    const value = fields.get(key);
    if (value === undefined) return fallback;
    if (!/^\d{1,15}$/.test(value)) throw fail(`has the ${key} "${value}" in "${location}", which is no byte count`);
    return Number(value);
  };
  const offset = number('offset', 0);
  const length = number('length', expected);
  if (length !== expected) {
    throw fail(`takes ${length} bytes of "${location}", but its dims and type need ${expected}`);
  }
  if (offset + length > file.length) {
    throw fail(`ends at byte ${offset + length} of "${location}", which has only ${file.length}`);
  }
  return new Uint8Array(file.buffer, file.byteOffset + offset, length);
}
