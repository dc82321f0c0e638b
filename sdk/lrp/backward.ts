import { UnsupportedOperatorError } from '../errors.js';
import { producersOf } from '../graph/canonical/draft.js';
import { constantTensors } from '../graph/constant-tensors.js';
import type { Graph, Node, Tensor } from '../graph/graph.js';
import { scalarOf } from '../graph/tensors.js';
import { type Audited, auditStart, createAudit } from './audit.js';
import type { RuleName } from './composite.js';
import { flatNodes, type LayerOrder, layerOrder } from './depth.js';
import type { Emitter, Value } from './emitter.js';
import { fitting } from './limits.js';
import type { Shared } from './linear.js';
import { ruleOf } from './match.js';
import { operators } from './operators/index.js';
import type { NodeContext, OperatorSupport, Way } from './operators/operator.js';
import type { Readings } from './readings.js';
import type { CompileOptions } from './report.js';
import type { NodeRule, ResolvedComposite } from './resolve.js';
import { nonNegativeTensors } from './signs.js';
import { type Rectifier, rectifierOf, vanishesWithValue } from './vanishing.js';

/** The rule that a node got, what its backward pass is written with, and what that costs in multiply-adds. */
export interface ExplainedNode {
  readonly node: Node;
  readonly rule: NodeRule | undefined;
  readonly support: OperatorSupport;
  readonly depth: number | undefined;
  readonly backward: number;
  /** operators of the nodes that its relevance adds */
  readonly operators: readonly string[];
}

/** What the backward pass left behind. */
export interface Backward {
  /** relevance of every tensor that was asked for and that any relevance reached */
  readonly relevance: ReadonlyMap<string, Value>;
  readonly explained: ReadonlyMap<Node, ExplainedNode>;
  readonly audit: Audited | undefined;
}

/** Where a backward pass ends, and what it is measured against. */
export interface BackwardEnds {
  /** the tensors that it ends at; the model's inputs where nothing is said */
  readonly until?: readonly string[];
  /** the value of every tensor at a reference input: what goes back is then DeepLIFT's multipliers */
  readonly reference?: (name: string) => Value;
}

/** Relevance from one consumer of a tensor, and the audit's number for it. */
interface Arrival {
  readonly value: Value;
  readonly number: number;
  /** whether it is 0 wherever the tensor is */
  readonly vanishes: boolean;
  /** the ReLU that it came through, where it is 0 wherever that is closed */
  readonly rectifier: Rectifier | undefined;
}

/** Float32 inputs are explained; tokens, lengths and flags carry no relevance. */
export const explainedInputs = (graph: Graph): string[] =>
  graph.inputs.filter((input) => input.type === 'float32').map((input) => input.name);

/** Names of the tensors between `starts` (the model's inputs) and `end`: those that depend on a start and that `end` depends on. */
export function pathTo(
  graph: Graph,
  end: string,
  starts: readonly string[] = explainedInputs(graph),
): ReadonlySet<string> {
  const fed = new Set(starts);
  for (const node of graph.nodes) {
    if (node.inputs.some((input) => fed.has(input))) for (const output of node.outputs) fed.add(output);
  }
  const needed = new Set([end]);
  for (const node of [...graph.nodes].reverse()) {
    if (node.outputs.some((output) => needed.has(output))) for (const input of node.inputs) needed.add(input);
  }
  return new Set([...fed].filter((name) => needed.has(name)));
}

/** The tensor that was quantized to give another; itself where none was. */
function unquantized(name: string, producers: ReadonlyMap<string, Node>): string {
  const node = producers.get(name);
  return node?.op === 'DequantizeLinear' || node?.op === 'QuantizeLinear'
    ? unquantized(node.inputs[0]!, producers)
    : name;
}

/** Operators that give their input's values in another order or shape, and no others. */
const MOVES = new Set(['Flatten', 'Identity', 'Reshape', 'Squeeze', 'Transpose', 'Unsqueeze']);

type Range = NonNullable<ReturnType<NodeContext['range']>>;

/** The range of a tensor that is an input, or an input moved: then only one range for all channels is one of what is moved. */
function rangeOf(
  name: string,
  ranges: ReadonlyMap<string, Range>,
  producers: ReadonlyMap<string, Node>,
): Range | undefined {
  const tensor = unquantized(name, producers);
  const known = ranges.get(tensor);
  const producer = producers.get(tensor);
  if (known !== undefined || producer === undefined || !MOVES.has(producer.op)) return known;
  const moved = rangeOf(producer.inputs[0]!, ranges, producers);
  return moved?.every((bound) => typeof bound === 'number' || bound.length === 1) ? moved : undefined;
}

