import type { DataType, Graph, Tensor } from './graph.js';
import { sizeOf } from './graph.js';
import { byteLength } from './tensor-proto.js';

type Elements =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** The array whose elements have the tensor's width; float16, bfloat16 and bool as their bits. */
const arrays: Partial<Record<DataType, new (buffer: ArrayBufferLike, at: number, length: number) => Elements>> = {
  float32: Float32Array,
  float64: Float64Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
  uint16: Uint16Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
};

/** Whether {@link numbersOf} and {@link tensorOf} know the type: all but strings, complex, float8 and 4-bit numbers. */
export function isNumeric(type: DataType): boolean {
  return arrays[type] !== undefined;
}

/** The elements as they are stored: a view where the bytes are aligned, a copy otherwise. */
function elementsOf(tensor: Tensor): Elements {
  const array = arrays[tensor.type];
  if (array === undefined) throw new RangeError(`a tensor of ${tensor.type} cannot be read as numbers`);
  const count = sizeOf(tensor.dims);
  const width = byteLength(tensor.type, 1);
  const { buffer, byteOffset } = byteOffsetIsAligned(tensor.bytes, width) ? tensor.bytes : tensor.bytes.slice();
  return new array(buffer, byteOffset, count);
}

function byteOffsetIsAligned(bytes: Uint8Array, width: number): boolean {
  return bytes.byteOffset % width === 0;
}

/**
 * A tensor's elements as numbers, in row-major order; true is 1, 64-bit integers beyond ±2^53 saturate there.
 * Always a copy. Throws RangeError for types that are no numbers (see {@link isNumeric}).
 */
export function numbersOf(tensor: Tensor): Float64Array {
  const elements = elementsOf(tensor);
  if (elements instanceof BigInt64Array || elements instanceof BigUint64Array) {
    return Float64Array.from(elements, (value) => Math.max(-(2 ** 53), Math.min(2 ** 53, Number(value))));
  }
  if (tensor.type === 'float16') return Float64Array.from(elements as Uint16Array, float16ToNumber);
  if (tensor.type === 'bfloat16') return Float64Array.from(elements as Uint16Array, bfloat16ToNumber);
  return Float64Array.from(elements);
}

/** A numeric tensor's elements as float32: a view into its bytes where it is float32 and aligned, a copy otherwise. */
export function floatsOf(tensor: Tensor): Float32Array {
  if (tensor.type === 'float32') return elementsOf(tensor) as Float32Array;
  return Float32Array.from(numbersOf(tensor));
}

/** The number that an initializer of one element holds; undefined for every other tensor. */
export function scalarOf({ initializers }: Graph, name: string): number | undefined {
  const tensor = initializers.get(name);
  return tensor === undefined || sizeOf(tensor.dims) !== 1 ? undefined : numbersOf(tensor)[0];
}

/**
 * A tensor of the given type from numbers, rounded to the type (float16 to nearest even, integers wrap around, anything but 0 is
 * true). Throws RangeError where the count does not fit `dims`, or for types that are no numbers.
 */
export function tensorOf(type: DataType, dims: readonly number[], values: ArrayLike<number>): Tensor {
  const array = arrays[type];
  if (array === undefined) throw new RangeError(`a tensor of ${type} cannot be made from numbers`);
  const count = sizeOf(dims);
  if (values.length !== count) throw new RangeError(`${values.length} values do not fill [${dims.join(', ')}]`);
  const bytes = new Uint8Array(byteLength(type, count));
  const elements = new array(bytes.buffer, 0, count);
  if (elements instanceof BigInt64Array || elements instanceof BigUint64Array) {
    const least = type === 'int64' ? -(2n ** 63n) : 0n;
    const greatest = type === 'int64' ? 2n ** 63n - 1n : 2n ** 64n - 1n;
    for (let i = 0; i < count; i++) elements[i] = toBigInt(values[i]!, least, greatest);
  } else if (type === 'float16') for (let i = 0; i < count; i++) elements[i] = numberToFloat16(values[i]!);
  else if (type === 'bfloat16') for (let i = 0; i < count; i++) elements[i] = numberToBfloat16(values[i]!);
  else if (type === 'bool') for (let i = 0; i < count; i++) elements[i] = values[i] === 0 ? 0 : 1;
  else elements.set(values as ArrayLike<number>);
  return { type, dims, bytes };
}

