import { create, toBinary } from '@bufbuild/protobuf';
import { WhylightError } from '../errors.js';
import { dataTypeCode } from './data-types.js';
import { type Attribute, type Graph, type Model, type NamedValue, type Node, sizeOf, type Tensor } from './graph.js';
import {
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  AttributeProto_AttributeType as Kind,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './proto/onnx_pb.js';
import { byteLength, unpackStrings } from './tensor-proto.js';

/** Largest file that protobuf (and with it every ONNX reader) can hold. */
const largestFile = 2 ** 31 - 1;

/**
 * Writes a model as consecutive pieces of an ONNX file (for `new Blob(parts)` or a file's `writev`). The bytes of tensors are
 * among them as the very views that the model holds: nothing large is copied.
 *
 * Throws EXTERNAL_DATA where the file would pass 2 GB, which protobuf cannot hold.
 */
export function encodeModelParts(model: Model): Uint8Array[] {
  return joinSmall(checkedParts(model).chunks.map(bytesOf));
}

function checkedParts(model: Model): Parts {
  const parts = modelParts(model);
  if (parts.length > largestFile) {
    throw new WhylightError(
      'EXTERNAL_DATA',
      `The model takes ${(parts.length / 2 ** 30).toFixed(1)} GB; one ONNX file holds at most 2 GB. Explain a smaller or quantized model.`,
      { details: { bytes: parts.length } },
    );
  }
  return parts;
}

/**
 * Writes a model as the bytes of an ONNX file: one allocation, every tensor copied once, and of weights that are computed only one
 * in memory at a time. Throws as {@link encodeModelParts}.
 */
export function encodeModel(model: Model): Uint8Array {
  const { chunks, length } = checkedParts(model);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    const own = bytesOf(chunk);
    bytes.set(own, at);
    at += own.length;
  }
  return bytes;
}

/** A message under construction: its bytes in pieces, and their total. */
interface Parts {
  readonly chunks: Chunk[];
  length: number;
}

/** A piece of a file; the bytes of a tensor may have to be computed, so they are asked for when they are written. */
type Chunk = Uint8Array | Tensor;

const bytesOf = (chunk: Chunk): Uint8Array => (chunk instanceof Uint8Array ? chunk : chunk.bytes);

function parts(bytes: Uint8Array): Parts {
  return bytes.length === 0 ? { chunks: [], length: 0 } : { chunks: [bytes], length: bytes.length };
}

function tensorBytes(value: Tensor): Parts {
  const length = byteLength(value.type, sizeOf(value.dims));
  return length === 0 ? { chunks: [], length: 0 } : { chunks: [value], length };
}

/** Appends a length-delimited field. */
function append(target: Parts, field: number, value: Parts): void {
  const prefix = [...varint(field * 8 + 2), ...varint(value.length)];
  target.chunks.push(Uint8Array.from(prefix));
  for (const chunk of value.chunks) target.chunks.push(chunk);
  target.length += prefix.length + value.length;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return bytes;
}

/** Pieces below this size are gathered, so that a writer does not get thousands of them. */
const smallPart = 1024;

function joinSmall(chunks: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = [];
  let run: Uint8Array[] = [];
  const flush = (): void => {
    if (run.length === 0) return;
    const bytes = new Uint8Array(run.reduce((total, chunk) => total + chunk.length, 0));
    let at = 0;
    for (const chunk of run) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    joined.push(bytes);
    run = [];
  };
  for (const chunk of chunks) {
    if (chunk.length < smallPart) run.push(chunk);
    else {
      flush();
      joined.push(chunk);
    }
  }
  flush();
  return joined;
}

function modelParts(model: Model): Parts {
  const message = create(ModelProtoSchema, {
    irVersion: BigInt(model.irVersion),
    opsetImport: [...model.opsets].map(([domain, version]) =>
      create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) }),
    ),
    metadataProps: [...model.metadata].map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })),
  });
  if (model.proto !== undefined) {
    const { producerName, producerVersion, domain, modelVersion, docString, functions, trainingInfo, $unknown } =
      model.proto;
    Object.assign(message, { producerName, producerVersion, domain, modelVersion, docString, functions, trainingInfo });
    if ($unknown !== undefined) message.$unknown = $unknown;
  }
  const result = parts(toBinary(ModelProtoSchema, message));
  append(result, ModelProtoSchema.field.graph.number, graphParts(model.graph, model.irVersion));
  return result;
}

function graphParts(graph: Graph, irVersion: number): Parts {
  const message = create(GraphProtoSchema, { name: graph.name });
  const border = new Set([...graph.inputs, ...graph.outputs].map((value) => value.name));
  const known = new Map<string, ValueInfoProto>();
  if (graph.proto !== undefined) {
    const { docString, quantizationAnnotation, $unknown, input, output, valueInfo } = graph.proto;
    for (const info of [...valueInfo, ...output, ...input]) known.set(info.name, info);
    if (docString !== '') message.docString = docString;
    message.quantizationAnnotation = quantizationAnnotation;
    if ($unknown !== undefined) message.$unknown = $unknown;
  }
  message.input = graph.inputs.map((value) => valueInfoOf(value, known));
  message.output = graph.outputs.map((value) => valueInfoOf(value, known));
  if (irVersion < 4) {
    // before IR 4 an initializer had to be an input too
    for (const [name, { type, dims }] of graph.initializers) {
      message.input.push(valueInfoOf({ name, type, dims }, known));
    }
  }
  for (const [name, type] of graph.values) {
    if (!border.has(name) && !graph.initializers.has(name))
      message.valueInfo.push(valueInfoOf({ name, ...type }, known));
  }

  const result = parts(toBinary(GraphProtoSchema, message));
  const field = GraphProtoSchema.field;
  for (const node of graph.nodes) append(result, field.node.number, nodeParts(node, irVersion));
  const annotated = new Map(graph.proto?.initializer.map((value) => [value.name, value]));
  for (const [name, value] of graph.initializers) {
    append(result, field.initializer.number, tensorParts(value, name, annotated.get(name)));
  }
  return result;
}

