import { createBuilder, type GraphBuilder } from '../../graph/builder.js';
import { dataTypeCode } from '../../graph/data-types.js';
import type { Attribute, DataType, Graph, Model, Node, ValueType } from '../../graph/graph.js';
import { int, subgraph } from '../../graph/graph.js';
import { staticInputs } from '../../graph/inputs.js';
import { addConstants, branchOf, inferNode, isIf, type Knowledge } from '../../graph/shapes.js';
import { createEmitter, type Emitter, type Value } from '../emitter.js';
import { fitting } from '../limits.js';
import { elementwiseRewrites } from './elementwise.js';
import type { Rewrite } from './kernel.js';
import { normalizationRewrites } from './normalization.js';
import { quantizationRewrites } from './quantization.js';
import { rnn } from './recurrent.js';
import { windowRewrites } from './windows.js';

/**
 * How operators are written that ONNX Runtime's WebGPU lacks. Without this it computes them on the CPU, with a copy each way; 3-D
 * convolutions with groups and transposed ones fail there, and a Resize of other axes than the last two is wrong.
 */
const rewrites: Readonly<Record<string, Rewrite>> = {
  ...elementwiseRewrites,
  ...normalizationRewrites,
  ...quantizationRewrites,
  ...windowRewrites,
  RNN: rnn,
};

/**
 * The newest version of ai.onnx that all of the GPU's kernels are registered for. From 22 on pooling, transposed convolution, recurrent
 * layers and a dozen activations fall to the CPU, although nothing but their list of types has changed.
 */
const NEWEST = 21;

/** Operators that came after {@link NEWEST} and are not written out. */
const LATER: ReadonlySet<string> = new Set(['Attention', 'BitCast', 'RotaryEmbedding', 'TensorScatter']);

/** Types of quantized integers, and the operators that make them: rewritten, they are float32, and so is what only moves them. */
const INTEGERS: ReadonlySet<DataType> = new Set(['uint8', 'int8', 'uint16', 'int16']);
const WIDENING: ReadonlySet<string> = new Set(['QuantizeLinear', 'DynamicQuantizeLinear']);

/** What is known around a node while the graph is walked in order. */
interface Scope {
  readonly model: Model;
  readonly known: Knowledge;
  /** what stands for a tensor whose node was rewritten */
  readonly renamed: Map<string, Value>;
  /** quantized integers that are float32 now */
  readonly widened: Set<string>;
  /** tensors that no input reaches */
  readonly constants: Set<string>;
  readonly counts: Map<string, number>;
}

/** The model with every operator that the GPU lacks written out, and how many of each there were. */
export function forWebgpu(model: Model): { readonly model: Model; readonly rewritten: ReadonlyMap<string, number> } {
  const counts = new Map<string, number>();
  let current = model;
  // what a rewrite writes may need one itself: a transposed convolution in 3-D is a convolution in 3-D, which knows no groups
  for (let before = -1; before < sum(counts); ) {
    before = sum(counts);
    if (needsWork(current.graph)) current = rewrittenOnce(current, counts);
  }
  return { model: inOlderVersion(current), rewritten: counts };
}

function inOlderVersion(model: Model): Model {
  const uses = (graph: Graph): boolean =>
    graph.nodes.some((node) => (node.domain === '' && LATER.has(node.op)) || branchesOf(node).some(uses));
  if (model.opsets.get('')! <= NEWEST || uses(model.graph)) return model;
  return { ...model, opsets: new Map(model.opsets).set('', NEWEST) };
}

const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0);

const branchesOf = (node: Node): Graph[] =>
  [...node.attributes.values()].flatMap((attribute) => (attribute.kind === 'graph' ? [attribute.value] : []));

function needsWork(graph: Graph): boolean {
  return graph.nodes.some((node) => Object.hasOwn(rewrites, node.op) || branchesOf(node).some(needsWork));
}

function rewrittenOnce(model: Model, counts: Map<string, number>): Model {
  const { graph } = model;
  const builder = createBuilder({ ...graph, nodes: [], outputs: [], values: new Map(namesOf(graph)) }, 'webgpu/');
  const known: Knowledge = { types: staticInputs(graph, {}), constants: new Map() };
  const scope: Scope = { model, known, renamed: new Map(), widened: new Set(), constants: new Set(), counts };
  rewriteInto(graph, builder, builder, scope);
  const { outputs } = graph;
  const given = new Set(outputs.map((output) => output.name));
  const values = new Map(
    [...graph.values].filter(([name]) => given.has(name) || !(scope.renamed.has(name) || scope.widened.has(name))),
  );
  return { ...model, graph: { ...graph, ...builder.graph, outputs, values } };
}

