import { WhylightError } from '../errors.js';
import { type FoldBudget, foldNode } from './fold.js';
import type { Attribute, Graph, Model, NamedValue, Node, StaticType, Tensor } from './graph.js';
import { sizeOf } from './graph.js';
import { type InputShapes, staticInputs } from './inputs.js';
import { type Call, impossible, misfit, show } from './shapes/call.js';
import { shapeRuleOf } from './shapes/table.js';
import { numbersOf } from './tensors.js';

/** What is known of the values of a graph while its nodes are walked in order. */
export interface Knowledge {
  readonly types: Map<string, StaticType>;
  /** Values known before the model runs: initializers, and what was folded from them. */
  readonly constants: Map<string, Tensor>;
}

/**
 * A model whose `graph.values` has a {@link StaticType} for every value: inputs, initializers and all node outputs (also inside the
 * branches of an If). Inputs and outputs of the graph become static too. Nodes and weights stay as they are.
 *
 * `inputShapes` fixes what the file leaves open; a leading open dimension is 1 unless given.
 *
 * Throws MODEL_SHAPE (an input's open dimension, a given shape that contradicts the file, or a node whose inputs do not fit, by
 * name), UNSUPPORTED_OPERATOR (no shape rule), MODEL_CORRUPT (a node lacks an input that it needs).
 */
export function inferShapes(model: Model, inputShapes: InputShapes = {}): Model {
  const known: Knowledge = { types: staticInputs(model.graph, inputShapes), constants: new Map() };
  // shapes are computed from shapes: small tensors suffice
  const budget: FoldBudget = { largest: 4096, largestFromNothing: 4096, remaining: 1 << 22 };
  return { ...model, graph: inferGraph(model, model.graph, known, budget) };
}

/** The static type of a value of a graph that went through {@link inferShapes}. Throws MODEL_SHAPE where it has none. */
export function staticTypeOf(graph: Graph, name: string): StaticType {
  const type = graph.values.get(name);
  if (type === undefined || type.unranked === true || !type.dims.every((dim) => typeof dim === 'number')) {
    throw new WhylightError('MODEL_SHAPE', `The shape of tensor "${name}" is not known.`, {
      details: { tensor: name },
    });
  }
  return { type: type.type, dims: type.dims as readonly number[] };
}

function inferGraph(model: Model, graph: Graph, known: Knowledge, budget: FoldBudget): Graph {
  addConstants(graph, known);
  const own = [...graph.inputs.map((input) => input.name), ...graph.initializers.keys()];
  const nodes = graph.nodes.map((node) => inferNode(model, node, known, budget));
  for (const node of nodes) own.push(...node.outputs.filter((name) => name !== ''));
  const values = new Map(own.map((name) => [name, known.types.get(name)!]));
  const typed = (value: NamedValue): NamedValue => ({ name: value.name, ...known.types.get(value.name)! });
  return { ...graph, nodes, values, inputs: graph.inputs.map(typed), outputs: graph.outputs.map(typed) };
}

/**
 * Adds the types of a node's outputs, and their values where they are constant, to what is known. The node comes back as it is, an
 * If with the types of its branches.
 */
export function inferNode(model: Model, node: Node, known: Knowledge, budget: FoldBudget): Node {
  const call = callOf(model, node, known);
  let result = node;
  let outputs: readonly StaticType[];
  if (isIf(node)) {
    const branches = inferBranches(model, node, known, budget);
    outputs = branchTypes(call, branches);
    const attributes = new Map<string, Attribute>(node.attributes);
    for (const [name, value] of branches) attributes.set(name, { kind: 'graph', value });
    result = { ...node, attributes };
  } else {
    outputs = outputTypes(call);
    const folded = foldNode(call, outputs, budget);
    for (const [index, value] of (folded ?? []).entries()) known.constants.set(node.outputs[index] ?? '', value);
  }
  for (const [index, name] of node.outputs.entries()) if (name !== '') known.types.set(name, outputs[index]!);
  return result;
}

/** Takes a graph's initializers into what is known. */
export function addConstants(graph: Graph, known: Knowledge): void {
  for (const [name, value] of graph.initializers) {
    known.constants.set(name, value);
    known.types.set(name, { type: value.type, dims: value.dims });
  }
}

