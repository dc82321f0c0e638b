import type { GraphProto, ModelProto, NodeProto } from './proto/onnx_pb.js';

/** Element types of ONNX tensors, by their usual names. */
export type DataType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'complex64'
  | 'complex128'
  | 'bfloat16'
  | 'float8e4m3fn'
  | 'float8e4m3fnuz'
  | 'float8e5m2'
  | 'float8e5m2fnuz'
  | 'uint4'
  | 'int4';

/**
 * A constant: little-endian elements in row-major order. `bytes` is a view into the model file wherever the file stores it raw.
 * 4-bit elements are packed two to a byte, the first in the low half. An element of a string tensor is its UTF-8 length as a
 * little-endian uint32, followed by the UTF-8 bytes.
 */
export interface Tensor {
  readonly type: DataType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
}

/** Type and shape of a value. A dimension is a number, or a string (a symbolic name, '' where the file says nothing). */
export interface ValueType {
  readonly type: DataType;
  readonly dims: readonly (number | string)[];
  /** Set where the file does not even say how many dimensions there are; `dims` is empty then. */
  readonly unranked?: true;
}

/** {@link ValueType} whose dimensions are all known. Every value has one after `inferShapes`. */
export interface StaticType {
  readonly type: DataType;
  readonly dims: readonly number[];
}

/** A node's attribute. Integers are numbers: 64-bit values beyond ±2^53 saturate (ONNX uses them as "to the end" only). */
export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'graph'; readonly value: Graph };

/** One operation. An input that is left out is ''. */
export interface Node {
  readonly op: string;
  /** '' is ai.onnx */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** The message it was decoded from, for the fields that this type does not name (doc strings, metadata, unknown fields). */
  readonly proto?: NodeProto;
}

/** A named value at the border of a graph. */
export interface NamedValue extends ValueType {
  readonly name: string;
}

/** An ONNX graph in memory. Nodes are in topological order. Treated as immutable: every step of the compiler returns a new one. */
export interface Graph {
  readonly name: string;
  /** Real inputs only: a name that is also an initializer (as files before IR 4 list them) is not among them. */
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, Tensor>;
  /** Types of values as far as known: inputs, outputs, value_info and whatever `inferShapes` found. Initializers included after it. */
  readonly values: ReadonlyMap<string, ValueType>;
  readonly proto?: GraphProto;
}

/** An ONNX model in memory. */
export interface Model {
  readonly graph: Graph;
  readonly irVersion: number;
  /** Version of every operator set in use, by domain; '' is ai.onnx. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata: ReadonlyMap<string, string>;
  /** For producer, doc string, functions and unknown fields. Its `graph` is not set. */
  readonly proto?: ModelProto;
}

/** Bytes of one element; 4-bit types are packed and not listed. */
export const elementBytes: Partial<Record<DataType, number>> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  int32: 4,
  int64: 8,
  bool: 1,
  float16: 2,
  float64: 8,
  uint32: 4,
  uint64: 8,
  complex64: 8,
  complex128: 16,
  bfloat16: 2,
  float8e4m3fn: 1,
  float8e4m3fnuz: 1,
  float8e5m2: 1,
  float8e5m2fnuz: 1,
};

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(dims: readonly number[]): number {
  let size = 1;
  for (const dim of dims) size *= dim;
  return size;
}

export const int = (value: number): Attribute => ({ kind: 'int', value });
export const float = (value: number): Attribute => ({ kind: 'float', value });
export const text = (value: string): Attribute => ({ kind: 'string', value });
export const ints = (value: readonly number[]): Attribute => ({ kind: 'ints', value });
export const floats = (value: readonly number[]): Attribute => ({ kind: 'floats', value });
export const tensor = (value: Tensor): Attribute => ({ kind: 'tensor', value });
export const subgraph = (value: Graph): Attribute => ({ kind: 'graph', value });

/** The value of an int attribute, or `fallback` (ONNX's default) where the node does not have it. */
export function intAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? attribute.value : fallback;
}

/** The value of a float attribute, or `fallback`. */
export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'float' ? attribute.value : fallback;
}

/** The value of a string attribute, or `fallback`. */
export function textAttribute(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'string' ? attribute.value : fallback;
}

/** The value of an ints attribute, or `fallback`. */
export function intsAttribute(node: Node, name: string, fallback: readonly number[]): readonly number[] {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'ints' ? attribute.value : fallback;
}
