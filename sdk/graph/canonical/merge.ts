import type { GraphBuilder } from '../builder.js';
import type { Attribute, Graph, Node, StaticType, Tensor } from '../graph.js';
import { intAttribute, intsAttribute, textAttribute } from '../graph.js';
import { biasOf, type LinearLayer, linearLayerOf, rebuilt } from '../linear-layer.js';
import { staticTypeOf } from '../shapes.js';
import { floatsOf, isNumeric, mappedTensor, numbersOf } from '../tensors.js';
import { type ChannelAffine, channelAffineOf } from './affine.js';
import { addNode, type Draft, draftOf, replaceNode, soleSource } from './draft.js';

/**
 * Merges into every linear layer with constant weights what is linear around it, where that is exact: BatchNormalization and
 * constant Add, Sub, Mul per channel after it, BatchNormalization before it, a zero Pad before a Conv, a bias after a MatMul.
 * Each merge adds a sentence to `notes`. `builder` takes the new weights.
 */
export function mergeLinear(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const draft = draftOf(graph);
  const merge: Merge = {
    draft,
    builder,
    notes,
    typeOf: (name) => staticTypeOf(graph, name),
    constantOf: (name) => builder.graph.initializers.get(name),
  };
  for (const node of graph.nodes) {
    if (mergeIntoBefore(node, merge)) continue;
    let current = node;
    current = mergePad(current, merge) ?? current;
    current = mergeFromBefore(current, merge) ?? current;
    addNode(draft, current);
  }
  return { ...graph, nodes: draft.nodes };
}

interface Merge {
  readonly draft: Draft;
  readonly builder: GraphBuilder;
  readonly notes: string[];
  readonly typeOf: (name: string) => StaticType;
  readonly constantOf: (name: string) => Tensor | undefined;
}

/** A linear layer whose channels lie along dimension 1, as those of BatchNormalization do. */
function channelLayerOf(node: Node, { constantOf, typeOf }: Merge): LinearLayer | undefined {
  const layer = linearLayerOf(node, constantOf);
  const isMatrix = node.op === 'Gemm' || node.op === 'MatMul';
  return isMatrix && typeOf(node.inputs[0]!).dims.length !== 2 ? undefined : layer;
}

/** BatchNormalization, or a constant per channel, after a linear layer whose output nothing else reads. */
function mergeIntoBefore(node: Node, merge: Merge): boolean {
  const affine = channelAffineOf(node, merge.typeOf, merge.constantOf);
  if (affine === undefined) return false;
  const source = soleSource(merge.draft, node.inputs[affine.data]);
  const layer = source === undefined ? undefined : channelLayerOf(source.node, merge);
  if (source === undefined || layer === undefined || layer.outputs !== affine.scale.length) return false;
  const { scale, shift } = affine;
  const bias = biasOf(layer).map((value, output) => scale[output]! * value + shift[output]!);
  const unscaled = scale.every((value) => value === 1);
  const weight = unscaled
    ? null
    : mappedTensor(layer.weight, (value, position) => layer.alpha * value * scale[layer.outputAt(position)]!);
  replaceNode(merge.draft, source.index, rebuilt(layer, weight, bias, node.outputs[0]!, merge.builder));
  const what = unscaled ? 'bias' : 'weights';
  merge.notes.push(`${node.op} "${node.name}" was merged into the ${what} of ${layer.node.op} "${layer.node.name}".`);
  return true;
}

