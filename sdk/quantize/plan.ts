import { usesOf } from '../graph/canonical/draft.js';
import type { Graph, Node, Tensor } from '../graph/graph.js';
import { intAttribute, textAttribute } from '../graph/graph.js';
import { isFasterInFloat } from '../graph/kernels.js';
import { type LinearLayer, linearLayerOf } from '../graph/linear-layer.js';
import { readsOf } from '../graph/order.js';
import { staticTypeOf } from '../graph/shapes.js';
import { numbersOf } from '../graph/tensors.js';
import type { Integers } from './options.js';
import type { Range } from './steps.js';

/**
 * How an operator is computed on integers by ONNX Runtime's CPU kernels, between DequantizeLinear and QuantizeLinear:
 * - `weights`: int8 weights, one uint8 input; a new range after it
 * - `activations`: uint8 inputs only, a new range after it
 * - `move`: its output holds values of its input, in the input's own steps
 */
type IntegerForm = 'weights' | 'activations' | 'move';

/** Operators with integer kernels; everything else stays in float32. */
const forms: Readonly<Record<string, IntegerForm | ((node: Node, graph: Graph) => IntegerForm | undefined)>> = {
  Conv: 'weights',
  Gemm: 'weights',
  MatMul: (node, graph) => (graph.initializers.has(node.inputs[1]!) ? 'weights' : 'activations'),
  Add: 'activations',
  Mul: 'activations',
  Concat: 'activations',
  AveragePool: 'activations',
  GlobalAveragePool: 'activations',
  LeakyRelu: 'activations',
  Sigmoid: 'activations',
  MaxPool: (node) => (node.outputs.length === 1 ? 'move' : undefined),
  Reshape: 'move',
  Flatten: 'move',
  Squeeze: 'move',
  Unsqueeze: 'move',
  Transpose: 'move',
  Slice: 'move',
  Split: 'move',
  DepthToSpace: 'move',
  SpaceToDepth: 'move',
  Gather: (node, graph) => (graph.initializers.has(node.inputs[1]!) ? 'move' : undefined),
  Resize: (node) => (textAttribute(node, 'mode', 'nearest') === 'nearest' ? 'move' : undefined),
};

/** One layer that will run on integers, together with the ReLU or Clip that its output steps make superfluous. */
export interface IntegerLayer {
  readonly node: Node;
  readonly form: IntegerForm;
  /** With `weights` only. */
  readonly linear: LinearLayer | undefined;
  /** Activations that it reads, all quantized. */
  readonly inputs: readonly string[];
  /** What its output is called after the ReLU or Clip. */
  readonly output: string;
  /** False for a product of matrices at the model's end: its sums come out in float32. */
  readonly quantizesOutput: boolean;
}

/** Which layers run on integers, and which tensors become uint8. */
export interface Plan {
  /** In the order of the graph. */
  readonly layers: readonly IntegerLayer[];
  /** Layers with weights that are left as they are, and why. */
  readonly floats: ReadonlyMap<Node, string>;
  /** Layers whose weights alone become integers, and why. */
  readonly weightsOnly: ReadonlyMap<Node, string>;
  /** Tensor that becomes uint8 → the tensor whose values decide its steps: its own name, or that of what was moved. */
  readonly tensors: ReadonlyMap<string, string>;
  /** Limits that a Clip sets to the values of a tensor. */
  readonly limits: ReadonlyMap<string, Range>;
}

/**
 * Decides which nodes of a canonical graph run on integers. A layer without weights does so only between others that do: alone it
 * would gain nothing. `exclude` gives the reason why a node is left in float32, `undefined` for one that is not.
 */
