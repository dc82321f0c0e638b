import { UnsupportedOperatorError } from '../../errors.js';
import type { GraphBuilder } from '../builder.js';
import type { Attribute, DataType, Graph, Node, StaticType, Tensor } from '../graph.js';
import { float, floatAttribute, int, intAttribute, ints, sizeOf } from '../graph.js';
import { poolingWindow } from '../shapes/window.js';
import { staticTypeOf } from '../shapes.js';
import { numbersOf, tensorOf } from '../tensors.js';

/** Writes one integer layer as nodes; the last one gives the node's output. */
interface Writer {
  readonly node: Node;
  /** What quantized input `index` stands for, as a float32 tensor; its scale and zero point are the inputs after it. */
  real(index: number, axis?: number): string;
  /** An int32 bias as a float32 constant: its step is the product of the scales of the inputs named. */
  bias(index: number, scales: readonly number[], factor?: number): string;
  /** Adds a float32 node. */
  float(op: string, inputs: readonly string[], attributes?: ReadonlyMap<string, Attribute>): string;
  /** Quantizes `real` with scale input `scale` and the zero point after it into the node's output. */
  quantized(real: string, scale: number): void;
  /** The node's output is `real` itself. */
  unquantized(real: string): void;
  type(index: number): StaticType;
}

type Written = (writer: Writer) => void;

function without(node: Node, ...names: readonly string[]): Map<string, Attribute> {
  return new Map([...node.attributes].filter(([name]) => !names.includes(name)));
}

/** X, its scale and zero point, then scale and zero point of the output. */
const unary =
  (op: string, attributes: (node: Node) => ReadonlyMap<string, Attribute> = () => new Map()): Written =>
  (writer) =>
    writer.quantized(writer.float(op, [writer.real(0)], attributes(writer.node)), 3);

/** A and B, each with scale and zero point, then those of the output. */
const binary =
  (op: string): Written =>
  (writer) =>
    writer.quantized(writer.float(op, [writer.real(0), writer.real(3)]), 6);

const conv: Written = (writer) => {
  const inputs = [writer.real(0), writer.real(3, 0)];
  if ((writer.node.inputs[8] ?? '') !== '') inputs.push(writer.bias(8, [1, 4]));
  writer.quantized(writer.float('Conv', inputs, writer.node.attributes), 6);
};

const matMul: Written = (writer) => {
  const inputs = [writer.real(0, writer.type(0).dims.length - 2), writer.real(3, writer.type(3).dims.length - 1)];
  writer.quantized(writer.float('MatMul', inputs), 6);
};

/** C has the step alpha · scale A · scale B, so that alpha holds for the sum of both. */
const gemm: Written = (writer) => {
  const { node } = writer;
  const transposed = intAttribute(node, 'transB', 0) !== 0;
  const inputs = [writer.real(0), writer.real(3, transposed ? 0 : 1)];
  const alpha = floatAttribute(node, 'alpha', 1);
  if ((node.inputs[6] ?? '') !== '') inputs.push(writer.bias(6, [1, 4], alpha));
  const result = writer.float('Gemm', inputs, node.attributes);
  if ((node.inputs[7] ?? '') === '') writer.unquantized(result);
  else writer.quantized(result, 7);
};

/** Runs a layer of pictures with channels first on pictures with channels last. */
function channelsFirst(writer: Writer, layer: (x: string) => string): string {
  const x = writer.real(0);
  if (intAttribute(writer.node, 'channels_last', 0) === 0) return layer(x);
  const rank = writer.type(0).dims.length;
  const spatial = Array.from({ length: rank - 2 }, (_, index) => index);
  const turned = (from: string, perm: readonly number[]): string =>
    writer.float('Transpose', [from], new Map([['perm', ints(perm)]]));
  const first = turned(x, [0, rank - 1, ...spatial.map((axis) => axis + 1)]);
  return turned(layer(first), [0, ...spatial.map((axis) => axis + 2), 1]);
}

const globalPool: Written = (writer) =>
  writer.quantized(
    channelsFirst(writer, (x) => writer.float('GlobalAveragePool', [x])),
    3,
  );

