import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  GraphProtoSchema,
  AttributeProto_AttributeType as Kind,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from '../../sdk/graph/proto/onnx_pb.js';

type Random = () => number;

/** One way of damaging a file. Returns what was done, in words; undefined where the file has nothing to damage in this way. */
type Mutation = (proto: ModelProto, random: Random) => string | undefined;

const below = (random: Random, count: number): number => Math.floor(random() * count);
const pick = <T>(random: Random, list: readonly T[]): T | undefined => list[below(random, list.length)];

/** Integers where something usually gives: none, negative, around a limit, absurd. */
const INTEGERS = [
  0n,
  1n,
  2n,
  3n,
  7n,
  -1n,
  -2n,
  -7n,
  64n,
  1000n,
  65_537n,
  1n << 24n,
  1n << 28n,
  (1n << 31n) - 1n,
  1n << 31n,
  -(1n << 31n),
  1n << 33n,
  1n << 40n,
  1n << 53n,
  (1n << 63n) - 1n,
  -(1n << 63n),
];
const FLOATS = [0, -0, 1, -1, 0.5, 1e-45, 1e30, -1e30, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
const OPERATORS = `
  Conv ConvTranspose Gemm MatMul Einsum LSTM GRU RNN BatchNormalization LayerNormalization LRN Softmax Relu Clip PRelu Erf Selu
  AveragePool MaxPool GlobalAveragePool LpPool ReduceSum ReduceMax ReduceL2 Add Sub Mul Div Max Equal And Where Cast Concat Expand
  Flatten Gather GatherElements GatherND Pad Reshape Slice Split Squeeze Unsqueeze Transpose Tile ScatterND TopK ArgMax CumSum Resize
  DepthToSpace SpaceToDepth ConstantOfShape Range Shape Size OneHot Identity Dropout If Loop Constant QuantizeLinear DequantizeLinear
  Loop Scan DynamicQuantizeLinear QLinearConv ConvInteger MatMulInteger GroupNormalization InstanceNormalization Upsample Pow Mod Nonsense`
  .trim()
  .split(/\s+/);

const nodeOf = (proto: ModelProto, random: Random): NodeProto | undefined => pick(random, proto.graph?.node ?? []);
const tensorNames = (proto: ModelProto): string[] => [
  '',
  ...(proto.graph?.node ?? []).flatMap((node) => node.output),
  ...(proto.graph?.initializer ?? []).map((tensor) => tensor.name),
  ...(proto.graph?.input ?? []).map((input) => input.name),
];

const dims: Mutation = (proto, random) => {
  const tensor = pick(random, proto.graph?.initializer ?? []);
  if (tensor === undefined) return undefined;
  const value = pick(random, INTEGERS)!;
  const list = [...tensor.dims];
  const roll = random();
  if (roll < 0.2) list.push(value);
  else if (roll < 0.4) list.pop();
  else list[below(random, list.length)] = value;
  tensor.dims = list;
  return `dims of ${tensor.name} are [${list.join()}]`;
};

/** A tensor whose claims fit its bytes, but not the node that reads it. */
const otherTensor: Mutation = (proto, random) => {
  const tensor = pick(random, proto.graph?.initializer ?? []);
  if (tensor === undefined) return undefined;
  Object.assign(
    tensor,
    integers(
      tensor.name,
      Array.from({ length: below(random, 6) }, () => pick(random, INTEGERS)!),
    ),
  );
  return `${tensor.name} holds other integers`;
};

/** Values of an int64 tensor: shapes, axes, pads, sizes. */
const values: Mutation = (proto, random) => {
  const held = [
    ...(proto.graph?.initializer ?? []),
    ...(proto.graph?.node ?? []).flatMap((node) =>
      node.attribute.flatMap((one) => (one.t === undefined ? [] : [one.t])),
    ),
  ].filter((tensor) => tensor.dataType === 7 && tensor.rawData.length >= 8);
  const tensor = pick(random, held);
  if (tensor === undefined) return undefined;
  const raw = tensor.rawData.slice();
  const at = below(random, raw.length / 8);
  const value = pick(random, INTEGERS)!;
  new DataView(raw.buffer).setBigInt64(8 * at, value, true);
  tensor.rawData = raw;
  return `element ${at} of ${tensor.name} is ${value}`;
};

const floatValues: Mutation = (proto, random) => {
  const tensor = pick(
    random,
    (proto.graph?.initializer ?? []).filter((one) => one.dataType === 1 && one.rawData.length >= 4),
  );
  if (tensor === undefined) return undefined;
  const raw = tensor.rawData.slice();
  const value = pick(random, FLOATS)!;
  new DataView(raw.buffer).setFloat32(4 * below(random, raw.length / 4), value, true);
  tensor.rawData = raw;
  return `an element of ${tensor.name} is ${value}`;
};

const tensorType: Mutation = (proto, random) => {
  const tensor = pick(random, proto.graph?.initializer ?? []);
  if (tensor === undefined) return undefined;
  tensor.dataType = below(random, 24);
  return `${tensor.name} has type ${tensor.dataType}`;
};

const valueShape: Mutation = (proto, random) => {
  const all = [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? []), ...(proto.graph?.valueInfo ?? [])];
  const type = pick(random, all)?.type?.value;
  if (type?.case !== 'tensorType') return undefined;
  if (random() < 0.2) type.value.elemType = below(random, 24);
  const dim = pick(random, type.value.shape?.dim ?? []);
  if (dim === undefined) return undefined;
  dim.value = random() < 0.2 ? { case: 'dimParam', value: 'n' } : { case: 'dimValue', value: pick(random, INTEGERS)! };
  return `a dimension of an input or output is ${dim.value.value}`;
};

