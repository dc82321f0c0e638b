import type { Graph, Node } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import { channelAxisOf, overChannels, placeAxesOf } from './axes.js';
import { emitBackward, explainedInputs, pathTo, supportOf } from './backward.js';
import type { Emitter, Value } from './emitter.js';
import { invalid } from './invalid.js';
import type { Method } from './method.js';
import { axisWeights } from './operators/interpolation.js';
import { forwardValue } from './readings.js';
import type { Explanation, Scene } from './scene.js';

/** Operators whose output belongs to the same place as their input; Concat joins the channels of branches. */
const KEEPS_PLACES = new Set([
  ...['Relu', 'LeakyRelu', 'PRelu', 'Elu', 'Celu', 'Selu', 'Clip', 'HardSigmoid', 'HardSwish', 'Sigmoid', 'Tanh'],
  ...['Softplus', 'Mish', 'Gelu', 'Erf', 'BatchNormalization', 'Add', 'Sub', 'Sum', 'Mul', 'Div', 'Concat'],
  ...['Identity', 'Dropout', 'QuantizeLinear', 'DequantizeLinear'],
]);

const LINEARLY = {
  mode: 'linear',
  transformation: 'half_pixel',
  nearest: '',
  cubic: 0,
  excludeOutside: false,
  antialias: false,
  crop: [0, 1],
} as const;

const sameSpace = (a: readonly number[], b: readonly number[]): boolean => a.slice(2).join() === b.slice(2).join();

/** The last convolution that still has places, and what its activation, BatchNormalization and residual sum make of it. */
function lastActivation(graph: Graph, path: ReadonlySet<string>): string {
  const dimsOf = (name: string): number[] => (graph.values.get(name)?.dims ?? []).map(Number);
  const last = graph.nodes.findLast(
    ({ op, outputs }) => op.startsWith('Conv') && path.has(outputs[0]!) && sizeOf(dimsOf(outputs[0]!).slice(2)) > 1,
  );
  if (last === undefined) return invalid('layer', 'has to be given: the model has no convolution');
  let layer = last.outputs[0]!;
  const dims = dimsOf(layer);
  const following = new Set([layer]);
  for (const { op, inputs, outputs } of graph.nodes) {
    const [output] = outputs;
    if (output === undefined || !path.has(output) || !KEEPS_PLACES.has(op)) continue;
    if (!inputs.some((input) => following.has(input)) || !sameSpace(dimsOf(output), dims)) continue;
    following.add(output);
    if (graph.values.get(output)?.type === 'float32') layer = output;
  }
  return layer;
}

/** The tensor whose channels are weighted: the one that is given, else the last convolution's activation. */
function layerOf({ graph, logits }: Scene, method: Method): Value {
  const path = pathTo(graph, logits);
  const name = method.layer ?? lastActivation(graph, path);
  if (!path.has(name)) {
    const near = [...path].filter((tensor) => tensor.includes(name) || name.includes(tensor)).slice(0, 5);
    const meant = near.length > 0 ? `; did you mean ${near.join(', ')}?` : '';
    return invalid('layer', `is "${name}", no tensor between the inputs and the explained output${meant}`);
  }
  const layer = forwardValue(graph, name);
  if (layer.dims.length < 3) {
    invalid('layer', `is "${name}" of shape [${layer.dims.join(', ')}]; it must be [batch, channels, …places]`);
  }
  return layer;
}

/** Throws where a unit between the layer and the logits is not linear: there is no one weight per channel then, whatever the input is. */
function checkLinear({ graph, logits }: Scene, layer: string): void {
  const path = pathTo(graph, logits, [layer]);
  const isLinear = (node: Node): boolean => {
    const [first, second] = node.inputs.map((input) => path.has(input));
    if (node.op === 'Mul') return first !== second;
    if (node.op === 'Div') return first === true && second === false;
    return supportOf(graph, node).rescale === 'linear';
  };
  for (const node of graph.nodes) {
    const between = node.outputs.some((output) => path.has(output)) && !node.outputs.includes(layer);
    if (between && !isLinear(node)) {
      invalid(
        'method',
        `is "cam", but node "${node.name}" (${node.op}) behind "${layer}" is not linear: use grad-cam, or give a later "layer"`,
        { node: node.name },
      );
    }
  }
}

/**
 * Linear interpolation to `size` places (half-pixel centres), one small matrix per axis: a product with a constant runs alike on
 * every device and for every number of axes, which Resize does not.
 */
