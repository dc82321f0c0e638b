import type { GraphBuilder } from '../builder.js';
import type { Attribute, Graph, Node } from '../graph.js';
import { float, int, intAttribute, intsAttribute, sizeOf } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { numbersOf, tensorOf } from '../tensors.js';

/** A normalisation that small operators write out: x / σ or (x − μ) / σ over the last axes. */
interface Found {
  readonly op: 'LayerNormalization' | 'SimplifiedLayerNormalization';
  readonly x: string;
  /** first of the axes that it is over */
  readonly axis: number;
  readonly epsilon: number;
  /** the node whose output is normalised, before scale and shift */
  readonly root: Node;
}

/** What is known of the graph that a pattern is looked for in. */
interface Places {
  readonly graph: Graph;
  readonly producer: (name: string) => Node | undefined;
  readonly consumers: (name: string) => readonly Node[];
  /** the only number of a constant */
  readonly numberOf: (name: string) => number | undefined;
}

/** The node of one of the given operators that makes a tensor which only `readers` read. */
function made(places: Places, name: string | undefined, ops: readonly string[], readers = 1): Node | undefined {
  if (name === undefined || places.consumers(name).length !== readers) return undefined;
  const node = places.producer(name);
  return node !== undefined && node.domain === '' && ops.includes(node.op) ? node : undefined;
}

/** First of the axes of a mean, where they are the last ones and are kept; and what it is of. */
function meanOf(places: Places, node: Node | undefined): { of: string; axis: number } | undefined {
  if (node === undefined || intAttribute(node, 'keepdims', 1) === 0) return undefined;
  const [of, listed = ''] = node.inputs as [string, string?];
  const rank = staticTypeOf(places.graph, of).dims.length;
  const constant = places.graph.initializers.get(listed);
  const given = constant === undefined ? intsAttribute(node, 'axes', []) : [...numbersOf(constant)];
  const axes = given.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
  const [axis] = axes;
  const isLast = axis !== undefined && axes.every((own, index) => own === axis + index) && axes.at(-1) === rank - 1;
  return isLast ? { of, axis } : undefined;
}

/** What is squared; undefined where a node is no square. */
function squareOf(places: Places, node: Node | undefined): string | undefined {
  const [a, b] = node?.inputs ?? [];
  if (node?.op === 'Mul' && a === b) return a;
  return node?.op === 'Pow' && places.numberOf(b ?? '') === 2 ? a : undefined;
}

/** √(mean + ε) behind a divisor: the mean of the squares of `of` over the last axes. */
function deviationOf(
  places: Places,
  name: string | undefined,
): { of: string; axis: number; epsilon: number } | undefined {
  const root = made(places, name, ['Sqrt']);
  const sum = made(places, root?.inputs[0], ['Add']);
  if (sum === undefined) return undefined;
  for (const [variance, constant] of [sum.inputs, [...sum.inputs].reverse()] as [string, string][]) {
    const epsilon = places.numberOf(constant);
    const mean = meanOf(places, made(places, variance, ['ReduceMean']));
    const of = mean && squareOf(places, made(places, mean.of, ['Mul', 'Pow']));
    if (epsilon !== undefined && mean !== undefined && of !== undefined) return { of, axis: mean.axis, epsilon };
  }
  return undefined;
}