/** Operators that com.microsoft has under the names of ONNX, for types that its older versions lack. */
const STEPS = new Set(['QuantizeLinear', 'DequantizeLinear']);

/** What is known of a node's operator, or of the other kind of layer that the node is; throws `UNSUPPORTED_OPERATOR` where nothing is. */
export function supportOf(graph: Graph, node: Node): OperatorSupport {
  const isOwn = node.domain === '' || (node.domain === 'com.microsoft' && STEPS.has(node.op));
  const support = isOwn && Object.hasOwn(operators, node.op) ? operators[node.op] : undefined;
  if (support !== undefined) return support.variant?.(node, (name) => constantTensors(graph).has(name)) ?? support;
  throw new UnsupportedOperatorError(
    node.name,
    node.op,
    'no rule is known for this operator. Explain an output before it, or rewrite it with supported operators.',
    node.domain,
  );
}

/** A way back that goes before a node's rule, and what the report calls it. */
interface NamedWay {
  readonly rule: RuleName;
  readonly write: Way;
}

/** The way of an operator where the decomposition has ended; undefined where its own keeps the sum. */
const wayBelow = ({ evenly }: OperatorSupport, ended: boolean): NamedWay | undefined =>
  ended && typeof evenly === 'function' ? { rule: 'flat', write: evenly } : undefined;

/** How multipliers pass a node; throws `UNSUPPORTED_OPERATOR` where nobody has said how. */
function rescaleOf(node: Node, { rescale }: OperatorSupport): NamedWay {
  if (rescale === undefined) {
    throw new UnsupportedOperatorError(node.name, node.op, 'the multipliers of DeepLIFT are not known for it.');
  }
  const byTheChainRule: Way = (context, explain) =>
    explain({ ...context, rule: { ...context.rule, name: 'gradient' } });
  return { rule: 'rescale', write: rescale === 'linear' ? byTheChainRule : rescale };
}

/** What has arrived at a tensor, added up; of products with the tensor itself the other factors, so that it is multiplied once. */
function sumAt(graph: Graph, readings: Readings, emit: Emitter, name: string, arrivals: readonly Arrival[]): Value {
  const values = arrivals.map(({ value }) => value);
  const sum = (list: readonly Value[]): Value => list.reduce((total, value) => emit.add(total, value));
  if (values.length === 1 || graph.values.get(name)?.type !== 'float32') return sum(values);
  const tensor = readings.read(name);
  const cofactors = values.flatMap((value) => emit.cofactor(value, tensor) ?? []);
  return cofactors.length < values.length ? sum(values) : emit.mul(tensor, sum(cofactors));
}

/**
 * Writes the backward pass in reverse topological order. Relevance that arrives over several consumers is added up.
 * `start` is the relevance at `logits`; the relevance of the tensors in `wanted` is kept.
 * `readings` says how the values of the forward pass are read.
 */
