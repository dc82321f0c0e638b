import { UnsupportedOperatorError } from '../errors.js';
import { createBuilder, type GraphBuilder } from './builder.js';
import { mergeBiasedProducts } from './canonical/biased.js';
import { dissolveIdentities } from './canonical/dissolve.js';
import { withoutDeadNodes } from './canonical/draft.js';
import { writeOutDynamicQuantization } from './canonical/dynamic.js';
import { withOwnIntegerLayers } from './canonical/executed.js';
import { flatten, foldBudget } from './canonical/inline.js';
import { writeOutIntegerLayers } from './canonical/integer-layers.js';
import { withFiniteMasks } from './canonical/masks.js';
import { mergeLinear } from './canonical/merge.js';
import { recognizeNormalizations } from './canonical/normalizers.js';
import { withStandardSteps, writeOutPackedWeights } from './canonical/packed.js';
import { type Border, inSinglePrecision } from './canonical/precision.js';
import { inPlainProducts } from './canonical/products.js';
import { inPlainRecurrence } from './canonical/recurrent.js';
import { unsignedActivations } from './canonical/unsigned.js';
import { canonicalOpset, upgradeNode } from './canonical/upgrade.js';
import type { Attribute, Graph, Model, Node, StaticType } from './graph.js';
import type { InputShapes, InputValues } from './inputs.js';
import { readsOf } from './order.js';
import { addConstants, callOf, inferShapes, insideBranch, isIf, type Knowledge, staticTypeOf } from './shapes.js';

/** Settings of {@link canonicalize}. */
export interface CanonicalizeOptions {
  /** Shapes for inputs whose dimensions the file leaves open; a leading open dimension is 1 where nothing is said. */
  readonly inputShapes?: InputShapes;
  /** Inputs that have one value once and for all: they are constants of the canonical form, and no inputs any more. */
  readonly inputValues?: InputValues;
  /** `steps` writes every recurrent layer out step by step; default `layers`: only those that have no usual form. */
  readonly recurrent?: 'layers' | 'steps';
}

/** A model in canonical form, and what was done to get there. */
export interface CanonicalModel {
  readonly model: Model;
  /**
   * The same graph, computed by the model's own integer layers where it has any, which the canonical form writes out in float32: what
   * is to run on a CPU. It has every tensor of the canonical graph.
   */
  readonly executed: Graph;
  /** The types of its inputs and outputs where the original's are no float32; `withOwnTypes` gives them back. */
  readonly border: Border;
  /** What was merged, folded or removed, as sentences. */
  readonly notes: string[];
}

/**
 * Brings a model into the one form that the compiler reads. It computes the same outputs under the same names; types and shapes of
 * all values are static (see `inferShapes`). In it
 * - every floating-point value is float32, also inputs and outputs that are not in the file;
 * - operators are written as in ai.onnx 17, or as in the file's own version where that is newer;
 * - what does not depend on inputs is an initializer, an If with a constant condition is its branch, a Loop is its
 *   steps, nodes that pass their input on are gone, and so are nodes and initializers that no output needs;
 * - padding is explicit, axes of Softmax, lengths of Split and targets of Reshape are spelled out;
 * - what exporters and optimizers put together in one node (Einsum, attention, fused layers) is written out;
 * - LayerNorm and RMSNorm that small operators write out are one node each;
 * - recurrent layers have time first, whole sequences and their usual activations; others are written out step by step;
 * - products are layers with constant weights, or products of matrices, to which biases that are computed are added;
 * - integer layers are layers of the numbers that their integers stand for, whose quantization stands beside them;
 * - BatchNormalization and constants per channel are merged into the linear layer next to them where that is exact, zero Pads into
 *   the Conv after them; a MatMul with a constant matrix and a bias is a Gemm, over rows where its rank is above 2.
 *
 * Throws MODEL_SHAPE and UNSUPPORTED_OPERATOR as `inferShapes`, and UNSUPPORTED_OPERATOR for layers in training mode.
 */