const averagePool: Written = (writer) => {
  const { node } = writer;
  const { dims } = writer.type(0);
  const isLast = intAttribute(node, 'channels_last', 0) !== 0;
  const picture = isLast ? [dims[0]!, dims.at(-1)!, ...dims.slice(1, -1)] : dims;
  const window = poolingWindow(node, { node, opset: 1, inputs: [], constants: [] }, picture);
  const attributes = without(node, 'channels_last', 'auto_pad');
  attributes.set('pads', ints([...window.padStart, ...window.padEnd]));
  writer.quantized(
    channelsFirst(writer, (x) => writer.float('AveragePool', [x], attributes)),
    3,
  );
};

/** Along the last axis, or (as before ONNX 13) over everything from an axis on where that comes to the same. */
const softmax: Written = (writer) => {
  const { node } = writer;
  const { dims } = writer.type(0);
  const given = intAttribute(node, 'axis', -1);
  const axis = given < 0 ? given + dims.length : given;
  if (intAttribute(node, 'opset', 13) < 13 && sizeOf(dims.slice(axis + 1)) !== 1) {
    throw new UnsupportedOperatorError(node.name, node.op, 'it takes several axes as one.', node.domain);
  }
  writer.quantized(writer.float('Softmax', [writer.real(0)], new Map([['axis', int(axis)]])), 3);
};

/** A condition, then X and Y, each with scale and zero point, then those of the output. */
const where: Written = (writer) =>
  writer.quantized(writer.float('Where', [writer.node.inputs[0]!, writer.real(1), writer.real(4)]), 7);

/** Scale and zero point of the output come first, then every part with its own. */
const concat: Written = (writer) => {
  const parts: string[] = [];
  for (let index = 2; index < writer.node.inputs.length; index += 3) parts.push(writer.real(index));
  writer.quantized(writer.float('Concat', parts, writer.node.attributes), 0);
};

/** Layers on integers, by domain and operator. */
const layers: Readonly<Record<string, Written>> = {
  QLinearConv: conv,
  QLinearMatMul: matMul,
  'com.microsoft.QLinearAdd': binary('Add'),
  'com.microsoft.QLinearMul': binary('Mul'),
  'com.microsoft.QLinearLeakyRelu': unary(
    'LeakyRelu',
    (node) => new Map([['alpha', float(floatAttribute(node, 'alpha', 0.01))]]),
  ),
  'com.microsoft.QLinearSigmoid': unary('Sigmoid'),
  'com.microsoft.QLinearSoftmax': softmax,
  'com.microsoft.QLinearWhere': where,
  'com.microsoft.QLinearGlobalAveragePool': globalPool,
  'com.microsoft.QLinearAveragePool': averagePool,
  'com.microsoft.QLinearConcat': concat,
  'com.microsoft.QGemm': gemm,
};

/**
 * Layers that compute on integers (QLinearConv, QGemm and their relatives) become the layers of float32 that they stand for, with
 * DequantizeLinear before and QuantizeLinear after. The integers between layers are the same, but where a value lies on the edge
 * between two. Each adds a sentence to `notes`; `builder` takes the new constants.
 *
 * Throws UNSUPPORTED_OPERATOR where the scale of a biased layer is computed from data.
 */
export function writeOutIntegerLayers(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const counts = new Map<string, number>();
  const nodes = graph.nodes.flatMap((node) => {
    const key = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
    const write = Object.hasOwn(layers, key) ? layers[key] : undefined;
    if (write === undefined) return [node];
    counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
    const { writer, nodes: written } = writerOf(graph, builder, node);
    write(writer);
    return written;
  });
  for (const [op, count] of counts) {
    notes.push(
      `${count} ${op} ${count === 1 ? 'was' : 'were'} written in float32 between DequantizeLinear and QuantizeLinear.`,
    );
  }
  return counts.size === 0 ? graph : { ...graph, nodes: maximaOfNumbers(nodes, builder) };
}

