import { fromBinary, isFieldSet } from '@bufbuild/protobuf';
import { WhylightError } from '../errors.js';
import { constantTensor } from './constant.js';
import { dataTypeOf } from './data-types.js';
import type { Attribute, Graph, Model, NamedValue, Node, Tensor, ValueType } from './graph.js';
import { float, floats, int, ints, subgraph, tensor, text } from './graph.js';
import { checkGraph, sortNodes } from './order.js';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  AttributeProto_AttributeType as Kind,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type ValueInfoProto,
} from './proto/onnx_pb.js';
import { looksLike } from './signature.js';
import { type ExternalData, readSparseTensor, readTensor } from './tensor-proto.js';

/** Settings of {@link decodeModel}. */
export interface DecodeOptions {
  /** Files that tensors of the model point to, by their `location`. */
  readonly externalData?: ExternalData;
}

/** The ai.onnx operator set versions that Whylight reads, inclusive. */
export const supportedOpsets = { from: 7, to: 26 } as const;

/**
 * Reads an ONNX file. Weights stay views into `bytes` (or into the external files), so these must not be changed or transferred
 * while the model is in use. Constant nodes become initializers, nodes come in topological order, inputs that are also
 * initializers are dropped from the inputs.
 *
 * Throws a WhylightError: MODEL_CORRUPT (not an ONNX file, or an inconsistent one: the sentence names node or tensor),
 * MODEL_OPSET (ai.onnx outside 7…26), MODEL_TYPE (element types or inputs that are no tensors), EXTERNAL_DATA.
 */
export function decodeModel(bytes: Uint8Array, options: DecodeOptions = {}): Model {
  const proto = parseModel(bytes);
  const opsets = readOpsets(proto, bytes);
  if (proto.graph === undefined) {
    throw new WhylightError('MODEL_CORRUPT', `The model has no graph; ${looksLike(bytes)}.`);
  }
  if (proto.graph.node.length === 0) {
    throw new WhylightError('MODEL_CORRUPT', `The graph "${proto.graph.name}" has no nodes; ${looksLike(bytes)}.`);
  }
  const reader: Reader = { external: options.externalData ?? {} };
  const graph = readGraph(proto.graph, reader, '');
  if (graph.outputs.length === 0) {
    throw new WhylightError('MODEL_CORRUPT', `The graph "${graph.name}" has no outputs.`);
  }
  checkGraph(graph);
  const metadata = new Map(proto.metadataProps.map((entry) => [entry.key, entry.value]));
  delete proto.graph;
  return { graph, irVersion: Number(proto.irVersion), opsets, metadata, proto };
}

interface Reader {
  readonly external: ExternalData;
}