export function planOf(graph: Graph, exclude: (node: Node) => string | undefined, integers: Integers): Plan {
  const constantOf = (name: string): Tensor | undefined => graph.initializers.get(name);
  const floats = new Map<Node, string>();
  const weightsOnly = new Map<Node, string>();
  const candidates = new Map<Node, IntegerLayer>();
  const followers = activationsAfter(graph);
  for (const node of graph.nodes) {
    const form = formOf(node, graph);
    const linear = form === 'weights' ? linearLayerOf(node, constantOf) : undefined;
    const inputs = readActivations(node, graph);
    const reason = exclude(node) ?? obstacle(node, graph, form, linear, inputs);
    if (reason !== undefined) {
      if (hasWeights(node, graph)) floats.set(node, reason);
      continue;
    }
    if (node.op === 'ConvTranspose' && linearLayerOf(node, constantOf) !== undefined) {
      weightsOnly.set(node, 'ONNX Runtime has no integer kernel for it');
    }
    if (form === undefined) continue;
    if (integers === 'where-faster' && linear !== undefined && isFasterInFloat(node, linear.weight)) {
      weightsOnly.set(node, 'ONNX Runtime is faster at its sums in float32');
      continue;
    }
    const activation = form === 'move' ? undefined : followers.get(node);
    candidates.set(node, {
      ...{ node, form, linear, inputs, quantizesOutput: true },
      output: (activation ?? node).outputs[0]!,
    });
  }
  prune(graph, candidates);
  const limits = limitsOf(graph);
  return { ...quantizedBy(graph, candidates, limits, integers), floats, weightsOnly, limits };
}

/** The layers in the order of the graph, and the tensors that they read and write. */
function quantizedBy(
  graph: Graph,
  candidates: ReadonlyMap<Node, IntegerLayer>,
  limits: ReadonlyMap<string, Range>,
  integers: Integers,
): Pick<Plan, 'layers' | 'tensors'> {
  const isOutput = new Set(graph.outputs.map((output) => output.name));
  const tensors = new Map<string, string>();
  const layers: IntegerLayer[] = [];
  const read = new Set(graph.nodes.flatMap(readsOf));
  const readOnIntegers = new Set([...candidates.values()].flatMap((layer) => layer.inputs));
  for (const node of graph.nodes) {
    const layer = candidates.get(node);
    if (layer === undefined) continue;
    const endsModel = isOutput.has(layer.output) && !read.has(layer.output);
    const isProduct = node.op === 'Gemm' || node.op === 'MatMul';
    const endsInFloat = isProduct && endsModel && layer.output === node.outputs[0];
    const quantizesOutput =
      !endsInFloat && (integers === 'everywhere' || layer.form === 'move' || readOnIntegers.has(layer.output));
    layers.push({ ...layer, quantizesOutput });
    for (const input of layer.inputs) if (!tensors.has(input)) tensors.set(input, input);
    if (!quantizesOutput) continue;
    if (layer.form !== 'move') tensors.set(layer.output, layer.output);
    else for (const output of node.outputs) tensors.set(output, tensors.get(layer.inputs[0]!)!);
  }
  shareSteps(graph, layers, tensors, limits);
  return { layers, tensors };
}

/**
 * Gives what is only concatenated the steps of the whole, so that it is rounded once and then copied. Where a ReLU ends at a zero
 * point of 0, all of them must; a Clip has steps of its own.
 */
function shareSteps(
  graph: Graph,
  layers: readonly IntegerLayer[],
  tensors: Map<string, string>,
  limits: ReadonlyMap<string, Range>,
): void {
  const uses = usesOf(graph);
  const rectified = new Set(graph.nodes.flatMap(({ op, outputs }) => (op === 'Relu' ? outputs : [])));
  // from the end on: a concatenation may itself be concatenated
  for (const { node, inputs, output } of [...layers].reverse()) {
    if (node.op !== 'Concat') continue;
    const sources = inputs.map((input) => tensors.get(input)!);
    const allRectified = sources.every((source) => rectified.has(source));
    for (const input of inputs) {
      const isOwn = tensors.get(input) === input && uses.get(input) === 1 && !limits.has(input);
      if (isOwn && (allRectified || !rectified.has(input))) tensors.set(input, tensors.get(output)!);
    }
  }
}

/** The layers that get integer weights, whatever they compute on. */
export function integerWeightsOf({ layers, weightsOnly }: Plan, graph: Graph): LinearLayer[] {
  const others = [...weightsOnly.keys()].map((node) => linearLayerOf(node, (name) => graph.initializers.get(name))!);
  return [...layers.flatMap(({ linear }) => (linear === undefined ? [] : [linear])), ...others];
}