/** Every name of the graph and its branches, so that no fresh one takes it. */
function namesOf(graph: Graph): [string, ValueType][] {
  const inside = graph.nodes.flatMap((node) => branchesOf(node).flatMap(namesOf));
  const own = graph.nodes.flatMap((node) => node.outputs);
  return [...inside, ...own.map((name): [string, ValueType] => [name, { type: 'float32', dims: [] }])];
}

/** Appends the nodes of a graph to `body`, rewritten where need be; constants that a rewrite makes go to `main`. */
function rewriteInto(graph: Graph, main: GraphBuilder, body: GraphBuilder, scope: Scope): void {
  const { model, known, renamed, widened, constants, counts } = scope;
  const emit = createEmitter(main, body, model.opsets.get('')!, 'webgpu');
  addConstants(graph, known);
  for (const name of graph.initializers.keys()) constants.add(name);
  for (const node of graph.nodes) {
    const attributes = typed(node, main, scope);
    const constant = node.inputs.every((name) => name === '' || constants.has(name)) && branchesOf(node).length === 0;
    if (constant) for (const name of node.outputs) constants.add(name);
    // what depends on constants alone the runtime computes when the session starts, on the CPU in any case
    const written = constant ? undefined : rewriteOf(node, emit, scope);
    if (WIDENING.has(node.op) ? written !== undefined : node.inputs.some((name) => widened.has(name))) {
      for (const name of node.outputs) if (INTEGERS.has(known.types.get(name)?.type ?? 'float32')) widened.add(name);
    }
    if (written === undefined) {
      const inputs = node.inputs.map((name) => renamed.get(name)?.name ?? name);
      body.nodes(node.op, inputs, node.outputs, attributes, { name: node.name, domain: node.domain });
      continue;
    }
    counts.set(node.op, (counts.get(node.op) ?? 0) + 1);
    for (const [index, name] of node.outputs.entries()) if (name !== '') renamed.set(name, written[index]!);
  }
  for (const { name, type, dims } of graph.outputs) {
    const replaced = renamed.get(name);
    // integers that were rewritten are float32 inside the graph
    const isInteger = INTEGERS.has(type);
    if (replaced !== undefined) {
      const attributes: Record<string, Attribute> = isInteger ? { to: int(dataTypeCode(type)) } : {};
      body.node(isInteger ? 'Cast' : 'Identity', [replaced.name], attributes, { name, outputs: [name] });
    }
    body.output(name, type, dims);
  }
}

/**
 * Takes the types of a node's outputs into what is known, and gives its attributes, branches rewritten. The branches of a gated
 * explanation differ in shape (a single zero stands for what was not computed); nothing reads them inside the graph.
 */
function typed(node: Node, main: GraphBuilder, scope: Scope): Record<string, Attribute> {
  const { model, known } = scope;
  if (!isIf(node)) {
    inferNode(model, node, known, { largest: 4096, largestFromNothing: 4096, remaining: 1 << 22 });
    return Object.fromEntries(node.attributes);
  }
  const rewritten = ['then_branch', 'else_branch'].map((name): [string, Attribute] => {
    const branch = branchOf(node, name);
    const body = createBuilder({ ...branch, nodes: [], outputs: [] }, `webgpu/${node.name}/${name}/`);
    rewriteInto(branch, main, body, scope);
    for (const [index, output] of branch.outputs.entries()) {
      known.types.set(node.outputs[index] ?? '', known.types.get(output.name)!);
    }
    return [name, subgraph({ ...branch, ...body.graph, values: new Map() })];
  });
  return { ...Object.fromEntries(node.attributes), ...Object.fromEntries(rewritten) };
}

function rewriteOf(
  node: Node,
  emit: Emitter,
  { model, known, renamed, widened, constants }: Scope,
): ReturnType<Rewrite> {
  const isOwn = node.domain === '' || node.op in quantizationRewrites;
  const rewrite = isOwn && Object.hasOwn(rewrites, node.op) ? rewrites[node.op] : undefined;
  if (rewrite === undefined) return undefined;
  const standing = (name: string): Value =>
    renamed.get(name) ?? { name, dims: known.types.get(name)!.dims, constant: constants.has(name) };
  const call = {
    emit,
    node,
    opset: model.opsets.get('')!,
    inputs: node.inputs.map((name) => (name === '' ? undefined : standing(name))),
    inputTypes: node.inputs.map((name) => known.types.get(name)),
    outputTypes: node.outputs.map((name) => (name === '' ? undefined : known.types.get(name))),
    isWidened: (input: number) => widened.has(node.inputs[input] ?? ''),
    constantAt: (input: number) => known.constants.get(node.inputs[input] ?? ''),
  };
  return fitting(`node "${node.name}" (${node.op})`, { node: node.name, operator: node.op }, () => rewrite(call));
}
