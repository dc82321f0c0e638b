import { UnsupportedOperatorError } from '../../errors.js';
import type { GraphBuilder } from '../builder.js';
import type { DataType, Graph, Node, Tensor } from '../graph.js';
import { int, intAttribute, sizeOf } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { broadcastStrides, numbersOf, positionsOf, stridesOf, tensorOf } from '../tensors.js';
import { type Writer, written } from './writer.js';

const MICROSOFT = 'com.microsoft';
const NIBBLES: ReadonlySet<DataType> = new Set(['uint4', 'int4']);
const BYTES: ReadonlySet<DataType> = new Set(['uint8', 'int8', 'int32']);

/** Integers of `bits` bits from packed bytes, the first in the lowest bits; `count` of every `stride` bytes. */
function unpacked(bytes: Uint8Array, bits: number, rows: number, count: number): Uint8Array {
  const stride = Math.ceil((count * bits) / 8);
  const mask = (1 << bits) - 1;
  const result = new Uint8Array(rows * count);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < count; k++) {
      const bit = k * bits;
      result[row * count + k] = (bytes[row * stride + (bit >> 3)]! >> (bit & 7)) & mask;
    }
  }
  return result;
}

/** A tensor of 4-bit integers as one of 8-bit integers; any other one as it is. */
export function asBytes(tensor: Tensor): Tensor {
  if (!NIBBLES.has(tensor.type)) return tensor;
  const values = Float64Array.from(unpacked(tensor.bytes, 4, 1, sizeOf(tensor.dims)));
  if (tensor.type === 'uint4') return tensorOf('uint8', tensor.dims, values);
  return tensorOf(
    'int8',
    tensor.dims,
    values.map((value) => (value > 7 ? value - 16 : value)),
  );
}

/** Integers in rows of one scale each, and how to lay the rows out as the weight that they are. */
interface Rows {
  readonly type: DataType;
  readonly values: Float64Array;
  readonly scales: Float64Array;
  readonly zeros: Float64Array | undefined;
  /** integers in a row */
  readonly block: number;
  /** [outer…, length] of the weight with its quantized axis last; the last row of each may reach beyond `length` */
  readonly outer: readonly number[];
  readonly length: number;
}

/** DequantizeLinear of rows, each with its own scale: what any version of ONNX has, and every device. */
function dequantizedRows(write: Writer, rows: Rows): string {
  const { type, values, scales, zeros, block, outer, length } = rows;
  const count = scales.length;
  const inputs = [
    write.tensor(tensorOf(type, [count, block], values)),
    write.tensor(tensorOf('float32', [count], scales)),
    write.tensor(tensorOf(type, [count], zeros ?? new Float64Array(count))),
  ];
  const real = write.op('DequantizeLinear', inputs, { axis: int(0) });
  const padded = (count * block) / Math.max(1, sizeOf(outer));
  const whole = write.reshape(real, [...outer, padded]);
  return padded === length ? whole : write.slice(whole, outer.length, 0, length);
}

/** The elements of a tensor with `axis` moved to the end, in rows of `length`, filled up with zeros to `padded`. */
function axisLast(numbers: Float64Array, dims: readonly number[], axis: number, padded: number): Float64Array {
  const others = dims.map((_, k) => k).filter((k) => k !== axis);
  const strides = stridesOf(dims);
  const outer = sizeOf(others.map((k) => dims[k]!));
  const length = dims[axis]!;
  const order = [...others, axis];
  const positions = positionsOf(
    order.map((k) => dims[k]!),
    order.map((k) => strides[k]!),
  );
  const result = new Float64Array(outer * padded);
  for (let row = 0; row < outer; row++) {
    for (let k = 0; k < length; k++) result[row * padded + k] = numbers[positions[row * length + k]!]!;
  }
  return result;
}

function computed(node: Node, what: string): UnsupportedOperatorError {
  return new UnsupportedOperatorError(
    node.name,
    node.op,
    `${what} is computed from data; only constant weights are known in this form.`,
    node.domain,
  );
}

