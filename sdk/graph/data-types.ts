import type { DataType } from './graph.js';

/** Element types by their number in `TensorProto.DataType`; 0 is "undefined". */
const byCode: readonly (DataType | undefined)[] = [
  undefined,
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
];

/** The element type with the given number in `TensorProto.DataType` (as in Cast's `to`), `undefined` where there is none. */
export function dataTypeOf(code: number): DataType | undefined {
  return byCode[code];
}

/** The number of an element type in `TensorProto.DataType`. */
export function dataTypeCode(type: DataType): number {
  return byCode.indexOf(type);
}