function writerOf(graph: Graph, builder: GraphBuilder, node: Node): { writer: Writer; nodes: readonly Node[] } {
  const nodes: Node[] = [];
  const constantOf = (name: string): Tensor | undefined => graph.initializers.get(name);
  const output = node.outputs[0]!;
  const add = (
    op: string,
    inputs: readonly string[],
    attributes: ReadonlyMap<string, Attribute>,
    to?: string,
  ): string => {
    const made = to ?? builder.name(`${output}/${op.toLowerCase()}`);
    const isLayer = op !== 'DequantizeLinear' && op !== 'QuantizeLinear';
    const name =
      isLayer && !nodes.some((other) => other.name === node.name) ? node.name : builder.name(`${node.name}/${op}`);
    nodes.push({ op, domain: '', name, inputs, outputs: [made], attributes });
    return made;
  };
  /** Scale and zero point for DequantizeLinear or QuantizeLinear, of one shape; a zero point that is left out is 0 of `type`. */
  const steps = (scale: string, zero: string, type: DataType): readonly string[] => {
    const { dims } = staticTypeOf(graph, scale);
    const count = sizeOf(dims);
    const scalar = count === 1 ? [] : [count];
    const reshaped = (name: string, kind: DataType): string => {
      const value = name === '' ? tensorOf(kind, [], [0]) : constantOf(name);
      if (value === undefined) return name;
      const numbers = numbersOf(value);
      if (numbers.length !== count && numbers.length !== 1) return name;
      const all = numbers.length === count ? numbers : new Float64Array(count).fill(numbers[0]!);
      if (value.dims.join() === scalar.join() && name !== '') return name;
      return builder.initializer(
        builder.name(`${name === '' ? scale : name}/steps`),
        tensorOf(value.type, scalar, all),
      );
    };
    return [reshaped(scale, 'float32'), reshaped(zero, type)];
  };
  const numbers = (index: number): Float64Array => {
    const constant = constantOf(node.inputs[index] ?? '');
    if (constant !== undefined) return numbersOf(constant);
    const reason = `its input ${index} ("${node.inputs[index]}") is computed from data, but its bias is in steps of it.`;
    throw new UnsupportedOperatorError(node.name, node.op, reason, node.domain);
  };

  const writer: Writer = {
    node,
    type: (index) => staticTypeOf(graph, node.inputs[index]!),
    real(index, axis) {
      const [values, scale, zero] = [0, 1, 2].map((offset) => node.inputs[index + offset] ?? '') as [
        string,
        string,
        string,
      ];
      const perAxis = axis !== undefined && sizeOf(staticTypeOf(graph, scale).dims) > 1;
      const attributes = new Map<string, Attribute>(perAxis ? [['axis', int(axis)]] : []);
      return add('DequantizeLinear', [values, ...steps(scale, zero, staticTypeOf(graph, values).type)], attributes);
    },
    bias(index, scales, factor = 1) {
      const values = numbers(index);
      const step = scales.map(numbers);
      const real = values.map((value, at) =>
        step.reduce((product, list) => product * list[list.length === 1 ? 0 : at % list.length]!, factor * value),
      );
      const { dims } = constantOf(node.inputs[index]!)!;
      return builder.initializer(builder.name(`${node.name}.bias`), tensorOf('float32', dims, real));
    },
    float: (op, inputs, attributes = new Map()) => add(op, inputs, attributes),
    quantized(real, scale) {
      const type = staticTypeOf(graph, output).type;
      add(
        'QuantizeLinear',
        [real, ...steps(node.inputs[scale]!, node.inputs[scale + 1] ?? '', type)],
        new Map(),
        output,
      );
    },
    unquantized(real) {
      const last = nodes.pop()!;
      nodes.push({ ...last, outputs: last.outputs.map((name) => (name === real ? output : name)) });
    },
  };
  return { writer, nodes };
}

/** A MaxPool that picks among integers, as ONNX Runtime leaves it between integer layers, picks among what they stand for. */
function maximaOfNumbers(nodes: readonly Node[], builder: GraphBuilder): readonly Node[] {
  const quantizers = new Map<string, Node>();
  return nodes.flatMap((node) => {
    if (node.op === 'QuantizeLinear') quantizers.set(node.outputs[0]!, node);
    const source = quantizers.get(node.inputs[0] ?? '');
    if (node.op !== 'MaxPool' || node.domain !== '' || source === undefined || node.outputs.length > 1) return [node];
    const steps = source.inputs.slice(1);
    const [real, most] = [builder.name(`${node.inputs[0]!}/real`), builder.name(`${node.outputs[0]!}/real`)];
    const beside = (op: string, from: string, to: string): Node => ({
      ...{ op, domain: '', name: builder.name(`${node.name}/${op}`), inputs: [from, ...steps], outputs: [to] },
      attributes: source.attributes,
    });
    const quantizer = beside('QuantizeLinear', most, node.outputs[0]!);
    quantizers.set(node.outputs[0]!, quantizer);
    return [beside('DequantizeLinear', node.inputs[0]!, real), { ...node, inputs: [real], outputs: [most] }, quantizer];
  });
}
