import type { GraphBuilder } from '../builder.js';
import type { Attribute, Graph, Node, Tensor } from '../graph.js';
import { int, sizeOf } from '../graph.js';
import { readsOf } from '../order.js';
import { staticTypeOf } from '../shapes.js';
import { numbersOf, tensorOf } from '../tensors.js';

/** A factor of an integer product: what was quantized while the model runs, or a constant whose scale is found in the products after it. */
type Factor =
  | { readonly kind: 'quantized'; readonly by: Node }
  | { readonly kind: 'constant'; readonly values: string; readonly zero: Tensor | undefined };

/** An integer layer with the nodes that make float32 of it: ConvInteger or MatMulInteger, Cast, Mul by the scales, and a bias. */
interface IntegerLayer {
  readonly node: Node;
  readonly factors: readonly [Factor, Factor];
  /** Scale of the constant factor, one or one per channel; undefined where both were quantized while the model runs. */
  readonly scale: Float64Array | undefined;
  readonly bias: Float64Array | undefined;
  /** The nodes that become one, in order; the last one's output is the layer's. */
  readonly chain: readonly Node[];
}

/**
 * Dynamic quantization as ONNX Runtime's `quantize_dynamic` writes it (DynamicQuantizeLinear, ConvInteger or MatMulInteger, Cast,
 * Mul by both scales, Add of the bias) becomes the layer that it stands for: a Conv or MatMul of the dequantized activation and the
 * dequantized weight. The numbers are the same up to float32 rounding, for the activation is still quantized, step by step.
 * Each adds a sentence to `notes`; `builder` takes the new constants.
 */
