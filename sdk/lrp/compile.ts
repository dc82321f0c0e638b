import { WhylightError } from '../errors.js';
import { createBuilder, type GraphBuilder } from '../graph/builder.js';
import { withoutDeadNodes } from '../graph/canonical/draft.js';
import { withOwnTypes } from '../graph/canonical/precision.js';
import { renamed } from '../graph/canonical/rename.js';
import { canonicalize } from '../graph/canonicalize.js';
import { constantTensors } from '../graph/constant-tensors.js';
import { decodeModel } from '../graph/decode.js';
import { encodeModel } from '../graph/encode.js';
import { type Graph, type Model, sizeOf, subgraph } from '../graph/graph.js';
import { sortNodes } from '../graph/order.js';
import { explainedInputs, pathTo } from './backward.js';
import { baselineOf } from './baseline.js';
import { layerReport, offGpuOf } from './coverage.js';
import { storeDerivedWeights } from './derived-weights.js';
import { EXPLAIN, emitExplanation, TARGET } from './explanation.js';
import { fitting } from './limits.js';
import { forwardValue } from './readings.js';
import type { CompiledExplanation, CompileOptions, CompileReport } from './report.js';
import { type ResolvedComposite, resolveComposite } from './resolve.js';
import type { Scene } from './scene.js';
import { shareRectifiers } from './shared-rectifiers.js';
import { logitsOf } from './target.js';
import { vectorActivations } from './wasm/activations.js';
import { withIntegerContributions } from './wasm/integer-contributions.js';
import { withIntegerSums } from './wasm/integer-sums.js';
import { forWebgpu } from './webgpu/lower.js';

function invalid(message: string, field: string): never {
  throw new WhylightError('OPTION_INVALID', message, { details: { field } });
}

function oneOf(value: string | undefined, known: readonly string[], field: string): void {
  if (value === undefined || known.includes(value)) return;
  invalid(`Option "${field}" is ${JSON.stringify(value)}; it must be one of ${known.join(', ')}.`, field);
}

function checkOptions(model: Model, options: CompileOptions): void {
  const { graph } = model;
  for (const name of [TARGET, EXPLAIN]) {
    if (graph.values.has(name) || graph.inputs.some((input) => input.name === name)) {
      invalid(`The model has a tensor "${name}", a name that the compiled graph needs for itself.`, 'model');
    }
  }
  const outputs = graph.outputs.map((output) => output.name);
  if (options.output !== undefined && !outputs.includes(options.output)) {
    invalid(`The model has no output "${options.output}"; it has ${outputs.join(', ')}.`, 'output');
  }
  for (const name of [...Object.keys(options.inputShapes ?? {}), ...Object.keys(options.inputRanges ?? {})]) {
    if (!graph.inputs.some((input) => input.name === name)) {
      invalid(
        `The model has no input "${name}"; it has ${graph.inputs.map((input) => input.name).join(', ')}.`,
        'inputShapes',
      );
    }
  }
  oneOf(options.target, ['any', 'wasm', 'webgpu'], 'target');
  oneOf(options.types, ['own', 'float32'], 'types');
  oneOf(options.seed, ['logits', 'relevance'], 'seed');
  oneOf(options.derivedWeights, ['derive', 'store'], 'derivedWeights');
  for (const [name, [low, high]] of Object.entries(options.inputRanges ?? {})) {
    const lows = typeof low === 'number' ? [low] : low;
    const highs = typeof high === 'number' ? [high] : high;
    if (lows.length !== highs.length || lows.some((value, k) => !(value <= highs[k]!))) {
      invalid(`The range of input "${name}" is not [low, high] with low ≤ high.`, 'inputRanges');
    }
  }
}

/** The forward graph, with the logits as one more output where the model shows them under a Softmax or Sigmoid only. */
function forwardBuilder(graph: Graph, logits: string): GraphBuilder {
  const builder = createBuilder(graph, 'lrp/');
  if (!graph.outputs.some((output) => output.name === logits)) {
    builder.output(logits, 'float32', forwardValue(graph, logits).dims);
  }
  return builder;
}

/** The inputs that a compiled graph has beside the model's own: the target, and baselines that are fed with every run. */
function addInputs(builder: GraphBuilder, { graph }: Model, logits: string, { method }: ResolvedComposite): void {
  builder.input(TARGET, 'float32', forwardValue(graph, logits).dims);
  if (method?.baseline !== 'input') return;
  const path = pathTo(graph, logits);
  for (const name of explainedInputs(graph).filter((input) => path.has(input))) {
    builder.input(baselineOf(name), 'float32', forwardValue(graph, name).dims);
  }
}

