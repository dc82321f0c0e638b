import { withoutDeadNodes } from '../graph/canonical/draft.js';
import { type FoldBudget, foldNode } from '../graph/fold.js';
import type { Model, Node, Tensor } from '../graph/graph.js';
import { addConstants, callOf, type Knowledge, outputTypes } from '../graph/shapes.js';

/**
 * Where the weights come from that rules derive from a model's own (w⁺, w⁻, w², turned kernels): `derive` leaves it to the runtime to
 * compute them at session start, `store` writes them into the file.
 */
export type DerivedWeights = 'derive' | 'store';

/**
 * Operators that give the same bits here and in the runtime: they move data, or round once. Sums are not among them, since the runtime
 * adds in an order of its own.
 */
const EXACT: ReadonlySet<string> = new Set([
  ...[
    'Identity',
    'Reshape',
    'Flatten',
    'Squeeze',
    'Unsqueeze',
    'Slice',
    'Transpose',
    'Concat',
    'Gather',
    'Pad',
    'Cast',
  ],
  ...['Relu', 'Clip', 'Abs', 'Neg', 'Add', 'Sub', 'Mul', 'Div', 'Sqrt', 'Reciprocal', 'Min', 'Max', 'Where'],
  ...['Equal', 'Less', 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'Not', 'And', 'Or'],
]);

/** A compiled model whose derived weights are stored, and how many nodes that took away. */
export interface Stored {
  readonly model: Model;
  readonly nodes: number;
}

/** Computes what depends on constants alone and is exact, and stores what the rest of the graph reads of it. */
export function storeDerivedWeights(model: Model): Stored {
  const { graph } = model;
  const known: Knowledge = { types: new Map(), constants: new Map() };
  addConstants(graph, known);
  // a filled tensor is made from one number: it stays a node
  const budget: FoldBudget = { largest: 2 ** 31, largestFromNothing: 4096, remaining: Number.MAX_SAFE_INTEGER };
  const kept = graph.nodes.filter((node) => {
    const values = computed(model, node, known, budget);
    if (values === undefined) return true;
    node.outputs.forEach((name, index) => {
      const value = values[index];
      if (name === '' || value === undefined) return;
      known.constants.set(name, value);
      known.types.set(name, { type: value.type, dims: value.dims });
    });
    return false;
  });
  const alive = withoutDeadNodes(kept, known.constants, graph.outputs);
  return { model: { ...model, graph: { ...graph, ...alive } }, nodes: graph.nodes.length - alive.nodes.length };
}

function computed(model: Model, node: Node, known: Knowledge, budget: FoldBudget): readonly Tensor[] | undefined {
  if (node.domain !== '' || !EXACT.has(node.op)) return undefined;
  if (node.inputs.some((name) => name !== '' && !known.constants.has(name))) return undefined;
  const call = callOf(model, node, known);
  return foldNode(call, outputTypes(call), budget);
}