/** Whether a node is the operator If, which has graphs for attributes. */
export function isIf(node: Node): boolean {
  return node.op === 'If' && node.domain === '';
}

/** A node with what is known of its inputs. */
export function callOf(model: Model, node: Node, known: Knowledge): Call {
  return {
    node,
    opset: model.opsets.get(node.domain) ?? 1,
    inputs: node.inputs.map((name) => (name === '' ? undefined : known.types.get(name))),
    constants: node.inputs.map((name) => known.constants.get(name)),
  };
}

/** Types of a node's outputs, one for each. Throws MODEL_SHAPE and UNSUPPORTED_OPERATOR. */
export function outputTypes(call: Call): readonly StaticType[] {
  const types = shapeRuleOf(call.node)(call).slice(0, call.node.outputs.length);
  if (types.length < call.node.outputs.length) {
    throw misfit(call, `has ${call.node.outputs.length} outputs, but the operator gives ${types.length}`);
  }
  for (const { type, dims } of types) {
    const wrong = impossible(type, dims);
    if (wrong !== undefined) throw misfit(call, `the result ${show(dims)} ${wrong}`);
  }
  return types;
}

/** The branch of an If that a constant condition selects; `undefined` where the condition is computed from data. */
export function takenBranch(call: Call): 'then_branch' | 'else_branch' | undefined {
  const condition = call.constants[0];
  if (condition === undefined) return undefined;
  if (condition.type !== 'bool' || sizeOf(condition.dims) !== 1) {
    throw misfit(call, `its condition is ${condition.type} ${show(condition.dims)}, not one bool`);
  }
  return numbersOf(condition)[0] === 0 ? 'else_branch' : 'then_branch';
}

function inferBranches(model: Model, node: Node, known: Knowledge, budget: FoldBudget): Map<string, Graph> {
  const taken = takenBranch(callOf(model, node, known));
  const branches = new Map<string, Graph>();
  for (const name of ['then_branch', 'else_branch'] as const) {
    // the other branch need not even have a shape: exporters guard Squeeze and the like by an If
    if (taken !== undefined && taken !== name) continue;
    const branch = branchOf(node, name);
    branches.set(
      name,
      insideBranch(branch, known, () => inferGraph(model, branch, known, budget)),
    );
  }
  return branches;
}

/**
 * Runs `visit`, which may add to what is known, for the inside of a branch: what the branch defines is forgotten again afterwards.
 * (Copying all that is known for every branch would make a file of many Ifs quadratic.)
 */
export function insideBranch<T>(branch: Graph, known: Knowledge, visit: () => T): T {
  const names = [
    ...branch.inputs.map((input) => input.name),
    ...branch.initializers.keys(),
    ...branch.nodes.flatMap((node) => node.outputs),
  ];
  const before = names.map((name) => ({ name, type: known.types.get(name), constant: known.constants.get(name) }));
  try {
    return visit();
  } finally {
    for (const { name, type, constant } of before) {
      if (type === undefined) known.types.delete(name);
      else known.types.set(name, type);
      if (constant === undefined) known.constants.delete(name);
      else known.constants.set(name, constant);
    }
  }
}

/** A branch of an If. Throws MODEL_CORRUPT where it is missing. */
export function branchOf(node: Node, name: string): Graph {
  const attribute = node.attributes.get(name);
  if (attribute?.kind !== 'graph') {
    throw new WhylightError('MODEL_CORRUPT', `Node "${node.name}" (If) has no ${name}.`, {
      details: { node: node.name },
    });
  }
  return attribute.value;
}

/** Types of an If's outputs, in which its branches must agree. */
export function branchTypes(call: Call, branches: ReadonlyMap<string, Graph>): readonly StaticType[] {
  return call.node.outputs.map((name, index) => {
    const types = [...branches.values()].map((branch) => {
      const output = branch.outputs[index];
      if (output === undefined) throw misfit(call, `a branch has no output ${index}`);
      return { type: output.type, dims: output.dims as readonly number[] };
    });
    const [first, ...others] = types;
    const other = others.find((type) => type.type !== first!.type || type.dims.join() !== first!.dims.join());
    if (other !== undefined) {
      throw misfit(call, `output "${name}" is ${show(first!.dims)} in one branch and ${show(other.dims)} in the other`);
    }
    return first!;
  });
}
