import type { GraphBuilder } from '../graph/builder.js';
import type { Graph } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import { biasOf, type LinearLayer, rebuilt } from '../graph/linear-layer.js';
import { numbersOf, tensorOf } from '../graph/tensors.js';
import type { ChannelClasses } from './channel-classes.js';

/**
 * Scales the channels between layers so that they use the range of their tensors alike: what a layer gives is divided by a scale per
 * channel, the weights of the layers that read it are multiplied by it (Nagel et al. 2019, with the ranges that calibration saw for
 * those of the weights). Weights have a scale per output channel, so before a depthwise layer that is free; before a layer that mixes
 * channels the scale is the geometric mean of what activations and weights ask for (Xiao et al. 2023). Channels that are added to
 * each other have one scale.
 *
 * `largest` has the greatest absolute value of every channel of each of the `tensors`; `builder` takes the new weights. The function
 * of the graph stays the same up to rounding.
 */
export function equalize(
  graph: Graph,
  classes: ChannelClasses,
  largest: ReadonlyMap<string, Float64Array>,
  builder: GraphBuilder,
): Graph {
  const scales = scalesOf(classes, largest);
  const layers = new Map(classes.layers.map((entry) => [entry.layer.node, entry]));
  const nodes = graph.nodes.map((node) => {
    const entry = layers.get(node);
    if (entry === undefined || (entry.inputs === undefined && entry.outputs === undefined)) return node;
    const { layer, inputs, outputs } = entry;
    const before = (channel: number): number => (inputs === undefined ? 1 : scales[inputs[channel]!]!);
    const after = (channel: number): number => (outputs === undefined ? 1 : scales[outputs[channel]!]!);
    const weight = numbersOf(layer.weight).map(
      (value, at) => (layer.alpha * value * before(layer.inputAt(at))) / after(layer.outputAt(at)),
    );
    const bias = biasOf(layer).map((value, channel) => value / after(channel));
    return rebuilt(layer, tensorOf('float32', layer.weight.dims, weight), bias, node.outputs[0]!, builder);
  });
  return { ...graph, nodes, initializers: builder.graph.initializers };
}

/** Scales further apart would only turn noise into signal. */
const LARGEST_SCALE = 2 ** 10;

/** The factor of each class of channels, at most 1. */
function scalesOf(
  { layers, tensors, families }: ChannelClasses,
  largest: ReadonlyMap<string, Float64Array>,
): Float64Array {
  const shares = new Float64Array(families.length);
  const demands = new Float64Array(families.length);
  for (const [name, channels] of tensors) {
    const values = largest.get(name)!;
    const greatest = values.reduce((a, b) => Math.max(a, b), 0);
    for (const [channel, index] of channels.entries()) {
      if (greatest > 0) shares[index] = Math.max(shares[index]!, values[channel]! / greatest);
    }
  }
  for (const { layer, inputs } of layers) {
    if (inputs === undefined || isDepthwise(layer)) continue;
    const columns = columnRanges(layer);
    for (const [channel, index] of inputs.entries()) demands[index] = Math.max(demands[index]!, columns[channel]!);
  }
  const mixed = new Set(
    layers.flatMap(({ layer, inputs }) => (inputs === undefined || isDepthwise(layer) ? [] : [...inputs])),
  );
  // channels that nothing makes, or nothing reads, scale as the rest
  const made = new Set(layers.flatMap(({ outputs }) => [...(outputs ?? [])]));
  const scales = shares.map((share, index) => {
    const demand = mixed.has(index) ? demands[index]! : 1;
    if (share === 0 || demand === 0 || !made.has(index)) return Number.NaN;
    return mixed.has(index) ? Math.sqrt(share / demand) : share;
  });
  const most = new Map<number, number>();
  for (const [index, scale] of scales.entries()) {
    const family = families[index]!;
    if (!Number.isNaN(scale)) most.set(family, Math.max(most.get(family) ?? 0, scale));
  }
  return scales.map((scale, index) =>
    Number.isNaN(scale) ? 1 : Math.max(1 / LARGEST_SCALE, scale / most.get(families[index]!)!),
  );
}

function isDepthwise({ inputs, outputs, weight: { dims } }: LinearLayer): boolean {
  return inputs === outputs && sizeOf(dims) === outputs * sizeOf(dims.slice(2));
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