/** A DequantizeLinear whose scales hold for blocks of `block_size` along `axis`. */
function blockwise(node: Node, graph: Graph, builder: GraphBuilder): readonly Node[] {
  const constants = node.inputs.map((name) => graph.initializers.get(name));
  const [data, scale, zero] = constants;
  if (data === undefined || scale === undefined || (zero === undefined && (node.inputs[2] ?? '') !== '')) {
    throw computed(node, 'what it dequantizes in blocks');
  }
  const integers = asBytes(data);
  const { dims } = integers;
  const given = intAttribute(node, 'axis', 1);
  const axis = given < 0 ? given + dims.length : given;
  const block = intAttribute(node, 'block_size', 0);
  const blocks = scale.dims[axis]!;
  const steps = (tensor: Tensor): Float64Array => axisLast(numbersOf(asBytes(tensor)), tensor.dims, axis, blocks);
  const outer = dims.filter((_, k) => k !== axis);
  return written(node, 'float32', builder, (write) => {
    const rows = dequantizedRows(write, {
      ...{ type: integers.type, values: axisLast(numbersOf(integers), dims, axis, blocks * block) },
      ...{ scales: steps(scale), zeros: zero && steps(zero), block, outer, length: dims[axis]! },
    });
    // the quantized axis back to its place
    const back = dims.map((_, k) => (k === axis ? dims.length - 1 : k < axis ? k : k - 1));
    write.give(node.outputs[0], write.transpose(rows, back));
  });
}

/** y = x · Wᵀ + b with W [N, K] in blocks of 4-bit or 8-bit integers along K. */
function matMulNBits(node: Node, graph: Graph, builder: GraphBuilder): readonly Node[] {
  const [x, , , , , bias] = node.inputs as [string, string, string, string?, string?, string?];
  const [packed, scale, zero] = [1, 2, 3].map((index) => graph.initializers.get(node.inputs[index] ?? ''));
  const given = (node.inputs[3] ?? '') !== '';
  if (packed === undefined || scale === undefined || (given && zero === undefined)) throw computed(node, 'its weight');
  const [k, n] = [intAttribute(node, 'K', 0), intAttribute(node, 'N', 0)];
  const [bits, block] = [intAttribute(node, 'bits', 4), intAttribute(node, 'block_size', 32)];
  const blocks = Math.ceil(k / block);
  const middle = 2 ** (bits - 1);
  const zeros = (): Float64Array => {
    if (zero === undefined) return new Float64Array(n * blocks).fill(middle);
    return zero.type === 'uint8' ? Float64Array.from(unpacked(zero.bytes, bits, n, blocks)) : numbersOf(zero);
  };
  const values = Float64Array.from(unpacked(packed.bytes, bits, n * blocks, block));
  return written(node, 'float32', builder, (write) => {
    const weight = dequantizedRows(write, {
      ...{ type: 'uint8', values, scales: numbersOf(scale), zeros: zeros(), block, outer: [n], length: k },
    });
    const product = write.op('MatMul', [x, write.transpose(weight, [1, 0])], {}, 'main');
    write.give(node.outputs[0], bias ? write.op('Add', [product, bias]) : product);
  });
}

/** Scale and zero point of a weight per column, in one shape. */
function columnSteps(write: Writer, graph: Graph, node: Node, scale: number, zero: number, type: DataType): string[] {
  const [name, zeroName = ''] = [node.inputs[scale]!, node.inputs[zero]];
  const steps = graph.initializers.get(name);
  const points = graph.initializers.get(zeroName);
  if (steps === undefined || (zeroName !== '' && points === undefined)) throw computed(node, 'the scale of its weight');
  const count = Math.max(sizeOf(steps.dims), points === undefined ? 1 : sizeOf(points.dims));
  const spread = (tensor: Tensor): Tensor => {
    const numbers = numbersOf(tensor);
    const positions = positionsOf([count], broadcastStrides([numbers.length], [count]));
    return tensorOf(
      tensor.type,
      count === 1 ? [] : [count],
      Float64Array.from(positions, (at) => numbers[at]!),
    );
  };
  return [write.tensor(spread(steps)), write.tensor(spread(points ?? tensorOf(type, [], [0])))];
}

