import type { GraphBuilder } from '../graph/builder.js';
import type { Attribute, Graph, Model, Node, Tensor } from '../graph/graph.js';
import { int, intAttribute, sizeOf } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';
import { numbersOf, tensorOf } from '../graph/tensors.js';
import { largestWeight, roundHalfToEven } from './steps.js';

/** Weights that share a scale. */
export const int4Block = 32;

/** Shares of the largest weight of a block that its scale is tried with: rounding all finer may be worth clipping one. */
const SHARES = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6];

/** A block of weights as integers of −7…7. */
export interface Int4Block {
  readonly integers: Int8Array;
  /** A float32 number above 0. */
  readonly scale: number;
}

/** Rounds a block with that of {@link SHARES} which makes the least squared error. */
export function quantizeBlock(weights: ArrayLike<number>): Int4Block {
  const largest = Array.from(weights).reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  if (largest === 0) return { integers: new Int8Array(weights.length), scale: 1 };
  let best: { error: number; block: Int4Block } | undefined;
  for (const share of SHARES) {
    const scale = Math.fround((share * largest) / largestWeight.int4);
    let error = 0;
    const integers = Int8Array.from(weights, (weight) => {
      const integer = Math.max(-largestWeight.int4, Math.min(largestWeight.int4, roundHalfToEven(weight / scale)));
      error += (weight - integer * scale) ** 2;
      return integer;
    });
    if (best === undefined || error < best.error) best = { error, block: { integers, scale } };
  }
  return best!.block;
}

/** Whether a layer's weights can lie in blocks along what is summed: all but those of transposed convolutions. */
export function hasInt4Form({ node }: LinearLayer): boolean {
  return node.op !== 'ConvTranspose';
}

/**
 * int4 weights of a layer behind DequantizeLinear, in blocks along what each output sums over, and the name of what they stand for.
 * A matrix lies as it did; the kernels of a convolution lie as the rows of one, and get their shape back by a Reshape.
 */
export function storeInt4Weights(builder: GraphBuilder, layer: LinearLayer): string {
  const { node, weight, outputs } = layer;
  const values = numbersOf(weight);
  const isFirst = node.op === 'Conv' || intAttribute(node, 'transB', 0) !== 0;
  const summed = values.length / outputs;
  const place = (output: number, index: number): number =>
    isFirst ? output * summed + index : index * outputs + output;
  const blocks = Math.ceil(summed / int4Block);
  const nibbles = new Int8Array(values.length);
  const scales = new Float32Array(outputs * blocks);
  for (let output = 0; output < outputs; output++) {
    for (let block = 0; block < blocks; block++) {
      const start = block * int4Block;
      const length = Math.min(int4Block, summed - start);
      const own = Float64Array.from({ length }, (_, k) => values[place(output, start + k)]!);
      const { integers, scale } = quantizeBlock(own);
      for (let k = 0; k < length; k++) nibbles[place(output, start + k)] = integers[k]!;
      scales[isFirst ? output * blocks + block : block * outputs + output] = scale;
    }
  }
  const stem = builder.name('w');
  const dims = isFirst ? [outputs, summed] : [summed, outputs];
  builder.initializer(stem, packed(nibbles, dims));
  const scaleDims = isFirst ? [outputs, blocks] : [blocks, outputs];
  const scale = builder.initializer(builder.name(`${stem}/scale`), tensorOf('float32', scaleDims, scales));
  const attributes = { axis: int(isFirst ? 1 : 0), block_size: int(int4Block) };
  const name = (what: string) => ({ outputs: [builder.name(`${stem}/${what}`)] });
  if (weight.dims.length === 2) return builder.node('DequantizeLinear', [stem, scale], attributes, name('real'));
  const rows = builder.node('DequantizeLinear', [stem, scale], attributes, name('rows'));
  return builder.node('Reshape', [rows, builder.ints(weight.dims)], {}, name('real'));
}

/** Two to a byte, the first in the low half. */
function packed(integers: Int8Array, dims: readonly number[]): Tensor {
  const bytes = new Uint8Array(Math.ceil(sizeOf(dims) / 2));
  for (let at = 0; at < integers.length; at++) bytes[at >> 1]! |= (integers[at]! & 15) << (at % 2 === 0 ? 0 : 4);
  return { type: 'int4', dims, bytes };
}

/** The version of ai.onnx that has blocks of int4. */
const INT4_OPSET = 21;

/** A model of ai.onnx 17 or newer in the version that has int4: axes of reductions became inputs on the way. */
export function withInt4(model: Model, graph: Graph, builder: GraphBuilder): { model: Model; nodes: readonly Node[] } {
  const opset = model.opsets.get('') ?? 0;
  const nodes = graph.nodes.map((node): Node => {
    const axes = node.attributes.get('axes');
    if (opset >= 18 || node.domain !== '' || !node.op.startsWith('Reduce') || axes?.kind !== 'ints') return node;
    const attributes = new Map<string, Attribute>([...node.attributes].filter(([name]) => name !== 'axes'));
    return { ...node, inputs: [node.inputs[0]!, builder.ints(axes.value)], attributes };
  });
  const opsets = new Map(model.opsets).set('', Math.max(INT4_OPSET, opset));
  return { model: { ...model, opsets, irVersion: Math.max(10, model.irVersion) }, nodes };
}