export function writeOutDynamicQuantization(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const producers = new Map<string, Node>();
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) producers.set(name, node);
    for (const name of readsOf(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const outputs = new Set(graph.outputs.map((output) => output.name));
  /** The only node that reads a tensor, of one operator. */
  const soleReader = (name: string, op: string): Node | undefined => {
    const [reader, ...others] = readers.get(name) ?? [];
    if (others.length > 0 || outputs.has(name) || reader?.op !== op || reader.domain !== '') return undefined;
    return reader;
  };
  const constantOf = (name: string): Tensor | undefined => graph.initializers.get(name);

  const dropped = new Set<Node>();
  const replaced = new Map<Node, readonly Node[]>();
  const afterQuantizing = new Map<Node, Node>();
  for (const node of graph.nodes) {
    const layer = integerLayer(node);
    if (layer === undefined) continue;
    for (const part of layer.chain) dropped.add(part);
    replaced.set(layer.chain.at(-1)!, written(layer));
    const bias = layer.bias === undefined ? '' : ' and its bias';
    notes.push(
      `${node.op} "${node.name}"${bias} was written as ${operatorOf(node)} of what the integers stand for; its activation is quantized as before.`,
    );
  }
  if (replaced.size === 0) return graph;
  const nodes = graph.nodes.flatMap((node) => {
    if (dropped.has(node)) return replaced.get(node) ?? [];
    const dequantized = afterQuantizing.get(node);
    return dequantized === undefined ? [node] : [node, dequantized];
  });
  return { ...graph, nodes };

  function integerLayer(node: Node): IntegerLayer | undefined {
    if (node.domain !== '' || (node.op !== 'ConvInteger' && node.op !== 'MatMulInteger')) return undefined;
    const left = factorOf(node.inputs[0]!, node.inputs[2] ?? '');
    const right = factorOf(node.inputs[1]!, node.inputs[3] ?? '');
    const cast = soleReader(node.outputs[0]!, 'Cast');
    if (left === undefined || right === undefined || cast === undefined) return undefined;
    if (left.kind === 'constant' && (right.kind === 'constant' || node.op === 'ConvInteger')) return undefined;
    const { dims } = staticTypeOf(graph, node.outputs[0]!);
    if (staticTypeOf(graph, cast.outputs[0]!).type !== 'float32') return undefined;
    const chain = [node, cast];
    const awaited = [left, right].flatMap((factor) => (factor.kind === 'quantized' ? [factor.by.outputs[1]!] : []));
    const needsScale = awaited.length === 1;
    // only a weight on the right has scales per channel
    const isMatrix = right.kind === 'constant' && constantOf(right.values)!.dims.length > 1;
    const channels = isMatrix ? channelsOf(node, dims) : { axis: 1, count: 0 };
    let scale: Float64Array | undefined;
    while (awaited.length > 0 || (needsScale && scale === undefined)) {
      const value = chain.at(-1)!.outputs[0]!;
      const times = soleReader(value, 'Mul');
      if (times === undefined) return undefined;
      for (const leaf of leavesOf(times.inputs[0] === value ? times.inputs[1]! : times.inputs[0]!)) {
        const constant = constantOf(leaf);
        const by = constant === undefined ? undefined : perChannel(constant, dims.length, channels);
        if (by !== undefined && needsScale) scale = scale === undefined ? by : multiplied(scale, by);
        else if (awaited.includes(leaf)) awaited.splice(awaited.indexOf(leaf), 1);
        else return undefined;
      }
      chain.push(times);
    }
    const common = { node, factors: [left, right] as const, scale };
    const add = node.op === 'ConvInteger' ? soleReader(chain.at(-1)!.outputs[0]!, 'Add') : undefined;
    const summand = add?.inputs.map(constantOf).find((constant) => constant !== undefined);
    const bias = summand?.type === 'float32' ? perChannel(summand, dims.length, channels) : undefined;
    if (add === undefined || bias === undefined) return { ...common, bias: undefined, chain };
    const whole = bias.length === 1 ? new Float64Array(channels.count).fill(bias[0]!) : bias;
    return { ...common, bias: whole, chain: [...chain, add] };
  }

  function factorOf(values: string, zeroName: string): Factor | undefined {
    if (constantOf(values) !== undefined) {
      const zero = constantOf(zeroName);
      if (zeroName !== '' && zero === undefined) return undefined;
      return { kind: 'constant', values, zero };
    }
    const by = producers.get(values);
    if (by?.op !== 'DynamicQuantizeLinear' || by.outputs[0] !== values || by.outputs[2] !== zeroName) return undefined;
    return { kind: 'quantized', by };
  }

  /** The tensors whose product a tensor is. */
  function leavesOf(name: string): string[] {
    const product = producers.get(name);
    if (product?.op !== 'Mul' || product.domain !== '') return [name];
    return product.inputs.flatMap(leavesOf);
  }

  function written({ node, factors, scale, bias, chain }: IntegerLayer): Node[] {
    const made: Node[] = [];
    const inputs = factors.map((factor) => {
      if (factor.kind === 'quantized') return activationOf(factor.by);
      const weight = weightOf(node, factor.values, factor.zero, scale!);
      made.push(weight);
      return weight.outputs[0]!;
    });
    if (bias !== undefined) {
      inputs.push(builder.initializer(builder.name(`${node.name}.bias`), tensorOf('float32', [bias.length], bias)));
    }
    return [...made, { ...node, op: operatorOf(node), inputs, outputs: [chain.at(-1)!.outputs[0]!] }];
  }

  /** What the integers of a DynamicQuantizeLinear stand for; several layers may read it. */
  function activationOf(by: Node): string {
    const known = afterQuantizing.get(by);
    if (known !== undefined) return known.outputs[0]!;
    const node = dequantize(by.outputs, `${by.inputs[0]!}/dequantized`, new Map());
    afterQuantizing.set(by, node);
    return node.outputs[0]!;
  }

  function weightOf(node: Node, values: string, zero: Tensor | undefined, scale: Float64Array): Node {
    const points = zero === undefined ? undefined : numbersOf(zero);
    const count = Math.max(scale.length, points?.length ?? 1);
    const dims = count === 1 ? [] : [count];
    const filled = (list: Float64Array): Float64Array =>
      list.length === count ? list : new Float64Array(count).fill(list[0]!);
    const inputs = [
      values,
      builder.initializer(builder.name(`${values}/scale`), tensorOf('float32', dims, filled(scale))),
    ];
    if (zero !== undefined && points !== undefined) {
      inputs.push(builder.initializer(builder.name(`${values}/zero`), tensorOf(zero.type, dims, filled(points))));
    }
    const axis = node.op === 'ConvInteger' ? 0 : constantOf(values)!.dims.length - 1;
    return dequantize(inputs, `${values}/dequantized`, count === 1 ? new Map() : new Map([['axis', int(axis)]]));
  }

  function dequantize(inputs: readonly string[], hint: string, attributes: ReadonlyMap<string, Attribute>): Node {
    const output = builder.name(hint);
    return { op: 'DequantizeLinear', domain: '', name: output, inputs, outputs: [output], attributes };
  }
}

interface Channels {
  /** Counted from the back, as constants broadcast. */
  readonly axis: number;
  readonly count: number;
}

function operatorOf(node: Node): string {
  return node.op === 'ConvInteger' ? 'Conv' : 'MatMul';
}

function channelsOf(node: Node, dims: readonly number[]): Channels {
  const axis = node.op === 'ConvInteger' ? dims.length - 1 : 1;
  return { axis, count: dims.at(-axis) ?? 1 };
}

/** A constant that is one number or one per channel of a layer's output, as numbers. */
function perChannel(constant: Tensor, rank: number, { axis, count }: Channels): Float64Array | undefined {
  const size = sizeOf(constant.dims);
  if (constant.dims.length > rank || !constant.type.startsWith('float')) return undefined;
  if (size !== 1 && (size !== count || constant.dims.at(-axis) !== count)) return undefined;
  return numbersOf(constant);
}

function multiplied(a: Float64Array, b: Float64Array): Float64Array {
  const [more, less] = a.length >= b.length ? [a, b] : [b, a];
  return more.map((value, index) => value * less[less.length === 1 ? 0 : index]!);
}
