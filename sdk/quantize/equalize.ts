import type { GraphBuilder } from '../graph/builder.js';
import { addNode, type Draft, draftOf, replaceNode, soleSource } from '../graph/canonical/draft.js';
import type { Graph, Node, Tensor } from '../graph/graph.js';
import { floatAttribute, sizeOf } from '../graph/graph.js';
import { biasOf, type LinearLayer, linearLayerOf, rebuilt } from '../graph/linear-layer.js';
import { staticTypeOf } from '../graph/shapes.js';
import { numbersOf, tensorOf } from '../graph/tensors.js';

/** Two layers of which the second reads the channels of the first, and nothing else does. */
export interface EqualizablePair {
  readonly first: Node;
  readonly second: Node;
  /** What the second layer reads. */
  readonly tensor: string;
}

/**
 * Operators f with f(s·x) = s·f(x) for every s > 0 and each channel by itself. Clip is none of them: its bound would have to move
 * with the scale of each channel.
 */
const homogeneous: ReadonlySet<string> = new Set([
  ...[
    'Relu',
    'LeakyRelu',
    'PRelu',
    'MaxPool',
    'AveragePool',
    'GlobalAveragePool',
    'GlobalMaxPool',
    'Flatten',
    'Reshape',
  ],
]);

/** Pairs of linear layers whose channels can be scaled against each other without any change of the function. */
export function equalizablePairs(graph: Graph): readonly EqualizablePair[] {
  const draft = draftOf(graph);
  for (const node of graph.nodes) addNode(draft, node);
  const constantOf = (name: string): Tensor | undefined => graph.initializers.get(name);
  return graph.nodes.flatMap((second) => {
    const layer = linearLayerOf(second, constantOf);
    const tensor = second.inputs[0]!;
    const first = layer === undefined ? undefined : channelSource(graph, draft, tensor);
    const source = first === undefined ? undefined : linearLayerOf(first, constantOf);
    if (layer === undefined || source === undefined || source.outputs !== layer.inputs) return [];
    return [{ first: source.node, second, tensor }];
  });
}

/** The node that makes the channels of a tensor, beyond operators that keep them apart and scale with them. */
function channelSource(graph: Graph, draft: Draft, tensor: string): Node | undefined {
  let source = soleSource(draft, tensor);
  while (source !== undefined && homogeneous.has(source.node.op) && source.node.domain === '') {
    if (!keepsChannels(graph, source.node)) return undefined;
    source = soleSource(draft, source.node.inputs[0]);
  }
  return source?.node;
}

/** A Reshape keeps channels apart where only dimensions of 1 follow them, a leaky slope of a negative sign keeps no sign. */
function keepsChannels(graph: Graph, node: Node): boolean {
  if (node.outputs.length > 1) return false;
  if (node.op === 'LeakyRelu') return floatAttribute(node, 'alpha', 0.01) >= 0;
  if (node.op === 'PRelu') {
    const slope = graph.initializers.get(node.inputs[1]!);
    return slope !== undefined && numbersOf(slope).every((value) => value >= 0);
  }
  if (node.op !== 'Reshape' && node.op !== 'Flatten') return true;
  const from = staticTypeOf(graph, node.inputs[0]!).dims;
  const to = staticTypeOf(graph, node.outputs[0]!).dims;
  return from[0] === to[0] && from[1] === to[1] && sizeOf(from.slice(2)) === 1;
}

/**
 * Scales the channels between two layers so that they use the range of the tensor alike: weights and bias of the first are divided
 * by a scale per channel, the weights of the second multiplied by it (Nagel et al. 2019, with the ranges that calibration saw for
 * those of the weights). Weights have a scale per output channel, so between a layer and a depthwise one that is free; before a
 * layer that mixes channels the scale is the geometric mean of what activations and weights ask for (Xiao et al. 2023).
 *
 * `largest` has the greatest absolute value of every channel of `pair.tensor`; `builder` takes the new weights. The function of
 * the graph stays the same up to rounding.
 */
export function equalize(
  graph: Graph,
  pairs: readonly { readonly pair: EqualizablePair; readonly largest: Float64Array }[],
  builder: GraphBuilder,
): Graph {
  const draft = draftOf(graph);
  for (const node of graph.nodes) addNode(draft, node);
  const layerNow = (node: Node): LinearLayer =>
    linearLayerOf(draft.nodes[draft.producers.get(node.outputs[0]!)!]!, (name) =>
      builder.graph.initializers.get(name),
    )!;
  for (const { pair, largest } of pairs) {
    const [first, second] = [layerNow(pair.first), layerNow(pair.second)];
    const scales = channelScales(largest, second);
    for (const { layer, scale } of [
      { layer: first, scale: (position: number) => 1 / scales[first.outputAt(position)]! },
      { layer: second, scale: (position: number) => scales[second.inputAt(position)]! },
    ]) {
      const weight = numbersOf(layer.weight).map((value, position) => layer.alpha * value * scale(position));
      const bias = biasOf(layer);
      if (layer === first) for (let channel = 0; channel < bias.length; channel++) bias[channel]! /= scales[channel]!;
      const output = layer.node.outputs[0]!;
      replaceNode(
        draft,
        draft.producers.get(output)!,
        rebuilt(layer, tensorOf('float32', layer.weight.dims, weight), bias, output, builder),
      );
    }
  }
  return { ...graph, nodes: draft.nodes, initializers: builder.graph.initializers };
}

/** Scales further apart would only turn noise into signal. */
const LARGEST_SCALE = 2 ** 10;

function channelScales(largest: Float64Array, second: LinearLayer): Float64Array {
  const isDepthwise =
    second.inputs === second.outputs &&
    sizeOf(second.weight.dims) === second.outputs * sizeOf(second.weight.dims.slice(2));
  const greatest = largest.reduce((a, b) => Math.max(a, b), 0);
  const demands = isDepthwise ? undefined : columnRanges(second);
  const scales = largest.map((value, channel) => {
    const demand = demands?.[channel];
    if (value === 0 || demand === 0) return 1;
    const share = value / greatest;
    return demand === undefined ? share : Math.sqrt(share / demand);
  });
  const most = scales.reduce((a, b) => Math.max(a, b), 0);
  return scales.map((scale) => Math.max(1 / LARGEST_SCALE, scale / most));
}

/** How much of its output channels' ranges of weights each input channel uses at most, 0…1. */
function columnRanges(layer: LinearLayer): Float64Array {
  const weights = numbersOf(layer.weight);
  const rows = new Float64Array(layer.outputs);
  for (let at = 0; at < weights.length; at++) {
    const output = layer.outputAt(at);
    rows[output] = Math.max(rows[output]!, Math.abs(weights[at]!));
  }
  const columns = new Float64Array(layer.inputs);
  for (let at = 0; at < weights.length; at++) {
    const input = layer.inputAt(at);
    const row = rows[layer.outputAt(at)]!;
    if (row > 0) columns[input] = Math.max(columns[input]!, Math.abs(weights[at]!) / row);
  }
  return columns;
}