/** The canonical graph of a model for a batch of `size`; undefined where it is made for single samples. */
function batchedGraph(
  decoded: Model,
  graph: Graph,
  logits: string,
  size: number,
  options: CompileOptions,
): Graph | undefined {
  const shapes = graph.inputs.map(({ name, dims: [batch, ...sample] }) => ({
    name,
    batch,
    sample: sample.map(Number),
  }));
  if (shapes.some(({ batch }) => batch !== 1)) return undefined;
  const inputShapes = Object.fromEntries(shapes.map(({ name, sample }) => [name, [size, ...sample]]));
  try {
    const batched = canonicalize(decoded, { inputShapes, inputValues: options.inputValues ?? {} }).model.graph;
    const [rows, ...rest] = batched.values.get(logits)?.dims ?? [];
    const [, ...expected] = forwardValue(graph, logits).dims;
    const computed = batched.nodes.some(({ inputs }) =>
      inputs.some((input) => constantTensors(batched).has(input) && !batched.initializers.has(input)),
    );
    return rows === size && rest.join() === expected.join() && !computed ? batched : undefined;
  } catch (error) {
    // a shape that the file fixes, or nodes that only fit one sample
    if (error instanceof WhylightError) return undefined;
    throw error;
  }
}

/** The canonical model, and its graph as it is to run. */
interface Forward {
  readonly model: Model;
  readonly executed: Graph;
  /** the canonical graph for another batch size */
  readonly batched: Scene['batched'];
}

/** The canonical graph with the layers that a device computes in its place. */
function executedFor(target: CompileOptions['target'], graph: Graph, executed: Graph): Graph {
  if (target === 'webgpu') return graph;
  return target === 'wasm' ? withIntegerSums(executed) : executed;
}

/** The compiled graph with the backward pass in the open. */
function openGraph(
  { model, executed, batched }: Forward,
  logits: string,
  composite: ResolvedComposite,
  options: CompileOptions,
) {
  const builder = forwardBuilder(executed, logits);
  addInputs(builder, model, logits, composite);
  const emitted = emitExplanation(
    model,
    { ...executed, outputs: builder.graph.outputs },
    builder,
    builder,
    logits,
    composite,
    options,
    batched,
  );
  for (const { name, value } of emitted.outputs) {
    builder.node('Identity', [value.name], {}, { outputs: [name] });
    builder.output(name, 'float32', value.dims);
  }
  return { graph: builder.graph, emitted };
}

/** The compiled graph with the backward pass in the then-branch of an `If`; the else-branch gives one zero per output. */
function gatedGraph(
  { model, executed, batched }: Forward,
  logits: string,
  composite: ResolvedComposite,
  options: CompileOptions,
) {
  const main = forwardBuilder(executed, logits);
  addInputs(main, model, logits, composite);
  main.input(EXPLAIN, 'bool', []);
  const body = createBuilder(undefined, 'lrp/then/');
  const emitted = emitExplanation(
    model,
    { ...executed, outputs: main.graph.outputs },
    main,
    body,
    logits,
    composite,
    options,
    batched,
  );
  const skipped = createBuilder(undefined, 'lrp/else/');
  for (const { name, value } of emitted.outputs) {
    const out = body.node('Identity', [value.name]);
    body.output(out, 'float32', value.dims);
    const ones = value.dims.map(() => 1);
    const zero = skipped.node('Identity', [skipped.floats([0], ones)]);
    skipped.output(zero, 'float32', ones);
    main.output(
      name,
      'float32',
      value.dims.map(() => ''),
    );
  }
  main.nodes(
    'If',
    [EXPLAIN],
    emitted.outputs.map((output) => output.name),
    {
      then_branch: subgraph(alive({ ...body.graph, name: 'explanation' })),
      else_branch: subgraph({ ...skipped.graph, name: 'forward only' }),
    },
  );
  return { graph: main.graph, emitted };
}

/** A graph that reads tensors under other names, which other nodes write. */
function readingInstead(graph: Graph, names: ReadonlyMap<string, string>): Graph {
  if (names.size === 0) return graph;
  const kept = graph.nodes.filter(({ outputs }) => !outputs.some((name) => names.has(name)));
  return { ...graph, nodes: sortNodes(kept.map((node) => renamed(node, names))) };
}

/** Without nodes that no output needs. */
const alive = (graph: Graph): Graph => ({
  ...graph,
  ...withoutDeadNodes(graph.nodes, graph.initializers, graph.outputs),
});