function formOf(node: Node, graph: Graph): IntegerForm | undefined {
  const form = node.domain === '' && Object.hasOwn(forms, node.op) ? forms[node.op] : undefined;
  return typeof form === 'function' ? form(node, graph) : form;
}

/** Inputs of a node that depend on the model's inputs. */
function readActivations(node: Node, graph: Graph): string[] {
  return node.inputs.filter((name) => name !== '' && !graph.initializers.has(name));
}

function hasWeights(node: Node, graph: Graph): boolean {
  const isLinear = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'].includes(node.op) && node.domain === '';
  return isLinear && graph.initializers.has(node.inputs[1] ?? '');
}

/** Why a node cannot run on integers; `undefined` where it can, and for operators that never do. */
function obstacle(
  node: Node,
  graph: Graph,
  form: IntegerForm | undefined,
  linear: LinearLayer | undefined,
  inputs: readonly string[],
): string | undefined {
  if (form === undefined) return undefined;
  if (inputs.some((name) => staticTypeOf(graph, name).type !== 'float32')) return 'it computes on no float32';
  if (form === 'weights') {
    if (linear === undefined || inputs.length !== 1) return 'its weights or its bias are computed';
    if (intAttribute(node, 'transA', 0) !== 0) return 'its input is transposed';
    return undefined;
  }
  // a constant beside the data would need steps of its own; as a part of the layer before it it has been merged already
  if (form === 'activations' && inputs.length !== node.inputs.length) return 'one of its inputs is constant';
  return undefined;
}

/** Each node's ReLU or Clip that nothing but it reads the output of. */
function activationsAfter(graph: Graph): Map<Node, Node> {
  const uses = usesOf(graph);
  const readers = new Map<string, Node>();
  for (const node of graph.nodes) {
    const isActivation = node.domain === '' && (node.op === 'Relu' || clipRange(node, graph) !== undefined);
    if (isActivation) readers.set(node.inputs[0]!, node);
  }
  const after = new Map<Node, Node>();
  for (const node of graph.nodes) {
    const output = node.outputs[0] ?? '';
    const activation = readers.get(output);
    if (activation !== undefined && uses.get(output) === 1) after.set(node, activation);
  }
  return after;
}

/** A Clip with constant bounds that keeps 0. */
function clipRange(node: Node, graph: Graph): Range | undefined {
  if (node.op !== 'Clip') return undefined;
  const bound = (index: number, open: number): number | undefined => {
    const name = node.inputs[index] ?? '';
    const value = graph.initializers.get(name);
    return name === '' ? open : value === undefined ? undefined : numbersOf(value)[0];
  };
  const [low, high] = [bound(1, -Infinity), bound(2, Infinity)];
  if (low === undefined || high === undefined || !(low <= 0) || !(high > 0)) return undefined;
  return { low, high };
}

function limitsOf(graph: Graph): Map<string, Range> {
  const limits = new Map<string, Range>();
  for (const node of graph.nodes) {
    const range = clipRange(node, graph);
    if (range !== undefined) limits.set(node.outputs[0]!, range);
  }
  return limits;
}

/** Takes layers without weights out again that have no integers before them, or none after them. */
function prune(graph: Graph, candidates: Map<Node, IntegerLayer>): void {
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of readsOf(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  for (let before = -1; before !== candidates.size; ) {
    before = candidates.size;
    const made = new Set([...candidates.values()].flatMap(({ node, output }) => [output, ...node.outputs]));
    for (const [node, { form, inputs, output }] of candidates) {
      if (form === 'weights') continue;
      const outputs = form === 'move' ? node.outputs : [output];
      const isRead = outputs.some((name) => readers.get(name)?.some((reader) => candidates.has(reader)));
      const isFed = form === 'move' ? made.has(inputs[0]!) : inputs.some((name) => made.has(name));
      if (!isRead || !isFed) candidates.delete(node);
    }
  }
}