export function emitBackward(
  graph: Graph,
  readings: Readings,
  emit: Emitter,
  logits: string,
  start: Value,
  wanted: ReadonlySet<string>,
  composite: ResolvedComposite,
  options: CompileOptions,
  { until = explainedInputs(graph), reference }: BackwardEnds = {},
): Backward {
  const path = pathTo(graph, logits, until);
  const producers = producersOf(graph.nodes);
  const order: LayerOrder = layerOrder(graph, (node) =>
    node.domain === '' && node.outputs.some((output) => path.has(output))
      ? (operators[node.op]?.weighted?.(node, (name) => constantTensors(graph).has(name)) ?? false)
      : false,
  );
  const flat = flatNodes(graph, order, composite.flatBelow);
  const flatComposite: ResolvedComposite = { ...composite, rules: [{ match: {}, rule: 'flat' }] };
  const ranges = new Map(Object.entries(options.inputRanges ?? {}));
  const lowest = (low: number | readonly number[]): number => (typeof low === 'number' ? low : Math.min(...low));
  const proven = nonNegativeTensors(
    graph,
    new Set([...ranges].filter(([, [low]]) => lowest(low) >= 0).map(([name]) => name)),
  );
  const audit = options.audit === true ? createAudit(emit) : undefined;
  const arrived = new Map<string, Arrival[]>([
    [logits, [{ value: start, number: audit?.arrived(start) ?? 0, vanishes: false, rectifier: undefined }]],
  ]);
  const relevance = new Map<string, Value>();
  const explained = new Map<Node, ExplainedNode>();
  audit?.step(auditStart(logits, [0]));

  const collect = (name: string): Value | undefined => {
    const parts = arrived.get(name);
    if (parts === undefined) return undefined;
    const sum = sumAt(graph, readings, emit, name, parts);
    if (wanted.has(name)) relevance.set(name, sum);
    return sum;
  };

  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => arrived.has(output))) continue;
    const taken = node.outputs.flatMap((output) => arrived.get(output) ?? []);
    const atOutputs = node.outputs.map(collect);
    const vanishes = taken.every((arrival) => arrival.vanishes);
    if (!node.inputs.some((input) => path.has(input))) continue;
    const support = supportOf(graph, node);
    const way = reference === undefined ? wayBelow(support, flat.has(node)) : rescaleOf(node, support);
    const known: readonly RuleName[] = way === undefined || support.rules.length === 0 ? support.rules : [way.rule];
    const [fallback] = known;
    const rule =
      fallback === undefined
        ? undefined
        : ruleOf(node, flat.has(node) ? flatComposite : composite, order, known, fallback);
    const seen = vanishes ? readings.quantized(node.outputs[0]!) : undefined;
    const rectifier = rectifierOf(node, (name) => scalarOf(graph, name));
    const closing = seen === undefined && taken.every((arrival) => arrival.rectifier !== undefined) ? taken : [];
    const whole = closing.find((arrival) => arrival.rectifier?.whole === true)?.rectifier;
    const absorbed: Value[] = [];
    const shared: Shared[] = [];
    const [before, written] = [emit.multiplyAdds, emit.operators.length];
    const context: NodeContext = {
      emit,
      node,
      rule: rule ?? ruleOf(node, { ...composite, rules: [] }, order, ['pass'], 'pass'),
      stabilizer: rule?.stabilizer ?? composite.stabilizer,
      bias: rule?.bias ?? composite.bias,
      absorb: (value) => absorbed.push(value),
      lose: (of) => audit && shared.push(of()),
      // constant integers (shapes, axes, indices) are read as numbers, never as values
      inputs: node.inputs.map((name) => {
        const isNumbers = graph.values.get(name)?.type === 'int64' && constantTensors(graph).has(name);
        return name === '' || isNumbers ? undefined : readings.read(name, node);
      }),
      outputs: node.outputs.filter((name) => name !== '').map((name) => readings.read(name, node)),
      quantized: seen === undefined ? undefined : { value: readings.read(seen), nonNegative: proven.has(seen) },
      positive: closing.length > 0,
      rectified: whole && readings.read(whole.output, node),
      relevance: atOutputs,
      wants: (index) => path.has(node.inputs[index] ?? ''),
      nonNegative: (name) => proven.has(name),
      range: (name) => rangeOf(name, ranges, producers),
      constantAt: (index): Tensor | undefined => graph.initializers.get(node.inputs[index] ?? ''),
      isConstant: (name) => constantTensors(graph).has(name),
      reference,
      producer: (name) => producers.get(name),
    };
    const results = fitting(`node "${node.name}" (${node.op})`, { node: node.name, operator: node.op }, () =>
      way === undefined ? support.explain(context) : way.write(context, support.explain),
    );
    const passedOn: number[] = [];
    node.inputs.forEach((input, index) => {
      const result = results[index];
      if (result === undefined || !path.has(input)) return;
      const number = audit?.arrived(result) ?? 0;
      passedOn.push(number);
      arrived.set(input, [
        ...(arrived.get(input) ?? []),
        {
          value: result,
          number,
          vanishes: vanishesWithValue(
            node,
            way === undefined ? rule : undefined,
            way === undefined && vanishes,
            rectifier,
          ),
          rectifier: way === undefined && vanishes ? rectifier : undefined,
        },
      ]);
    });
    audit?.step({ name: node.name, taken: taken.map((arrival) => arrival.number), passedOn, absorbed, shared });
    explained.set(node, {
      node,
      rule,
      support,
      depth: order.get(node)?.depth,
      backward: emit.multiplyAdds - before,
      operators: emit.operators.slice(written),
    });
  }
  for (const input of graph.inputs) collect(input.name);
  return { relevance, explained, audit: audit?.finish() };
}
