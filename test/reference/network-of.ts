import type { Tensor } from '../../sdk/graph/graph.js';
import {
  floatAttribute,
  type Graph,
  intAttribute,
  intsAttribute,
  type Model,
  type Node,
  textAttribute,
} from '../../sdk/graph/graph.js';
import { type Dense, dense } from './dense.js';
import type { Layer, Network, Operation } from './layers.js';

/** Reads an ONNX model back as a description, for the operators that the reference networks use. Throws RangeError at any other. */
export function networkOf({ graph }: Model): Network {
  const constants = new Map<string, Tensor>(graph.initializers);
  for (const node of graph.nodes) {
    const value = node.attributes.get('value');
    if (node.op === 'Constant' && value?.kind === 'tensor') constants.set(node.outputs[0]!, value.value);
  }
  const layers = graph.nodes
    .filter((node) => node.op !== 'Constant')
    .map((node): Layer => {
      const inputs = node.inputs.filter((name) => !constants.has(name) && name !== '');
      return { name: node.outputs[0]!, inputs, ...operationOf(node, (index) => floatsOf(node, constants, index)) };
    });
  return { inputs: inputsOf(graph), layers, logits: graph.outputs[0]!.name };
}

function inputsOf(graph: Graph): Network['inputs'] {
  return graph.inputs.map(({ name, dims }) => ({ name, dims: dims.map((dim) => (typeof dim === 'number' ? dim : 1)) }));
}

function floatsOf(node: Node, constants: ReadonlyMap<string, Tensor>, index: number): Dense {
  const tensor = constants.get(node.inputs[index] ?? '');
  if (tensor === undefined) throw new RangeError(`${node.name}: input ${index} is no constant`);
  const buffer = tensor.bytes.slice().buffer;
  return dense(
    tensor.type === 'int64' ? Array.from(new BigInt64Array(buffer), Number) : new Float32Array(buffer),
    tensor.dims,
  );
}

function operationOf(node: Node, constant: (index: number) => Dense): Operation {
  const kernel = intsAttribute(node, 'kernel_shape', []);
  const windows = {
    strides: intsAttribute(
      node,
      'strides',
      kernel.map(() => 1),
    ),
    pads: intsAttribute(
      node,
      'pads',
      [...kernel, ...kernel].map(() => 0),
    ),
    dilations: intsAttribute(
      node,
      'dilations',
      kernel.map(() => 1),
    ),
  };
  const bias = (index: number): { bias?: Dense } => (node.inputs[index] ? { bias: constant(index) } : {});
  switch (node.op) {
    case 'Conv':
      return { op: 'Conv', weight: constant(1), ...bias(2), ...windows, group: intAttribute(node, 'group', 1) };
    case 'Gemm':
      return {
        op: 'Gemm',
        weight: constant(1),
        ...bias(2),
        transB: intAttribute(node, 'transB', 0) === 1,
        alpha: floatAttribute(node, 'alpha', 1),
        beta: floatAttribute(node, 'beta', 1),
      };
    case 'BatchNormalization':
      return {
        op: 'BatchNormalization',
        batchNorm: {
          scale: constant(1),
          shift: constant(2),
          mean: constant(3),
          variance: constant(4),
          epsilon: floatAttribute(node, 'epsilon', 1e-5),
        },
      };
    case 'MaxPool':
      return { op: 'MaxPool', kernel, ...windows, ceil: intAttribute(node, 'ceil_mode', 0) === 1 };
    case 'AveragePool':
      return {
        op: 'AveragePool',
        kernel,
        ...windows,
        ceil: intAttribute(node, 'ceil_mode', 0) === 1,
        countIncludePad: intAttribute(node, 'count_include_pad', 0) === 1,
      };
    case 'Concat':
    case 'Flatten':
      return { op: node.op, axis: intAttribute(node, 'axis', 1) };
    case 'Pad':
      if (textAttribute(node, 'mode', 'constant') !== 'constant') throw new RangeError(`${node.name}: pad mode`);
      return { op: 'Pad', mode: 'constant', pads: [...constant(1).data] };
    case 'Relu':
    case 'Tanh':
    case 'Add':
    case 'GlobalAveragePool':
      return { op: node.op };
    default:
      throw new RangeError(`${node.name}: ${node.op} is not among the reference networks' operators`);
  }
}