const operator: Mutation = (proto, random) => {
  const node = nodeOf(proto, random);
  if (node === undefined) return undefined;
  const before = node.opType;
  if (random() < 0.05) node.domain = 'com.microsoft';
  else node.opType = pick(random, OPERATORS)!;
  return `${before} is ${node.domain} ${node.opType}`;
};

function attributeOf(name: string, random: Random): AttributeProto {
  const kind = below(random, 6);
  const list = Array.from({ length: below(random, 7) }, () => pick(random, INTEGERS)!);
  if (kind === 0) return create(AttributeProtoSchema, { name, type: Kind.INT, i: pick(random, INTEGERS)! });
  if (kind === 1) return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: pick(random, FLOATS)! });
  if (kind === 2) return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: list });
  if (kind === 3) return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: list.map(Number) });
  if (kind === 4)
    return create(AttributeProtoSchema, { name, type: Kind.STRING, s: new TextEncoder().encode('nonsense') });
  return create(AttributeProtoSchema, { name, type: Kind.TENSOR, t: integers('t', list) });
}

const NAMES =
  `axis axes pads strides dilations kernel_shape group perm to mode alpha beta p size hidden_size direction auto_pad
  output_padding output_shape ceil_mode keepdims blocksize epsilon equation transB num_groups k split value then_branch scales`
    .trim()
    .split(/\s+/);

const attribute: Mutation = (proto, random) => {
  const node = nodeOf(proto, random);
  if (node === undefined) return undefined;
  const one = pick(random, node.attribute);
  const roll = random();
  if (one === undefined || roll < 0.25) {
    const name = pick(random, NAMES)!;
    node.attribute.push(attributeOf(name, random));
    return `${node.opType} has another attribute ${name}`;
  }
  if (roll < 0.35) {
    node.attribute = node.attribute.filter((other) => other !== one);
    return `${node.opType} lacks ${one.name}`;
  }
  if (roll < 0.5) {
    Object.assign(one, attributeOf(one.name, random));
    return `${one.name} of ${node.opType} is of another kind`;
  }
  if (one.ints.length > 0) one.ints = one.ints.map((value) => (random() < 0.5 ? pick(random, INTEGERS)! : value));
  else if (one.type === Kind.FLOAT) one.f = pick(random, FLOATS)!;
  else one.i = pick(random, INTEGERS)!;
  return `${one.name} of ${node.opType} is ${one.ints.join() || one.f || one.i}`;
};

const inputs: Mutation = (proto, random) => {
  const node = nodeOf(proto, random);
  if (node === undefined) return undefined;
  const roll = random();
  const name = pick(random, tensorNames(proto))!;
  if (roll < 0.2) node.input.pop();
  else if (roll < 0.4) node.input.push(name);
  else if (roll < 0.5) node.input.reverse();
  else node.input[below(random, Math.max(1, node.input.length))] = name;
  return `${node.opType} reads [${node.input.join()}]`;
};

const outputs: Mutation = (proto, random) => {
  const node = nodeOf(proto, random);
  if (node === undefined) return undefined;
  const roll = random();
  if (roll < 0.3) node.output.push(pick(random, tensorNames(proto))!);
  else if (roll < 0.5) node.output.pop();
  else node.output[0] = pick(random, tensorNames(proto))!;
  return `${node.opType} writes [${node.output.join()}]`;
};

const order: Mutation = (proto, random) => {
  const nodes = proto.graph?.node ?? [];
  const at = below(random, nodes.length);
  if (nodes.length === 0) return undefined;
  if (random() < 0.4) nodes.splice(at, 1);
  else if (random() < 0.5) nodes.splice(below(random, nodes.length), 0, nodes[at]!);
  else nodes.reverse();
  return 'nodes are missing, doubled or turned round';
};

const versions: Mutation = (proto, random) => {
  const version = pick(random, proto.opsetImport);
  if (version === undefined) return undefined;
  version.version = random() < 0.8 ? BigInt(7 + below(random, 19)) : pick(random, INTEGERS)!;
  return `opset ${version.version}`;
};

function integers(name: string, list: readonly bigint[]): TensorProto {
  const rawData = new Uint8Array(BigInt64Array.from(list).buffer);
  return create(TensorProtoSchema, { name, dataType: 7, dims: [BigInt(list.length)], rawData });
}