/** What the GPU was spared, as a note. */
function writtenFor(rewritten: ReadonlyMap<string, number>): string[] {
  if (rewritten.size === 0) return [];
  const list = [...rewritten].map(([op, count]) => `${op} (${count})`).join(', ');
  return [`Written with operators that the GPU has: ${list}.`];
}

/**
 * Compiles the explanation of a model: an ONNX file that computes the model's own outputs and, from the additional input
 * `target` (float32, the shape of the explained logits), the relevance of every floating-point input as output
 * `relevance/<input>` in the input's shape. A model in half or double precision keeps the types of its inputs and outputs; inside,
 * and for the relevance, it is float32. Where the model ends in a Softmax, LogSoftmax or Sigmoid, the logits under it become an
 * output under their own name. See {@link CompileOptions} for what else it can give.
 *
 * Throws a `WhylightError`: `MODEL_CORRUPT`, `MODEL_OPSET`, `MODEL_TYPE`, `MODEL_SHAPE`, `EXTERNAL_DATA`, `COMPOSITE_INVALID`,
 * `OPTION_INVALID`, or `UNSUPPORTED_OPERATOR` for a node between input and output that has no rule.
 */
export function compileExplanation(bytes: Uint8Array, options: CompileOptions = {}): CompiledExplanation {
  const composite = resolveComposite(options.composite ?? 'epsilon-plus-flat');
  const decoded = decodeModel(bytes, options.externalData === undefined ? {} : { externalData: options.externalData });
  checkOptions(decoded, options);
  const { model, executed, border, notes } = canonicalize(decoded, {
    inputShapes: options.inputShapes ?? {},
    inputValues: options.inputValues ?? {},
    // the layers themselves know no other way than all for the signal
    recurrent: [composite, ...composite.rules].some(({ gates }) => gates === 'halves') ? 'steps' : 'layers',
  });
  const { graph } = model;
  const output = options.output ?? graph.outputs[0]?.name;
  if (output === undefined) invalid('The model has no output.', 'output');
  const logits = logitsOf(graph, output);
  if (!pathTo(graph, logits).has(logits)) {
    invalid(
      `Output "${output}" does not depend on any floating-point input, so there is nothing to explain.`,
      'output',
    );
  }
  if (sizeOf(forwardValue(graph, logits).dims) === 0) {
    invalid(`Output "${output}" has no elements, so there is nothing to explain.`, 'output');
  }
  const forward: Forward = {
    model,
    executed: executedFor(options.target, graph, executed),
    batched: (size) => (executed === graph ? batchedGraph(decoded, graph, logits, size, options) : undefined),
  };
  const { graph: compiled, emitted } = fitting(`output "${output}"`, { output }, () =>
    (options.gated === true ? gatedGraph : openGraph)(forward, logits, composite, options),
  );
  const written = alive(readingInstead(compiled, emitted.renamed));
  const explanation = {
    ...model,
    graph:
      options.target === 'wasm'
        ? alive(vectorActivations(shareRectifiers(withIntegerContributions(written))))
        : written,
  };
  const lowered = options.target === 'webgpu' ? forWebgpu(explanation) : { model: explanation, rewritten: new Map() };
  const stored = options.derivedWeights === 'store' ? storeDerivedWeights(lowered.model) : undefined;
  const finished = stored?.model ?? lowered.model;
  const offGpu = offGpuOf(finished.graph);
  const left = new Set(offGpu.map(({ operator }) => operator));
  const layers = graph.nodes.map((node) => {
    const layer = layerReport(graph, node, emitted.explained.get(node));
    return { ...layer, cpu: layer.cpu.filter((op) => left.has(op)) };
  });
  const sum = (key: 'forward' | 'backward'): number => layers.reduce((total, layer) => total + layer[key], 0);
  const report: CompileReport = {
    layers,
    inputs: explainedInputs(graph).map((name) => ({ name, shape: [...forwardValue(graph, name).dims] })),
    explained: { output, logits, shape: [...forwardValue(graph, logits).dims] },
    forward: sum('forward'),
    backward: sum('backward'),
    offGpu,
    notes: [
      ...notes,
      ...writtenFor(lowered.rewritten),
      ...(stored === undefined ? [] : [`Derived weights were stored in place of ${stored.nodes} nodes.`]),
    ],
    steps: emitted.audit?.steps ?? [],
  };
  return {
    model: encodeModel({
      ...finished,
      graph: options.types === 'float32' ? finished.graph : withOwnTypes(finished.graph, border),
    }),
    report,
  };
}