/** MatMulIntegerToFloat, and DynamicQuantizeMatMul where `x` is quantized by the node itself. */
function integerProduct(node: Node, graph: Graph, builder: GraphBuilder): readonly Node[] {
  const isDynamic = node.op === 'DynamicQuantizeMatMul';
  const [scale, zero, bias] = isDynamic ? [2, 3, 4] : [3, 5, 6];
  const weight = staticTypeOf(graph, node.inputs[1]!);
  return written(node, 'float32', builder, (write) => {
    const quantized = isDynamic
      ? write.ops('DynamicQuantizeLinear', [node.inputs[0]!], 3)
      : [node.inputs[0]!, node.inputs[2]!, ...(node.inputs[4] ? [node.inputs[4]] : [])];
    const x = write.op('DequantizeLinear', quantized);
    const axis = { axis: int(weight.dims.length - 1) };
    const steps = columnSteps(write, graph, node, scale!, zero!, weight.type);
    const w = write.op('DequantizeLinear', [node.inputs[1]!, ...steps], axis);
    const product = write.op('MatMul', [x, w], {}, 'main');
    const shift = node.inputs[bias!];
    write.give(node.outputs[0], shift ? write.op('Add', [product, shift]) : product);
  });
}

const products: Readonly<Record<string, (node: Node, graph: Graph, builder: GraphBuilder) => readonly Node[]>> = {
  MatMulNBits: matMulNBits,
  MatMulIntegerToFloat: integerProduct,
  DynamicQuantizeMatMul: integerProduct,
};

/**
 * Weights that are stored in blocks or in 4 bits (DequantizeLinear with `block_size`, MatMulNBits), and products that take their integers
 * with their scales (DynamicQuantizeMatMul, MatMulIntegerToFloat), become products of what a DequantizeLinear per row or column gives:
 * 4-bit integers take 8 bits then. Adds a sentence to `notes`.
 */
export function writeOutPackedWeights(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const counts = new Map<string, number>();
  const nodes = graph.nodes.flatMap((node) => {
    const product = node.domain === MICROSOFT && Object.hasOwn(products, node.op) ? products[node.op] : undefined;
    const isBlockwise = node.op === 'DequantizeLinear' && intAttribute(node, 'block_size', 0) !== 0;
    if (product === undefined && !isBlockwise && !isNibbles(node, graph)) return [node];
    counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
    if (product !== undefined) return product(node, graph, builder);
    return isBlockwise ? blockwise(node, graph, builder) : [inBytes(node, graph, builder)];
  });
  for (const [op, count] of counts) {
    notes.push(`${count} ${op} ${count === 1 ? 'was' : 'were'} written with a DequantizeLinear of rows or columns.`);
  }
  return counts.size === 0 ? graph : { ...graph, nodes };
}

const isNibbles = (node: Node, graph: Graph): boolean =>
  node.op === 'DequantizeLinear' && NIBBLES.has(graph.values.get(node.inputs[0]!)?.type ?? 'float32');

function inBytes(node: Node, graph: Graph, builder: GraphBuilder): Node {
  const inputs = node.inputs.map((name, index) => {
    const tensor = graph.initializers.get(name);
    if (index === 1 || name === '') return name;
    if (tensor === undefined) throw computed(node, 'what it dequantizes from 4 bits');
    return builder.initializer(builder.name(`${name}/bytes`), asBytes(tensor));
  });
  return { ...node, inputs };
}

/** QuantizeLinear and DequantizeLinear of com.microsoft are those of ONNX, for the types that all versions of it have. */
export function withStandardSteps(graph: Graph): Graph {
  const isStandard = (node: Node): boolean =>
    [...node.inputs.filter((_, index) => index !== 1), ...node.outputs].every((name) => {
      const type = graph.values.get(name)?.type ?? 'float32';
      return name === '' || type === 'float32' || BYTES.has(type);
    });
  const isStep = ({ op, domain }: Node): boolean =>
    domain === MICROSOFT && (op === 'QuantizeLinear' || op === 'DequantizeLinear');
  if (!graph.nodes.some(isStep)) return graph;
  return {
    ...graph,
    nodes: graph.nodes.map((node) => (isStep(node) && isStandard(node) ? { ...node, domain: '' } : node)),
  };
}
