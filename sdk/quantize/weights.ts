import { createBuilder, type GraphBuilder } from '../graph/builder.js';
import { withoutDeadNodes } from '../graph/canonical/draft.js';
import type { Graph, Model, Node, Tensor } from '../graph/graph.js';
import { int, intAttribute, sizeOf } from '../graph/graph.js';
import { type LinearLayer, linearLayerOf } from '../graph/linear-layer.js';
import { numbersOf, tensorOf } from '../graph/tensors.js';
import { hasInt4Form, storeInt4Weights, withInt4 } from './int4.js';
import { type QuantizedWeights, quantizeWeights } from './steps.js';

/** The dimension of its weights that a layer has one scale per element of. */
export interface ScaleAxis {
  readonly axis: number;
  readonly count: number;
  /** Index along the axis of the weight at a flat position. */
  readonly at: (position: number) => number;
}

/** The output channels; those of a transposed convolution in groups share the scales of their place in the group. */
export function scaleAxisOf({ node, weight: { dims }, outputs, outputAt }: LinearLayer): ScaleAxis {
  if (node.op === 'ConvTranspose') {
    const inner = sizeOf(dims.slice(2));
    return { axis: 1, count: dims[1]!, at: (position) => Math.floor(position / inner) % dims[1]! };
  }
  const isFirst = node.op === 'Conv' || intAttribute(node, 'transB', 0) !== 0;
  return { axis: isFirst ? 0 : 1, count: outputs, at: outputAt };
}

/**
 * int8 weights of a layer behind DequantizeLinear: the name of what they stand for, and that of their scales. Weights are called
 * w, w_1, w_2 … in the order of the layers: every name stands in the file half a dozen times, which small models notice.
 */
export function storeWeights(
  builder: GraphBuilder,
  layer: LinearLayer,
  { integers, scales }: QuantizedWeights,
): { readonly weights: string; readonly scale: string } {
  const stem = builder.name('w');
  const tensor: Tensor = { type: 'int8', dims: layer.weight.dims, bytes: new Uint8Array(integers.buffer) };
  const scale = builder.initializer(builder.name(`${stem}/scale`), tensorOf('float32', [scales.length], scales));
  // ONNX Runtime finds the integer kernel of a Gemm only where the zero points are written out; a Conv needs none
  const zeros = tensorOf('int8', [scales.length], new Int8Array(scales.length));
  const zeroPoint = layer.node.op === 'Gemm' ? [builder.initializer(builder.name(`${stem}/zero_point`), zeros)] : [];
  return { weights: storeIntegers(builder, stem, tensor, [scale, ...zeroPoint], scaleAxisOf(layer).axis), scale };
}

/** Stores integers under a fresh name, behind steps along an axis, and gives the name of what they stand for. */
export function storeIntegers(
  builder: GraphBuilder,
  stem: string,
  integers: Tensor,
  steps: readonly string[],
  axis: number,
): string {
  builder.initializer(stem, integers);
  return builder.node(
    'DequantizeLinear',
    [stem, ...steps],
    { axis: int(axis) },
    { outputs: [builder.name(`${stem}/real`)] },
  );
}

/**
 * Makes the weights of the chosen layers integers behind DequantizeLinear; what they are multiplied with stays in float32. The file
 * shrinks, and so does what a GPU has to read. 4-bit integers need a newer version of ONNX's operators, which the model then has.
 */
export function writeWeights(model: Model, chosen: (node: Node) => boolean, type: 'int8' | 'int4'): Model {
  const { graph } = model;
  const builder = createBuilder({ ...graph, nodes: [] });
  const raised = type === 'int4' ? withInt4(model, graph, builder) : { model, nodes: graph.nodes };
  for (const node of raised.nodes) {
    const layer = chosen(node) ? linearLayerOf(node, (name) => graph.initializers.get(name)) : undefined;
    const inputs = [...node.inputs];
    if (layer !== undefined) {
      const { count, at } = scaleAxisOf(layer);
      inputs[1] =
        type === 'int4' && hasInt4Form(layer)
          ? storeInt4Weights(builder, layer)
          : storeWeights(builder, layer, quantizeWeights(numbersOf(layer.weight), count, at)).weights;
    }
    builder.nodes(node.op, inputs, node.outputs, Object.fromEntries(node.attributes), node);
  }
  return { ...raised.model, graph: finished(graph, builder.graph.nodes, builder.graph.initializers) };
}

/** The graph with new nodes, without weights that nothing reads and without types of inner values, which would only fill the file. */
export function finished(graph: Graph, nodes: readonly Node[], initializers: ReadonlyMap<string, Tensor>): Graph {
  return { ...graph, ...withoutDeadNodes(nodes, initializers, graph.outputs), values: new Map() };
}