function nodeParts(node: Node, irVersion: number): Parts {
  const message = create(NodeProtoSchema, {
    opType: node.op,
    name: node.name,
    input: [...node.inputs],
    output: [...node.outputs],
  });
  if (node.domain !== '') message.domain = node.domain;
  if (node.proto !== undefined) {
    if (node.proto.docString !== '') message.docString = node.proto.docString;
    if (node.proto.$unknown !== undefined) message.$unknown = node.proto.$unknown;
    // kinds that Attribute does not name (type protos, lists of graphs, references) live on in the message alone
    message.attribute = node.proto.attribute.filter(
      (attribute) => !node.attributes.has(attribute.name) && !isReadable(attribute.type),
    );
  }
  const result = parts(toBinary(NodeProtoSchema, message));
  for (const [name, attribute] of node.attributes) {
    append(result, NodeProtoSchema.field.attribute.number, attributeParts(name, attribute, node, irVersion));
  }
  return result;
}

function isReadable(kind: Kind): boolean {
  return kind >= Kind.FLOAT && kind <= Kind.STRINGS;
}

function attributeParts(name: string, attribute: Attribute, node: Node, irVersion: number): Parts {
  const message = create(AttributeProtoSchema, { name });
  const source = node.proto?.attribute.find((candidate) => candidate.name === name);
  if (source !== undefined) {
    if (source.docString !== '') message.docString = source.docString;
    if (source.$unknown !== undefined) message.$unknown = source.$unknown;
  }
  const encoder = new TextEncoder();
  const field = AttributeProtoSchema.field;
  switch (attribute.kind) {
    case 'int':
      message.type = Kind.INT;
      message.i = toInt64(attribute.value);
      break;
    case 'float':
      message.type = Kind.FLOAT;
      message.f = Math.fround(attribute.value);
      break;
    case 'string':
      message.type = Kind.STRING;
      message.s = encoder.encode(attribute.value);
      break;
    case 'ints':
      message.type = Kind.INTS;
      message.ints = attribute.value.map(toInt64);
      break;
    case 'floats':
      message.type = Kind.FLOATS;
      message.floats = attribute.value.map(Math.fround);
      break;
    case 'strings':
      message.type = Kind.STRINGS;
      message.strings = attribute.value.map((value) => encoder.encode(value));
      break;
    case 'tensor': {
      message.type = Kind.TENSOR;
      const result = parts(toBinary(AttributeProtoSchema, message));
      append(result, field.t.number, tensorParts(attribute.value, ''));
      return result;
    }
    case 'graph': {
      message.type = Kind.GRAPH;
      const result = parts(toBinary(AttributeProtoSchema, message));
      // subgraphs never list initializers as inputs: an If's branches have none
      append(result, field.g.number, graphParts(attribute.value, Math.max(irVersion, 4)));
      return result;
    }
  }
  return parts(toBinary(AttributeProtoSchema, message));
}

const greatest = 2n ** 63n - 1n;

/** The inverse of decoding's saturation: ±2^53 and beyond stand for the ends of the int64 range. */
function toInt64(value: number): bigint {
  if (value >= 2 ** 53) return greatest;
  if (value <= -(2 ** 53)) return -greatest - 1n;
  return BigInt(value);
}

function tensorParts(value: Tensor, name: string, annotated?: GraphProto['initializer'][number]): Parts {
  const message = create(TensorProtoSchema, {
    name,
    dataType: dataTypeCode(value.type),
    dims: value.dims.map((dim) => BigInt(dim)),
  });
  if (annotated !== undefined) {
    if (annotated.docString !== '') message.docString = annotated.docString;
    if (annotated.$unknown !== undefined) message.$unknown = annotated.$unknown;
  }
  if (value.type === 'string') message.stringData = unpackStrings(value.bytes);
  const result = parts(toBinary(TensorProtoSchema, message));
  if (value.type !== 'string') append(result, TensorProtoSchema.field.rawData.number, tensorBytes(value));
  return result;
}

function valueInfoOf(value: NamedValue, known: ReadonlyMap<string, ValueInfoProto>): ValueInfoProto {
  const message = create(ValueInfoProtoSchema, {
    name: value.name,
    type: create(TypeProtoSchema, {
      value: {
        case: 'tensorType',
        value: create(TypeProto_TensorSchema, {
          elemType: dataTypeCode(value.type),
          ...(value.unranked === true ? {} : { shape: shapeOf(value.dims) }),
        }),
      },
    }),
  });
  const source = known.get(value.name);
  if (source === undefined) return message;
  if (source.docString !== '') message.docString = source.docString;
  if (source.$unknown !== undefined) message.$unknown = source.$unknown;
  if (source.type !== undefined && source.type.denotation !== '') message.type!.denotation = source.type.denotation;
  return message;
}

function shapeOf(dims: readonly (number | string)[]) {
  return create(TensorShapeProtoSchema, {
    dim: dims.map((dim) => {
      if (typeof dim === 'number') {
        return create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(dim) } });
      }
      return dim === ''
        ? create(TensorShapeProto_DimensionSchema)
        : create(TensorShapeProto_DimensionSchema, { value: { case: 'dimParam', value: dim } });
    }),
  });
}