/** A node that asks for far more than the file holds, in the way of a tensor that is read. */
const greedy: Mutation = (proto, random) => {
  const graph = proto.graph;
  const node = nodeOf(proto, random);
  const from = node?.input[0];
  if (graph === undefined || node === undefined || from === undefined) return undefined;
  const big = pick(random, [1n << 14n, 1n << 20n, 1n << 27n, 1n << 31n, 1n << 40n])!;
  const shape = Array.from({ length: 1 + below(random, 4) }, () => (random() < 0.5 ? big : 2n));
  const op = pick(random, ['ConstantOfShape', 'Expand', 'Tile', 'Resize', 'Pad', 'Range', 'OneHot', 'EyeLike'])!;
  graph.initializer.push(integers('greedy', shape), integers('one', [1n]));
  graph.initializer.push(
    create(TensorProtoSchema, {
      name: 'scale',
      dataType: 1,
      dims: [BigInt(shape.length)],
      floatData: shape.map(Number),
    }),
  );
  const constant = random() < 0.5 ? 'one' : from;
  const given: Readonly<Record<string, string[]>> = {
    ConstantOfShape: ['greedy'],
    Resize: [constant, '', 'scale'],
    Range: ['one', 'greedy', 'one'],
    OneHot: [constant, 'greedy', 'scale'],
    EyeLike: [constant],
  };
  graph.node.unshift(
    create(NodeProtoSchema, { opType: op, name: 'greedy', input: given[op] ?? [constant, 'greedy'], output: ['more'] }),
  );
  node.input[0] = 'more';
  return `${op} to [${shape.join()}] of ${constant}`;
};

/** The whole graph in a branch of an If, several deep. */
const nested: Mutation = (proto, random) => {
  const graph = proto.graph;
  if (graph === undefined) return undefined;
  const depth = pick(random, [1, 3, 40])!;
  const first = create(NodeProtoSchema, { ...graph.node[0]!, output: graph.node[0]?.output.slice(0, 1) ?? [] });
  const output = [create(ValueInfoProtoSchema, { name: first.output[0] ?? '' })];
  const branch = (name: string, node: NodeProto): AttributeProto =>
    create(AttributeProtoSchema, {
      name,
      type: Kind.GRAPH,
      g: create(GraphProtoSchema, { name: 'branch', node: [node], output }),
    });
  let inner = first;
  for (let level = 0; level < depth; level++) {
    inner = create(NodeProtoSchema, {
      ...{ opType: 'If', name: `if ${level}`, input: ['yes'], output: first.output },
      attribute: [branch('then_branch', inner), branch('else_branch', first)],
    });
  }
  graph.initializer.push(create(TensorProtoSchema, { name: 'yes', dataType: 9, dims: [], rawData: Uint8Array.of(1) }));
  graph.node[0] = inner;
  return `the first node in ${depth} branches`;
};

const messages: readonly Mutation[] = [
  dims,
  otherTensor,
  values,
  values,
  floatValues,
  tensorType,
  valueShape,
  operator,
  operator,
  attribute,
  attribute,
  attribute,
  inputs,
  inputs,
  outputs,
  order,
  versions,
  greedy,
  greedy,
  nested,
];

/** Damage to the bytes themselves: the protobuf reader's share. */
function damaged(original: Uint8Array, random: Random): [Uint8Array, string] {
  const bytes = original.slice();
  // most of a file is weights: damage is aimed at the structure as well
  const place = (): number => Math.floor((random() < 0.5 ? random() : random() ** 4) * bytes.length);
  switch (below(random, 5)) {
    case 0:
      for (let flips = 0; flips < 1 + below(random, 8); flips++) bytes[place()]! ^= 1 << below(random, 8);
      return [bytes, 'flipped bits'];
    case 1:
      return [bytes.subarray(0, place()), 'cut off'];
    case 2: {
      const [from, to, length] = [place(), place(), below(random, 60)];
      bytes.set(original.subarray(from, Math.min(from + length, from + bytes.length - to)), to);
      return [bytes, 'a piece over another'];
    }
    case 3: {
      const [from, to, length] = [place(), place(), below(random, 60)];
      const piece = original.subarray(from, from + length);
      const grown = new Uint8Array(bytes.length + piece.length);
      grown.set(bytes.subarray(0, to));
      grown.set(piece, to);
      grown.set(bytes.subarray(to), to + piece.length);
      return [grown, 'a piece inserted'];
    }
    default: {
      const start = place();
      const length = 1 + below(random, 9);
      bytes.fill(0xff, start, start + length);
      if (start + length < bytes.length) bytes[start + length] = 1;
      return [bytes, 'a length that lies'];
    }
  }
}

/** A damaged copy of an ONNX file, and what was done to it. The same numbers from `random` give the same damage. */
export function mutated(original: Uint8Array, random: Random): { readonly bytes: Uint8Array; readonly how: string } {
  if (random() < 0.25) {
    const [bytes, how] = damaged(original, random);
    return { bytes, how };
  }
  const proto = fromBinary(ModelProtoSchema, original);
  const done: string[] = [];
  for (let count = 1 + below(random, 3); count > 0; count--) {
    const how = pick(random, messages)!(proto, random);
    if (how !== undefined) done.push(how);
  }
  return { bytes: toBinary(ModelProtoSchema, proto), how: done.join('; ') };
}