export function canonicalize(model: Model, options: CanonicalizeOptions = {}): CanonicalModel {
  const notes: string[] = [];
  const budget = foldBudget(model.graph);
  const flat = flatten(model, budget, options.inputShapes, options.inputValues);
  for (const name of flat.inlined) notes.push(`If "${name}" has a constant condition and was replaced by its branch.`);
  for (const name of flat.unrolled) notes.push(`Loop "${name}" was replaced by its steps.`);
  const fixed = Object.keys(options.inputValues ?? {});
  for (const name of fixed) notes.push(`Input "${name}" has a fixed value and is an input no more.`);
  if (flat.folded > 0)
    notes.push(`What depends on no input was folded into constants: ${counted(flat.folded, 'node')}.`);

  const opset = model.opsets.get('') ?? canonicalOpset;
  const opsets = new Map(model.opsets).set('', Math.max(canonicalOpset, opset));
  if (opset < canonicalOpset) notes.push(`Operators were rewritten from ai.onnx ${opset} to ${canonicalOpset}.`);
  const dialect = { ...model, opsets, irVersion: Math.max(8, model.irVersion) };
  const checked = (graph: Graph): Graph => inferShapes({ ...dialect, graph: cleaned(graph) }).graph;

  // what is written out has constants of its own, and moves some that were there: they are folded once more
  const standard = { ...dialect, graph: cleaned(upgrade(model, flat.graph, flat.known)) };
  const upgraded = checked(flatten(standard, budget).graph);
  const { graph: single, border, weights, types } = inSinglePrecision(upgraded);
  if (types.length > 0) {
    notes.push(`The model computes in ${types.join(', ')}; it was brought to float32: ${counted(weights, 'weight')}.`);
  }
  const { graph: direct, removed } = dissolveIdentities(types.length > 0 ? checked(single) : upgraded);
  if (removed.length > 0) notes.push(`What only passes its input on was removed: ${counted(removed.length, 'node')}.`);

  // a merge can make the next one possible (a bias makes a MatMul a Gemm, which takes a BatchNormalization in)
  const original = checked(
    rewritten(checked(direct), (before, builder) => unsignedActivations(withStandardSteps(before), builder, notes)),
  );
  const writtenOut = rewritten(original, (before, builder) =>
    writeOutPackedWeights(
      writeOutIntegerLayers(writeOutDynamicQuantization(before, builder, notes), builder, notes),
      builder,
      notes,
    ),
  );
  const everyStep = options.recurrent === 'steps';
  const masked = rewritten(checked(writtenOut), withFiniteMasks);
  const recognized = rewritten(checked(masked), (before, builder) => recognizeNormalizations(before, builder, notes));
  const stepped = rewritten(checked(recognized), (before, builder) => inPlainRecurrence(before, builder, everyStep));
  let graph = checked(rewritten(checked(stepped), inPlainProducts));
  for (;;) {
    const before = notes.length;
    const builder = createBuilder(graph, 'canonical/');
    const merged = mergeLinear(mergeBiasedProducts(graph, builder, notes), builder, notes);
    if (notes.length === before) break;
    graph = checked({ ...merged, initializers: builder.graph.initializers });
  }
  const executed = writtenOut !== original ? withOwnIntegerLayers(graph, original) : graph;
  return { model: { ...dialect, graph }, executed, border, notes };
}

/** Rewrites a graph with a builder for its new constants; a graph that comes back as it is stays as it is. */
function rewritten(graph: Graph, rewrite: (graph: Graph, builder: GraphBuilder) => Graph): Graph {
  const builder = createBuilder(graph, 'canonical/');
  const result = rewrite(graph, builder);
  return result === graph ? graph : { ...result, initializers: builder.graph.initializers };
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function cleaned(graph: Graph): Graph {
  return { ...graph, ...withoutDeadNodes(graph.nodes, graph.initializers, graph.outputs) };
}

function upgrade(model: Model, graph: Graph, known: Knowledge): Graph {
  const builder = createBuilder({ ...graph, values: new Map<string, StaticType>(known.types) }, 'canonical/');
  const nodes = upgradeNodes(model, graph, known, builder);
  return { ...graph, nodes, initializers: builder.graph.initializers };
}

/** Upgrades the nodes of a graph and of its branches; new constants go to the outermost graph, which branches see. */
function upgradeNodes(model: Model, graph: Graph, known: Knowledge, builder: GraphBuilder): readonly Node[] {
  const read = new Set([...graph.nodes.flatMap(readsOf), ...graph.outputs.map((output) => output.name)]);
  return graph.nodes.flatMap((node) => {
    if (isIf(node)) return upgradeBranches(model, node, known, builder);
    const types = node.outputs.map((name) => known.types.get(name)!);
    const upgraded = upgradeNode(callOf(model, node, known), builder, types);
    const kept = new Set(upgraded.flatMap((newer) => newer.outputs));
    const lost = node.outputs.find((name) => read.has(name) && !kept.has(name));
    if (lost !== undefined) {
      const reason = `its output "${lost}" exists in training only, but is read; export the model for inference.`;
      throw new UnsupportedOperatorError(node.name, node.op, reason);
    }
    return upgraded;
  });
}

function upgradeBranches(model: Model, node: Node, known: Knowledge, builder: GraphBuilder): Node {
  const attributes = new Map<string, Attribute>(node.attributes);
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind !== 'graph') continue;
    const branch = attribute.value;
    const nodes = insideBranch(branch, known, () => {
      addConstants(branch, known);
      for (const name of branch.values.keys()) known.types.set(name, staticTypeOf(branch, name));
      return upgradeNodes(model, branch, known, builder);
    });
    attributes.set(name, { kind: 'graph', value: { ...branch, nodes } });
  }
  return { ...node, attributes };
}
