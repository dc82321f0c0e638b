import { floatAttribute, type Graph, type Node, type Tensor, textAttribute } from '../graph/graph.js';
import { floatsOf, numbersOf } from '../graph/tensors.js';

const ALWAYS = new Set([
  'Relu',
  'Sigmoid',
  'HardSigmoid',
  'Softmax',
  'Exp',
  'Softplus',
  'Abs',
  'ReduceL2',
  'ReduceL1',
  'Sqrt',
]);
/** Operators whose output is ≥ 0 when all of their activations are. */
const KEEPS = new Set([
  'Identity',
  'Dropout',
  'MaxPool',
  'AveragePool',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'Reshape',
  'Flatten',
  'Transpose',
  'Squeeze',
  'Unsqueeze',
  'Slice',
  'Split',
  'Concat',
  'Gather',
  'Expand',
  'Tile',
  'ReduceMean',
  'ReduceSum',
  'ReduceMax',
  'ReduceMin',
  'Add',
  'Sum',
  'Mul',
  'Div',
  'Min',
  'LeakyRelu',
  'PRelu',
  'Elu',
  'HardSwish',
  'Tanh',
  'Erf',
  'Floor',
  'DepthToSpace',
  'SpaceToDepth',
  'GatherElements',
  'GatherND',
  'CumSum',
  'LRN',
  'TopK',
  'Ceil',
]);

/** The names of all tensors that are proven to hold no negative element, given the graph inputs that are. */
export function nonNegativeTensors(graph: Graph, inputs: ReadonlySet<string>): ReadonlySet<string> {
  const proven = new Set(inputs);
  const checked = new Map<Tensor, boolean>();
  const constant = (tensor: Tensor): boolean => {
    const known = checked.get(tensor);
    if (known !== undefined) return known;
    const result = tensor.type === 'float32' && floatsOf(tensor).every((value) => value >= 0);
    checked.set(tensor, result);
    return result;
  };
  const isProven = (name: string): boolean => {
    if (name === '' || proven.has(name)) return true;
    const tensor = graph.initializers.get(name);
    return tensor !== undefined && constant(tensor);
  };
  for (const node of graph.nodes)
    if (keepsSign(graph, node, isProven)) for (const output of node.outputs) proven.add(output);
  return proven;
}

function keepsSign(graph: Graph, node: Node, isProven: (name: string) => boolean): boolean {
  if (ALWAYS.has(node.op)) return true;
  const [first = ''] = node.inputs;
  switch (node.op) {
    case 'Clip': {
      const low = graph.initializers.get(node.inputs[1] ?? '');
      return (low?.type === 'float32' && floatsOf(low)[0]! >= 0) || isProven(first);
    }
    // the range that it finds includes 0, so its integers stand for nothing negative where it is given nothing negative
    case 'DynamicQuantizeLinear':
      return isProven(first);
    case 'DequantizeLinear':
      return isDynamic(graph, node) ? isProven(first) : startsAtZero(graph, node);
    case 'Pad':
      return isProven(first) && isProven(node.inputs[2] ?? '');
    case 'Reshape':
    case 'Squeeze':
    case 'Unsqueeze':
    case 'Slice':
    case 'Split':
    case 'Gather':
    case 'Expand':
    case 'Tile':
    case 'TopK':
    case 'CumSum':
    case 'GatherElements':
    case 'GatherND':
    case 'ReduceMean':
    case 'ReduceSum':
    case 'ReduceMax':
    case 'ReduceMin':
      return isProven(first);
    case 'Max':
      return node.inputs.some(isProven);
    case 'Where':
      return node.inputs.slice(1).every(isProven);
    case 'Resize':
      return textAttribute(node, 'mode', 'nearest') !== 'cubic' && isProven(first);
    case 'LeakyRelu':
      return floatAttribute(node, 'alpha', 0.01) < 0 ? false : isProven(first);
    default:
      return KEEPS.has(node.op) && node.inputs.every(isProven);
  }
}

/** Whether the zero point is found while the model runs. */
function isDynamic(graph: Graph, node: Node): boolean {
  const zero = node.inputs[2] ?? '';
  return zero !== '' && !graph.initializers.has(zero);
}

/** Whether the smallest integer stands for 0 or more: uint8 with zero point 0, as after a ReLU. */
function startsAtZero(graph: Graph, node: Node): boolean {
  const zero = graph.initializers.get(node.inputs[2] ?? '');
  const type = zero?.type ?? graph.values.get(node.inputs[0] ?? '')?.type;
  return (
    (type === 'uint8' || type === 'uint16') && (zero === undefined || numbersOf(zero).every((point) => point === 0))
  );
}