/** The messages of an ONNX file, byte fields as views. Throws MODEL_CORRUPT saying what the bytes look like instead. */
export function parseModel(bytes: Uint8Array): ModelProto {
  if (bytes.length === 0) throw new WhylightError('MODEL_CORRUPT', 'The model file is empty.');
  try {
    return fromBinary(ModelProtoSchema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw new WhylightError('MODEL_CORRUPT', `The bytes are no complete ONNX file: ${looksLike(bytes)}.`, { cause });
  }
}

function readOpsets(proto: ModelProto, bytes: Uint8Array): Map<string, number> {
  const opsets = new Map<string, number>();
  for (const { domain, version } of proto.opsetImport) opsets.set(domain === 'ai.onnx' ? '' : domain, Number(version));
  const version = opsets.get('');
  if (version === undefined) {
    const known = proto.graph !== undefined && proto.graph.node.length > 0;
    throw known
      ? new WhylightError('MODEL_OPSET', 'The model does not say which version of the ai.onnx operators it uses.')
      : new WhylightError('MODEL_CORRUPT', `The model has no graph with nodes: ${looksLike(bytes)}.`);
  }
  if (version < supportedOpsets.from || version > supportedOpsets.to) {
    throw new WhylightError(
      'MODEL_OPSET',
      `The model uses ai.onnx operators of version ${version}; versions ${supportedOpsets.from} to ${supportedOpsets.to} are supported. Convert it with onnx.version_converter, or export it again.`,
      { details: { opset: version } },
    );
  }
  return opsets;
}

function readGraph(proto: GraphProto, reader: Reader, within: string): Graph {
  const initializers = new Map<string, Tensor>();
  for (const message of proto.initializer) {
    if (message.name === '') throw new WhylightError('MODEL_CORRUPT', `An initializer${within} has no name.`);
    if (initializers.has(message.name)) {
      throw new WhylightError('MODEL_CORRUPT', `Initializer "${message.name}"${within} is there twice.`);
    }
    initializers.set(message.name, readTensor(message, `Initializer "${message.name}"${within}`, reader.external));
  }
  for (const message of proto.sparseInitializer) {
    const name = message.values?.name ?? '';
    if (name === '' || initializers.has(name)) {
      throw new WhylightError('MODEL_CORRUPT', `Sparse initializer "${name}"${within} has no name of its own.`);
    }
    initializers.set(name, readSparseTensor(message, `Initializer "${name}"${within}`, reader.external));
  }
  const nodes: Node[] = [];
  for (const [index, message] of proto.node.entries()) {
    const node = readNode(message, index, reader);
    if (node.op !== 'Constant' || node.domain !== '') {
      nodes.push(node);
      continue;
    }
    const name = node.outputs[0] ?? '';
    if (name === '' || initializers.has(name)) {
      throw new WhylightError(
        'MODEL_CORRUPT',
        `Constant node "${node.name}" ${name === '' ? 'has no output' : 'writes to an initializer'}.`,
      );
    }
    initializers.set(name, constantTensor(node));
  }
  const inputs = proto.input
    .filter((message) => !initializers.has(message.name))
    .map((message) => readBorder(message, 'Input', within !== ''));
  const outputs = proto.output.map((message) => readBorder(message, 'Output', true));
  const values = new Map<string, ValueType>();
  for (const message of proto.valueInfo) {
    const type = readValueType(message);
    if (type !== undefined && type !== 'no tensor' && !initializers.has(message.name)) values.set(message.name, type);
  }
  for (const { name, ...type } of [...inputs, ...outputs]) values.set(name, type);
  keepAnnotationsOnly(proto);
  return { name: proto.name, inputs, outputs, nodes: sortNodes(nodes), initializers, values, proto };
}

/** What is now in `Graph` itself is not kept twice: of initializers only those with doc strings or unknown fields stay, without data. */
function keepAnnotationsOnly(proto: GraphProto): void {
  proto.node = [];
  proto.sparseInitializer = [];
  proto.initializer = proto.initializer.filter((message) => message.docString !== '' || message.$unknown !== undefined);
  for (const message of proto.initializer) {
    message.rawData = new Uint8Array(0);
    message.floatData = [];
    message.int32Data = [];
    message.int64Data = [];
    message.doubleData = [];
    message.uint64Data = [];
    message.stringData = [];
    message.externalData = [];
  }
}

function readBorder(message: ValueInfoProto, role: 'Input' | 'Output', untyped: boolean): NamedValue {
  if (message.name === '') throw new WhylightError('MODEL_CORRUPT', `An ${role.toLowerCase()} has no name.`);
  const type = readValueType(message);
  if (type === 'no tensor') {
    throw new WhylightError(
      'MODEL_TYPE',
      `${role} "${message.name}" is a sequence, map or optional; only tensors are supported (for scikit-learn: export with zipmap=False).`,
      { details: { [role.toLowerCase()]: message.name } },
    );
  }
  // Branches of an If and outputs of old files may leave types to inference.
  if (type === undefined && untyped) return { name: message.name, type: 'float32', dims: [], unranked: true };
  if (type === undefined) throw new WhylightError('MODEL_CORRUPT', `${role} "${message.name}" has no known type.`);
  return { name: message.name, ...type };
}

function readValueType(message: ValueInfoProto): ValueType | 'no tensor' | undefined {
  const value = message.type?.value;
  if (value === undefined || value.case === undefined) return undefined;
  if (value.case !== 'tensorType') return 'no tensor';
  const type = dataTypeOf(value.value.elemType);
  if (type === undefined) return undefined;
  if (value.value.shape === undefined) return { type, dims: [], unranked: true };
  const dims = value.value.shape.dim.map((dim) => {
    if (dim.value.case === 'dimParam') return dim.value.value;
    if (dim.value.case !== 'dimValue') return '';
    const size = Number(dim.value.value);
    if (!Number.isSafeInteger(size)) {
      throw new WhylightError('MODEL_CORRUPT', `Value "${message.name}" has the absurd dimension ${dim.value.value}.`);
    }
    // exporters write -1, and in batch position also 0, where they mean "open"
    return size < 0 ? '' : size;
  });
  return { type, dims };
}

function readNode(message: NodeProto, index: number, reader: Reader): Node {
  const name = message.name !== '' ? message.name : (message.output.find((output) => output !== '') ?? `#${index}`);
  if (message.opType === '') throw new WhylightError('MODEL_CORRUPT', `Node "${name}" has no operator.`);
  const attributes = new Map<string, Attribute>();
  for (const attribute of message.attribute) {
    const value = readAttribute(attribute, name, reader);
    if (value !== undefined) attributes.set(attribute.name, value);
  }
  return {
    op: message.opType,
    domain: message.domain === 'ai.onnx' ? '' : message.domain,
    name,
    inputs: message.input,
    outputs: message.output,
    attributes,
    proto: message,
  };
}

/** `undefined` for the kinds that {@link Attribute} does not name; these stay in the node's message. */
function readAttribute(message: AttributeProto, node: string, reader: Reader): Attribute | undefined {
  const where = `Attribute "${message.name}" of node "${node}"`;
  message.type = kindOf(message);
  switch (message.type) {
    case Kind.INT:
      return int(toNumber(message.i));
    case Kind.FLOAT:
      return float(message.f);
    case Kind.STRING:
      return text(new TextDecoder().decode(message.s));
    case Kind.INTS:
      return ints(message.ints.map(toNumber));
    case Kind.FLOATS:
      return floats(message.floats);
    case Kind.STRINGS:
      return { kind: 'strings', value: message.strings.map((value) => new TextDecoder().decode(value)) };
    case Kind.TENSOR: {
      if (message.t === undefined) throw new WhylightError('MODEL_CORRUPT', `${where} has no tensor.`);
      const value = readTensor(message.t, where, reader.external);
      delete message.t;
      return tensor(value);
    }
    case Kind.GRAPH: {
      if (message.g === undefined) throw new WhylightError('MODEL_CORRUPT', `${where} has no graph.`);
      const value = readGraph(message.g, reader, ` in "${message.name}" of node "${node}"`);
      delete message.g;
      return subgraph(value);
    }
    case Kind.SPARSE_TENSOR: {
      if (message.sparseTensor === undefined) throw new WhylightError('MODEL_CORRUPT', `${where} has no tensor.`);
      const value = readSparseTensor(message.sparseTensor, where, reader.external);
      delete message.sparseTensor;
      message.type = Kind.TENSOR;
      return tensor(value);
    }
    case Kind.SPARSE_TENSORS:
      throw new WhylightError('MODEL_TYPE', `${where} is a list of sparse tensors, which no operator takes.`, {
        details: { node },
      });
    default:
      return undefined;
  }
}

/** The kind of an attribute; files before IR 3 may not say it, then the one field that is set decides. */
function kindOf(message: AttributeProto): Kind {
  if (message.type !== Kind.UNDEFINED) return message.type;
  const field = AttributeProtoSchema.field;
  const set: readonly [(typeof field)[keyof typeof field], Kind][] = [
    [field.i, Kind.INT],
    [field.f, Kind.FLOAT],
    [field.s, Kind.STRING],
    [field.t, Kind.TENSOR],
    [field.g, Kind.GRAPH],
    [field.ints, Kind.INTS],
    [field.floats, Kind.FLOATS],
    [field.strings, Kind.STRINGS],
  ];
  return set.find(([descriptor]) => isFieldSet(message, descriptor))?.[1] ?? Kind.UNDEFINED;
}

const saturation = 2 ** 53;

function toNumber(value: bigint): number {
  const number = Number(value);
  return Math.max(-saturation, Math.min(saturation, number));
}