/** The dividend and the divisor of a / b, a · (1 / b) and a · b⁻¹. */
function* quotientsOf(places: Places, node: Node): Generator<readonly [dividend: string, divisor: string]> {
  const [a, b] = node.inputs as [string, string];
  if (node.op === 'Div') yield [a, b];
  if (node.op !== 'Mul') return;
  for (const [factor, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const inverse = made(places, other, ['Reciprocal', 'Div']);
    if (inverse?.op === 'Reciprocal') yield [factor, inverse.inputs[0]!];
    if (inverse?.op === 'Div' && places.numberOf(inverse.inputs[0]!) === 1) yield [factor, inverse.inputs[1]!];
  }
}

function normalizationAt(places: Places, node: Node): Found | undefined {
  for (const [dividend, divisor] of quotientsOf(places, node)) {
    const deviation = deviationOf(places, divisor);
    if (deviation === undefined) continue;
    const { axis, epsilon } = deviation;
    const centred = centredBy(places, dividend, deviation.of, axis);
    if (centred !== undefined) return { op: 'LayerNormalization', x: centred, axis, epsilon, root: node };
    if (deviation.of === dividend)
      return { op: 'SimplifiedLayerNormalization', x: dividend, axis, epsilon, root: node };
  }
  return undefined;
}

/** x where `dividend` and what is squared are both x less its mean (exporters write the difference once or twice). */
function centredBy(places: Places, dividend: string, squared: string, axis: number): string | undefined {
  const difference = (name: string): readonly [x: string, mean: string] | undefined => {
    const node = places.producer(name);
    return node?.op === 'Sub' && node.domain === '' ? (node.inputs as [string, string]) : undefined;
  };
  const [own, other] = [difference(dividend), difference(squared)];
  if (own === undefined || other === undefined || own[0] !== other[0]) return undefined;
  for (const mean of new Set([own[1], other[1]])) {
    const producer = places.producer(mean);
    const over = meanOf(places, producer?.op === 'ReduceMean' ? producer : undefined);
    if (over?.of !== own[0] || over.axis !== axis) return undefined;
  }
  return own[0];
}

/** A constant that scales or shifts the normalised axes, with the node that does so. */
function appliedAfter(places: Places, name: string, op: 'Mul' | 'Add', shape: readonly number[]) {
  const [node, ...others] = places.consumers(name);
  if (node?.op !== op || node.domain !== '' || others.length > 0) return undefined;
  const constant = node.inputs.find((input) => input !== name) ?? '';
  const value = places.graph.initializers.get(constant);
  const lead = (value?.dims.length ?? 0) - shape.length;
  const fits = lead >= 0 && value?.dims.every((dim, axis) => dim === (axis < lead ? 1 : shape[axis - lead]));
  const isWhole = sizeOf(value?.dims ?? []) === sizeOf(shape);
  return value?.type === 'float32' && fits && isWhole ? { node, value } : undefined;
}

/**
 * LayerNorm and RMSNorm written out in small operators, as one node each: composites match them, and the forward pass is shorter. Only
 * over the last axes; relevance through the small operators is the same where they stay. Each adds a sentence to `notes`.
 */
export function recognizeNormalizations(graph: Graph, builder: GraphBuilder, notes: string[]): Graph {
  const producers = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) producers.set(name, node);
    for (const name of new Set(node.inputs)) consumers.set(name, [...(consumers.get(name) ?? []), node]);
  }
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const places: Places = {
    graph,
    producer: (name) => producers.get(name),
    // an output of the graph has a reader that no pattern knows
    consumers: (name) => (outputs.has(name) ? [] : (consumers.get(name) ?? [])),
    numberOf(name) {
      const value = graph.initializers.get(name);
      return value?.type === 'float32' && sizeOf(value.dims) === 1 ? numbersOf(value)[0] : undefined;
    },
  };
  const replaced = new Map<Node, Node>();
  for (const node of graph.nodes) {
    const found = normalizationAt(places, node);
    if (found === undefined) continue;
    const shape = staticTypeOf(graph, found.x).dims.slice(found.axis);
    const scale = appliedAfter(places, node.outputs[0]!, 'Mul', shape);
    const shift =
      scale === undefined || found.op !== 'LayerNormalization'
        ? undefined
        : appliedAfter(places, scale.node.outputs[0]!, 'Add', shape);
    const last = shift?.node ?? scale?.node ?? node;
    const store = (name: string, values: ArrayLike<number>): string =>
      builder.initializer(builder.name(`${node.name}.${name}`), tensorOf('float32', shape, values));
    const gamma = store(
      'scale',
      scale === undefined ? new Float32Array(sizeOf(shape)).fill(1) : numbersOf(scale.value),
    );
    const inputs = [found.x, gamma, ...(shift === undefined ? [] : [store('shift', numbersOf(shift.value))])];
    const attributes = new Map<string, Attribute>([
      ['axis', int(found.axis)],
      ['epsilon', float(found.epsilon)],
    ]);
    replaced.set(last, { op: found.op, domain: '', name: node.name, inputs, outputs: [last.outputs[0]!], attributes });
    notes.push(`"${node.name}" and what is around it is a ${found.op} written out, and became one.`);
  }
  if (replaced.size === 0) return graph;
  return { ...graph, nodes: graph.nodes.map((node) => replaced.get(node) ?? node) };
}