function enlarged(emit: Emitter, map: Value, size: readonly number[]): Value {
  return size.reduce((value, to, place) => {
    const axis = place + 2;
    const from = value.dims[axis]!;
    if (from === to) return value;
    const dims = value.dims.map((dim, k) => (k === axis ? to : dim));
    const [outer, inner] = [sizeOf(value.dims.slice(0, axis)), sizeOf(value.dims.slice(axis + 1))];
    const matrix = emit.constant(axisWeights({ ...LINEARLY, length: from, resized: to, scale: to / from }).matrix, [
      1,
      to,
      from,
    ]);
    const product = emit.op('MatMul', [matrix, emit.reshape(value, [outer, from, inner])], [outer, to, inner]);
    return emit.reshape(product, dims);
  }, map);
}

/** The map over the layer's places [batch, 1, …places]: channels times their weights, for Grad-CAM the positive part. */
function mapOf(emit: Emitter, layer: Value, gradient: Value, method: Method): Value {
  if (method.attribution === 'cam') return emit.reduce('Sum', emit.mul(layer, gradient), [1]);
  const places = layer.dims.map((_, axis) => axis).slice(2);
  const count = sizeOf(layer.dims.slice(2));
  const weights = emit.mul(emit.reduce('Sum', gradient, places), emit.scalar(1 / count));
  return emit.positive(emit.reduce('Sum', emit.mul(layer, weights), [1]));
}

/** The map in an input's own size, one value per place. */
function mapAt(emit: Emitter, map: Value, input: Value, layer: Value, channelAxis: number | undefined): Value {
  const places = placeAxesOf(input.dims, channelAxis);
  if (places.length !== layer.dims.length - 2 || input.dims[0] !== layer.dims[0]) {
    invalid(
      'layer',
      `is "${layer.name}" of shape [${layer.dims.join(', ')}], whose places are not those of input "${input.name}" of shape [${input.dims.join(', ')}]`,
    );
  }
  const size = places.map((axis) => input.dims[axis]!);
  const dims = input.dims.map((dim, axis) => (axis === channelAxis ? 1 : dim));
  return emit.reshape(enlarged(emit, map, size), dims);
}

/**
 * `cam` (Zhou et al. 2016), `grad-cam` and `guided-grad-cam` (Selvaraju et al. 2017). CAM is written as activation times gradient:
 * under global average pooling over p places and a linear layer, that is w_c·A_c / p, the share of every place in the logit.
 */
export function classActivation(scene: Scene, method: Method): Explanation {
  const { graph, readings, emit, logits, start, composite, options, inputs, taps } = scene;
  const layer = layerOf(scene, method);
  if (method.attribution === 'cam') checkLinear(scene, layer.name);
  const guided = method.attribution === 'guided-grad-cam';
  const chainRule = { ...composite, rules: composite.rules.filter(({ rule }) => rule === 'gradient') };
  const wanted = new Set([layer.name, ...(guided ? [] : taps)]);
  const toLayer = emitBackward(graph, readings, emit, logits, start, wanted, chainRule, guided ? {} : options, {
    until: [layer.name],
  });
  const gradient = toLayer.relevance.get(layer.name) ?? emit.filled(0, layer.dims);
  const map = mapOf(emit, readings.read(layer.name), gradient, method);

  const toInputs = guided
    ? emitBackward(graph, readings, emit, logits, start, new Set([...inputs, ...taps]), composite, options)
    : undefined;
  const relevance = new Map((toInputs ?? toLayer).relevance);
  const reached = pathTo(graph, layer.name, explainedInputs(graph));
  for (const name of inputs.filter((input) => reached.has(input))) {
    const input = forwardValue(graph, name);
    const channelAxis = channelAxisOf(input.dims, method.channelAxis);
    const perPlace = mapAt(emit, map, input, layer, channelAxis);
    const fine = toInputs && (toInputs.relevance.get(name) ?? emit.filled(0, input.dims));
    relevance.set(name, fine ? emit.mul(fine, perPlace) : overChannels(emit, perPlace, input.dims, channelAxis));
  }
  const explained = new Map(toInputs?.explained);
  for (const [node, entry] of toLayer.explained) {
    const other = explained.get(node);
    const backward = entry.backward + (other?.backward ?? 0);
    explained.set(node, {
      ...(other ?? entry),
      backward,
      operators: [...entry.operators, ...(other?.operators ?? [])],
    });
  }
  return { relevance, explained, audit: (toInputs ?? toLayer).audit };
}