/** BatchNormalization before a Gemm, or before a Conv whose border sees no padding (or is not shifted), read by nothing else. */
function mergeFromBefore(node: Node, merge: Merge): Node | undefined {
  if (node.op !== 'Gemm' && node.op !== 'Conv') return undefined;
  const source = soleSource(merge.draft, node.inputs[0]);
  if (source?.node.op !== 'BatchNormalization') return undefined;
  const affine = channelAffineOf(source.node, merge.typeOf, merge.constantOf);
  const layer = channelLayerOf(node, merge);
  if (affine === undefined || layer === undefined || layer.inputs !== affine.scale.length) return undefined;
  if (node.op === 'Gemm' && intAttribute(node, 'transA', 0) !== 0) return undefined;
  const padded = intsAttribute(node, 'pads', []).some((pad) => pad !== 0);
  // zeros of the padding lie behind the BatchNormalization: a shift in front of the padding would shift them too
  if (padded && affine.shift.some((value) => value !== 0)) return undefined;
  const merged = absorbed(layer, affine);
  const result = rebuilt(layer, merged.weight, merged.bias, node.outputs[0]!, merge.builder);
  merge.notes.push(
    `BatchNormalization "${source.node.name}" was merged into the weights of ${node.op} "${node.name}" after it.`,
  );
  return { ...result, inputs: [source.node.inputs[0]!, ...result.inputs.slice(1)] };
}

/** W (s x + t) + b = (W s) x + (W t + b). */
function absorbed(layer: LinearLayer, { scale, shift }: ChannelAffine): { weight: Tensor; bias: Float64Array } {
  const bias = biasOf(layer);
  for (const [position, value] of floatsOf(layer.weight).entries()) {
    bias[layer.outputAt(position)]! += layer.alpha * value * shift[layer.inputAt(position)]!;
  }
  const weight = mappedTensor(layer.weight, (value, position) => layer.alpha * value * scale[layer.inputAt(position)]!);
  return { weight, bias };
}

/** A constant zero Pad of the spatial dimensions before a Conv becomes the Conv's own padding. */
function mergePad(node: Node, merge: Merge): Node | undefined {
  if (node.op !== 'Conv' || node.domain !== '') return undefined;
  const source = soleSource(merge.draft, node.inputs[0]);
  if (source === undefined || source.node.op !== 'Pad' || source.node.domain !== '') return undefined;
  const pad = source.node;
  if (textAttribute(pad, 'mode', 'constant') !== 'constant') return undefined;
  const amounts = merge.constantOf(pad.inputs[1] ?? '');
  const value = pad.inputs[2] ?? '';
  const fill = value === '' ? undefined : merge.constantOf(value);
  if (amounts === undefined || (value !== '' && (fill === undefined || !isNumeric(fill.type)))) return undefined;
  if (fill !== undefined && numbersOf(fill)[0] !== 0) return undefined;
  const rank = merge.typeOf(node.inputs[0]!).dims.length;
  const all = padsByDimension(pad, amounts, rank, merge);
  if (all === undefined || all.some((amount, at) => amount < 0 || (at % rank < 2 && amount !== 0))) return undefined;
  const spatial = rank - 2;
  const own = intsAttribute(node, 'pads', new Array<number>(2 * spatial).fill(0));
  const pads = own.map((amount, at) => amount + (at < spatial ? all[at + 2]! : all[at + 4]!));
  merge.notes.push(`Pad "${pad.name}" was merged into the padding of Conv "${node.name}".`);
  return {
    ...node,
    inputs: [pad.inputs[0]!, ...node.inputs.slice(1)],
    attributes: new Map<string, Attribute>([...node.attributes, ['pads', { kind: 'ints', value: pads }]]),
  };
}

/** Pads as one amount before and one after every dimension; opset 18 may name axes. */
function padsByDimension(pad: Node, amounts: Tensor, rank: number, merge: Merge): number[] | undefined {
  const values = [...numbersOf(amounts)];
  const axesName = pad.inputs[3] ?? '';
  if (axesName === '') return values;
  const axes = merge.constantOf(axesName);
  if (axes === undefined) return undefined;
  const all = new Array<number>(2 * rank).fill(0);
  const count = values.length / 2;
  for (const [index, axis] of numbersOf(axes).entries()) {
    const at = axis < 0 ? axis + rank : axis;
    all[at] = values[index]!;
    all[at + rank] = values[index + count]!;
  }
  return all;
}
