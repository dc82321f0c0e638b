import { type FoldBudget, foldNode } from '../fold.js';
import type { Graph, Model, Node, StaticType, Tensor } from '../graph.js';
import { sizeOf } from '../graph.js';
import { fixedInputs, type InputShapes, type InputValues, staticInputs } from '../inputs.js';
import {
  addConstants,
  branchOf,
  callOf,
  inferNode,
  isIf,
  type Knowledge,
  outputTypes,
  takenBranch,
} from '../shapes.js';
import { isLoop, unroll } from './loop.js';
import { renamed } from './rename.js';

/** A graph without Ifs of constant condition, without Loops, and without nodes that compute constants, all types static. */
export interface FlatGraph {
  readonly graph: Graph;
  readonly known: Knowledge;
  /** Number of nodes that became constants. */
  readonly folded: number;
  /** Names of Ifs that were replaced by the branch that is always taken. */
  readonly inlined: readonly string[];
  /** Names of Loops and Scans that were replaced by their steps. */
  readonly unrolled: readonly string[];
}

/**
 * How much of a model may be computed beforehand. A transposed weight may be large; what is made from nothing (ConstantOfShape, Expand)
 * may not fill the memory, nor may much of it add up to more than the file explains.
 */
export function foldBudget({ initializers }: Graph): FoldBudget {
  const stored = [...initializers.values()].reduce((sum, { dims }) => sum + sizeOf(dims), 0);
  return { largest: 1 << 26, remaining: (1 << 24) + 8 * stored, largestFromNothing: 1 << 20 };
}

/**
 * Computes what is known before the model runs: constants and inputs with a fixed value become initializers, an If with a constant
 * condition becomes its branch, a Loop its steps.
 */
export function flatten(
  model: Model,
  budget: FoldBudget,
  inputShapes: InputShapes = {},
  inputValues: InputValues = {},
): FlatGraph {
  const known: Knowledge = { types: staticInputs(model.graph, inputShapes), constants: new Map() };
  const fixed = fixedInputs(model.graph, inputValues, known.types);
  addConstants(model.graph, known);
  const walk: Walk = {
    model,
    known,
    budget,
    nodes: [],
    inlined: [],
    unrolled: [],
    folded: 0,
  };
  const initializers = new Map<string, Tensor>([...model.graph.initializers, ...fixed]);
  for (const [name, value] of fixed) known.constants.set(name, value);
  visit(model.graph.nodes, walk, initializers);
  const typed = (name: string): StaticType => known.types.get(name)!;
  const graph: Graph = {
    ...model.graph,
    nodes: walk.nodes,
    initializers,
    inputs: model.graph.inputs.filter(({ name }) => !fixed.has(name)).map(({ name }) => ({ name, ...typed(name) })),
    outputs: model.graph.outputs.map(({ name }) => ({ name, ...typed(name) })),
    values: known.types,
  };
  return { graph, known, folded: walk.folded, inlined: walk.inlined, unrolled: walk.unrolled };
}

interface Walk {
  readonly model: Model;
  readonly known: Knowledge;
  readonly budget: FoldBudget;
  readonly nodes: Node[];
  readonly inlined: string[];
  readonly unrolled: string[];
  folded: number;
}

function visit(nodes: readonly Node[], walk: Walk, initializers: Map<string, Tensor>): void {
  const { model, known } = walk;
  for (const node of nodes) {
    const call = callOf(model, node, known);
    const taken = isIf(node) ? takenBranch(call) : undefined;
    if (taken !== undefined) {
      const branch = inlinedBranch(node, branchOf(node, taken), known);
      for (const [name, value] of branch.initializers) initializers.set(name, value);
      addConstants(branch, known);
      walk.inlined.push(node.name);
      visit(branch.nodes, walk, initializers);
      continue;
    }
    if (isLoop(node)) {
      const constant = (name: string, value: Tensor): void => {
        initializers.set(name, value);
        known.constants.set(name, value);
        known.types.set(name, { type: value.type, dims: value.dims });
      };
      const add = (steps: readonly Node[]): void => visit(steps, walk, initializers);
      unroll(call, { opset: model.opsets.get('') ?? 1, known, constant, add });
      walk.unrolled.push(node.name);
      continue;
    }
    if (isIf(node)) {
      walk.nodes.push(inferNode(model, node, known, walk.budget));
      continue;
    }
    const types = outputTypes(call);
    for (const [index, name] of node.outputs.entries()) known.types.set(name, types[index]!);
    const folded = foldNode(call, types, walk.budget);
    if (folded === undefined) {
      walk.nodes.push(node);
      continue;
    }
    walk.folded += 1;
    for (const [index, name] of node.outputs.entries()) {
      if (name === '') continue;
      known.constants.set(name, folded[index]!);
      initializers.set(name, folded[index]!);
    }
  }
}

/** A branch with names that are free outside, whose outputs have the names of the If's outputs. */
function inlinedBranch(node: Node, branch: Graph, known: Knowledge): Graph {
  const names = new Map<string, string>();
  const made = branch.nodes.flatMap((inner) => inner.outputs);
  for (const [index, output] of branch.outputs.entries()) {
    const outside = node.outputs[index];
    if (outside !== undefined && outside !== '' && made.includes(output.name) && !names.has(output.name)) {
      names.set(output.name, outside);
    }
  }
  for (const name of [...made, ...branch.initializers.keys()]) {
    if (name === '' || names.has(name) || !known.types.has(name)) continue;
    let free = `${node.name}/${name}`;
    while (known.types.has(free)) free = `${free}_`;
    names.set(name, free);
  }
  const nodes = branch.nodes.map((inner) => renamed(inner, names));
  for (const [index, output] of branch.outputs.entries()) {
    const outside = node.outputs[index];
    const inside = names.get(output.name) ?? output.name;
    if (outside === undefined || outside === '' || inside === outside) continue;
    nodes.push({
      op: 'Identity',
      domain: '',
      name: outside,
      inputs: [inside],
      outputs: [outside],
      attributes: new Map(),
    });
  }
  const initializers = new Map([...branch.initializers].map(([name, value]) => [names.get(name) ?? name, value]));
  return { ...branch, nodes, initializers };
}