/** The inverse of the saturation in {@link numbersOf}: "to the end" stays "to the end". */
function toBigInt(value: number, least: bigint, greatest: bigint): bigint {
  if (Number.isNaN(value)) return 0n;
  if (value >= 2 ** 53) return greatest;
  if (value <= -(2 ** 53)) return least;
  return BigInt(Math.trunc(value));
}

/**
 * A float32 tensor made of another one, element by element. Its bytes are computed when they are asked for, and anew every time: a
 * model with rewritten weights takes no memory beside its file until it is written itself.
 */
export function mappedTensor(from: Tensor, change: (value: number, position: number) => number): Tensor {
  return {
    type: 'float32',
    dims: from.dims,
    get bytes() {
      const bytes = new Uint8Array(from.bytes);
      const elements = new Float32Array(bytes.buffer);
      for (let i = 0; i < elements.length; i++) elements[i] = change(elements[i]!, i);
      return bytes;
    },
  };
}

/** Takes the elements at the given flat positions; type and bytes are kept, so it works for every type but 4-bit and strings. */
export function takeElements(tensor: Tensor, dims: readonly number[], positions: ArrayLike<number>): Tensor {
  const width = byteLength(tensor.type, 1);
  const bytes = new Uint8Array(positions.length * width);
  if (width === 4) {
    const source = byteOffsetIsAligned(tensor.bytes, 4) ? tensor.bytes : tensor.bytes.slice();
    const from = new Uint32Array(source.buffer, source.byteOffset, source.byteLength / 4);
    const to = new Uint32Array(bytes.buffer);
    for (let i = 0; i < positions.length; i++) to[i] = from[positions[i]!]!;
  } else {
    for (let i = 0; i < positions.length; i++) {
      const at = positions[i]! * width;
      for (let k = 0; k < width; k++) bytes[i * width + k] = tensor.bytes[at + k]!;
    }
  }
  return { type: tensor.type, dims, bytes };
}

/** Distance in elements between neighbours along each dimension, row-major. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= dims[axis]!;
  }
  return strides;
}

/**
 * Flat positions in a source, for every element of `dims` in row-major order, when a step along axis k moves `strides[k]`
 * (0 repeats, negative runs backwards) starting at `start`.
 */
export function positionsOf(dims: readonly number[], strides: readonly number[], start = 0): Uint32Array {
  const count = sizeOf(dims);
  const positions = new Uint32Array(count);
  const index = new Array<number>(dims.length).fill(0);
  let at = start;
  for (let i = 0; i < count; i++) {
    positions[i] = at;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      at += strides[axis]!;
      index[axis]! += 1;
      if (index[axis]! < dims[axis]!) break;
      at -= strides[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return positions;
}

/** Strides that read a tensor of shape `dims` as if it were broadcast to `to`. */
export function broadcastStrides(dims: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(dims);
  const lead = to.length - dims.length;
  return to.map((_, axis) => (axis < lead || dims[axis - lead] === 1 ? 0 : own[axis - lead]!));
}

const scratch = new DataView(new ArrayBuffer(4));

function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function numberToFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  // below 2^-14 the spacing stays that of the smallest normal numbers
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const steps = roundHalfEven(size / 2 ** (exponent - 10));
  // `steps` has the hidden bit, and may have been rounded up to the next power: both add into the exponent field
  return sign | (steps < 1024 && exponent === -14 ? steps : (exponent + 14) * 1024 + steps);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

function bfloat16ToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

function numberToBfloat16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
