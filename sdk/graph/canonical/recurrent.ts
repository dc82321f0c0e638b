import { UnsupportedOperatorError } from '../../errors.js';
import type { GraphBuilder } from '../builder.js';
import type { Graph, Node, StaticType, Tensor } from '../graph.js';
import { float, floatAttribute, int, intAttribute, textAttribute } from '../graph.js';
import { staticTypeOf } from '../shapes.js';
import { numbersOf, tensorOf } from '../tensors.js';
import { type Writer, written } from './writer.js';

type RecurrentOperator = 'LSTM' | 'GRU' | 'RNN';

/** Gates by operator, and the activations that they have where nothing is said. */
const USUAL: Readonly<Record<RecurrentOperator, { gates: number; activations: readonly string[] }>> = {
  LSTM: { gates: 4, activations: ['sigmoid', 'tanh', 'tanh'] },
  GRU: { gates: 3, activations: ['sigmoid', 'tanh'] },
  RNN: { gates: 1, activations: ['tanh'] },
};

const isRecurrent = (node: Node): node is Node & { readonly op: RecurrentOperator } =>
  node.domain === '' && Object.hasOwn(USUAL, node.op);

/** An activation with its parameters, as ONNX lists them for recurrent layers. */
interface Activation {
  readonly name: string;
  readonly alpha: number;
  readonly beta: number;
}

/** Parameters of the activations that have any; the lists of the attributes are used up in order by those. */
const PARAMETERS: Readonly<Record<string, readonly [alpha: number, beta?: number]>> = {
  affine: [1, 0],
  leakyrelu: [0.01],
  thresholdedrelu: [1],
  scaledtanh: [1, 1],
  hardsigmoid: [0.2, 0.5],
  elu: [1],
};

/** The activations of all directions, one after the other. */
function activationsOf(node: Node & { readonly op: RecurrentOperator }, directions: number): Activation[] {
  const usual = USUAL[node.op].activations;
  const given = node.attributes.get('activations');
  const names =
    given?.kind === 'strings' && given.value.length > 0
      ? given.value.map((name) => name.toLowerCase())
      : Array.from({ length: directions }, () => usual).flat();
  const list = (attribute: string): number[] => {
    const values = node.attributes.get(attribute);
    return values?.kind === 'floats' ? [...values.value] : [];
  };
  const [alphas, betas] = [list('activation_alpha'), list('activation_beta')];
  return names.map((name) => {
    const [alpha, beta] = PARAMETERS[name] ?? [];
    return {
      name,
      alpha: alpha === undefined ? 0 : (alphas.shift() ?? alpha),
      beta: beta === undefined ? 0 : (betas.shift() ?? beta),
    };
  });
}

const SIMPLE: Readonly<Record<string, string>> = {
  relu: 'Relu',
  tanh: 'Tanh',
  sigmoid: 'Sigmoid',
  softsign: 'Softsign',
  softplus: 'Softplus',
};

function activated(write: Writer, node: Node, { name, alpha, beta }: Activation, x: string): string {
  const times = (value: string, factor: number): string => write.op('Mul', [value, write.numbers([factor])]);
  if (SIMPLE[name] !== undefined) return write.op(SIMPLE[name], [x]);
  switch (name) {
    case 'affine':
      return write.op('Add', [times(x, alpha), write.numbers([beta])]);
    case 'scaledtanh':
      return times(write.op('Tanh', [times(x, beta)]), alpha);
    case 'leakyrelu':
      return write.op('LeakyRelu', [x], { alpha: float(alpha) });
    case 'thresholdedrelu':
      return write.op('ThresholdedRelu', [x], { alpha: float(alpha) });
    case 'hardsigmoid':
      return write.op('HardSigmoid', [x], { alpha: float(alpha), beta: float(beta) });
    case 'elu':
      return write.op('Elu', [x], { alpha: float(alpha) });
    default:
      throw new UnsupportedOperatorError(node.name, node.op, `its activation "${name}" is not known.`);
  }
}

/** One direction of a layer while it is written out: time first, states as [batch, hidden]. */
interface Direction {
  readonly write: Writer;
  readonly node: Node;
  readonly hidden: number;
  readonly activations: readonly Activation[];
  /** x·W of a gate in a step */
  readonly fromInput: (gate: number, t: number) => string;
  /** h·R of some gates, in their order */
  readonly fromState: (h: string, first: number, last: number) => string;
  /** A sum with a gate's biases, those of x, of h or both; last, so that it is the bias of the whole sum. */
  readonly biased: (sum: string, gate: number, of: readonly ('x' | 'h')[]) => string;
  readonly peephole: ((index: number) => string) | undefined;
}

const gateOf = ({ write, hidden }: Direction, all: string, index: number, count: number): string =>
  count === 1 ? all : write.slice(all, 1, index * hidden, (index + 1) * hidden);

/** The input of an activation, bounded where the node says so. */
function bounded({ write, node }: Direction, z: string): string {
  const clip = floatAttribute(node, 'clip', 0);
  return clip === 0 ? z : write.op('Clip', [z, write.numbers([-clip]), write.numbers([clip])]);
}

/** States after a step. */
interface States {
  readonly h: string;
  readonly c: string;
}

function lstmStep(direction: Direction, t: number, { h, c }: States): States {
  const { write, node, activations, fromInput, biased, peephole } = direction;
  const [f, g, read] = activations as [Activation, Activation, Activation];
  const fromState = direction.fromState(h, 0, 4);
  const z = (gate: number): string =>
    biased(write.op('Add', [fromInput(gate, t), gateOf(direction, fromState, gate, 4)]), gate, ['x', 'h']);
  const through = (activation: Activation, value: string): string =>
    activated(write, node, activation, bounded(direction, value));
  const peeped = (value: string, index: number, cell: string): string =>
    peephole === undefined ? value : write.op('Add', [value, write.op('Mul', [cell, peephole(index)])]);
  const i = through(f, peeped(z(0), 0, c));
  const forget =
    intAttribute(node, 'input_forget', 0) !== 0
      ? write.op('Sub', [write.numbers([1]), i])
      : through(f, peeped(z(2), 2, c));
  const kept = write.op('Mul', [forget, c]);
  const cell = write.op('Add', [kept, write.op('Mul', [i, through(g, z(3))])]);
  const o = through(f, peeped(z(1), 1, cell));
  return { h: write.op('Mul', [o, activated(write, node, read, cell)]), c: cell };
}

function gruStep(direction: Direction, t: number, { h, c }: States): States {
  const { write, node, activations, fromInput, biased } = direction;
  const [f, g] = activations as [Activation, Activation];
  const through = (activation: Activation, value: string): string =>
    activated(write, node, activation, bounded(direction, value));
  const fromState = direction.fromState(h, 0, 2);
  const [update, reset] = [0, 1].map((gate) =>
    through(f, biased(write.op('Add', [fromInput(gate, t), gateOf(direction, fromState, gate, 2)]), gate, ['x', 'h'])),
  ) as [string, string];
  const isLinear = intAttribute(node, 'linear_before_reset', 0) !== 0;
  const read = isLinear
    ? write.op('Mul', [reset, biased(direction.fromState(h, 2, 3), 2, ['h'])])
    : direction.fromState(write.op('Mul', [reset, h]), 2, 3);
  const sum = write.op('Add', [fromInput(2, t), read]);
  const candidate = through(g, biased(sum, 2, isLinear ? ['x'] : ['x', 'h']));
  const fresh = write.op('Mul', [write.op('Sub', [write.numbers([1]), update]), candidate]);
  return { h: write.op('Add', [fresh, write.op('Mul', [update, h])]), c };
}

function rnnStep(direction: Direction, t: number, { h, c }: States): States {
  const { write, node, activations, fromInput, fromState, biased } = direction;
  const z = biased(write.op('Add', [fromInput(0, t), fromState(h, 0, 1)]), 0, ['x', 'h']);
  return { h: activated(write, node, activations[0]!, bounded(direction, z)), c };
}

const STEPS = { LSTM: lstmStep, GRU: gruStep, RNN: rnnStep } as const;

/** Sizes and names of a node whose time stands first. */
interface Layer {
  readonly node: Node & { readonly op: RecurrentOperator };
  readonly x: string;
  readonly states: readonly [h: string | undefined, c: string | undefined];
  readonly lengths: string | undefined;
  readonly length: number;
  readonly batch: number;
  readonly inputs: number;
  readonly hidden: number;
  readonly directions: number;
}

/** One row of a tensor with an axis of directions in front. */
const rowOf = (write: Writer, value: string, direction: number, dims: readonly number[]): string =>
  write.reshape(write.slice(value, 0, direction, direction + 1), dims);

/** Writes all steps of one direction; `all` is in the order of time. */
function steps(write: Writer, layer: Layer, index: number, activations: readonly Activation[]) {
  const { node, hidden, length, batch, inputs } = layer;
  const { gates } = USUAL[node.op];
  const [, w, r, bias = '', , , , peep = ''] = node.inputs as [string, string, string, ...string[]];
  const weights = write.transpose(rowOf(write, w, index, [gates * hidden, inputs]), [1, 0]);
  const recurrence = write.transpose(rowOf(write, r, index, [gates * hidden, hidden]), [1, 0]);
  const biases = bias === '' ? undefined : rowOf(write, bias, index, [2 * gates * hidden]);
  const partOf = (value: string, axis: number, first: number, last: number): string =>
    write.slice(value, axis, first * hidden, last * hidden);
  const projected = write.op('MatMul', [layer.x, weights], {}, 'main');
  const pieces = Array.from({ length: gates }, (_, gate) => {
    const own = gates === 1 ? projected : write.slice(projected, 2, gate * hidden, (gate + 1) * hidden);
    if (length === 1) return [write.reshape(own, [batch, hidden])];
    const split = write.ops('Split', [own, write.ints(new Array<number>(length).fill(1))], length, { axis: int(0) });
    return split.map((piece) => write.reshape(piece, [batch, hidden]));
  });
  const peepholes = peep === '' ? undefined : rowOf(write, peep, index, [3 * hidden]);
  const direction: Direction = {
    ...{ write, node, hidden, activations },
    fromInput: (gate, t) => pieces[gate]![t]!,
    fromState: (h, first, last) => write.op('MatMul', [h, partOf(recurrence, 1, first, last)]),
    biased(sum, gate, of) {
      if (biases === undefined) return sum;
      const parts = of.map((source) => (source === 'x' ? gate : gates + gate));
      const [first, ...others] = parts.map((part) => partOf(biases, 0, part, part + 1));
      return write.op('Add', [sum, others.reduce((total, other) => write.op('Add', [total, other]), first!)]);
    },
    peephole: peepholes === undefined ? undefined : (at) => partOf(peepholes, 0, at, at + 1),
  };
  const zeros = (): string => write.numbers(new Float32Array(batch * hidden), [batch, hidden]);
  const initial = (state: string | undefined): string =>
    state === undefined ? zeros() : rowOf(write, state, index, [batch, hidden]);
  let states: States = { h: initial(layer.states[0]), c: node.op === 'LSTM' ? initial(layer.states[1]) : '' };
  const isReversed = textAttribute(node, 'direction', 'forward') === 'reverse' || index === 1;
  const order = Array.from({ length }, (_, t) => (isReversed ? length - 1 - t : t));
  const all = new Array<string>(length);
  for (const t of order) {
    const next = STEPS[node.op](direction, t, states);
    if (layer.lengths === undefined) {
      states = next;
      all[t] = next.h;
      continue;
    }
    // a sequence that is over keeps its state and gives zeros
    const now = write.tensor(tensorOf('int32', [1, 1], [t]));
    const isGoing = write.op('Greater', [write.reshape(layer.lengths, [batch, 1]), now]);
    const held = (fresh: string, old: string): string => (fresh === '' ? '' : write.op('Where', [isGoing, fresh, old]));
    all[t] = write.op('Where', [isGoing, next.h, write.numbers([0])]);
    states = { h: held(next.h, states.h), c: held(next.c, states.c) };
  }
  return { all, states };
}

/** Gives the results of all directions in the shapes that ONNX has for them; `turn` swaps time and batch where the batch stands first. */
function give(write: Writer, layer: Layer, results: readonly ReturnType<typeof steps>[], batchFirst: boolean): void {
  const { node, batch, hidden } = layer;
  const joined = (values: readonly string[], axis: number): string =>
    values.length === 1 ? values[0]! : write.op('Concat', values, { axis: int(axis) });
  if (node.outputs[0]) {
    const rows = results.map(({ all }) =>
      joined(
        all.map((h) => write.reshape(h, [1, 1, batch, hidden])),
        0,
      ),
    );
    write.give(node.outputs[0], batchFirst ? write.transpose(joined(rows, 1), [2, 0, 1, 3]) : joined(rows, 1));
  }
  for (const [index, state] of (['h', 'c'] as const).entries()) {
    if (!node.outputs[index + 1]) continue;
    const rows = results.map(({ states }) => write.reshape(states[state], [1, batch, hidden]));
    write.give(node.outputs[index + 1], batchFirst ? write.transpose(joined(rows, 0), [1, 0, 2]) : joined(rows, 0));
  }
}

/** How a recurrent layer is written: as it is, with time first, or step by step. */
type Form = 'plain' | 'time first' | 'steps';

function formOf(node: Node & { readonly op: RecurrentOperator }, lengths: boolean, everyStep: boolean): Form {
  const directions = textAttribute(node, 'direction', 'forward') === 'bidirectional' ? 2 : 1;
  const usual = USUAL[node.op].activations;
  const isUsual = activationsOf(node, directions).every(({ name }, index) => {
    return name === usual[index % usual.length] || (node.op === 'RNN' && name === 'relu');
  });
  const clipped = floatAttribute(node, 'clip', 0) !== 0 || intAttribute(node, 'input_forget', 0) !== 0;
  if (everyStep || !isUsual || clipped || lengths) return 'steps';
  return intAttribute(node, 'layout', 0) === 0 && (node.inputs[4] ?? '') === '' ? 'plain' : 'time first';
}

/**
 * Recurrent layers with time first, the usual activations, no bound and whole sequences. Every other one is written out step by step;
 * all of them where `everyStep` says so. Relevance goes the same way through either form.
 */
export function inPlainRecurrence(graph: Graph, builder: GraphBuilder, everyStep: boolean): Graph {
  const typeOf = (name: string): StaticType => staticTypeOf(graph, name);
  const constantOf = (name: string): Tensor | undefined => builder.graph.initializers.get(name);
  let changed = false;
  const nodes = graph.nodes.flatMap((node) => {
    if (!isRecurrent(node)) return [node];
    const batchFirst = intAttribute(node, 'layout', 0) !== 0;
    const { dims } = typeOf(node.inputs[0]!);
    const [length, batch] = batchFirst ? [dims[1]!, dims[0]!] : [dims[0]!, dims[1]!];
    const lengths = node.inputs[4] ?? '';
    const known = constantOf(lengths);
    // lengths that are all of the input say nothing
    const isShorter = lengths !== '' && (known === undefined || numbersOf(known).some((own) => own !== length));
    const form = formOf(node, isShorter, everyStep);
    if (form === 'plain') return [node];
    changed = true;
    return written(node, 'float32', builder, (write) => {
      const first = (name: string | undefined): string | undefined =>
        name === undefined || name === '' ? undefined : batchFirst ? write.transpose(name, [1, 0, 2]) : name;
      const states = [first(node.inputs[5]), first(node.inputs[6])] as const;
      const x = first(node.inputs[0])!;
      if (form === 'time first') {
        const { layout: _, ...attributes } = Object.fromEntries(node.attributes);
        const inputs = [x, ...node.inputs.slice(1, 4), '', ...states.map((state) => state ?? ''), node.inputs[7] ?? ''];
        const needed = inputs.slice(0, node.inputs.length);
        const results = write.ops(node.op, needed, node.outputs.length, attributes, 'main');
        const turns = [
          [2, 0, 1, 3],
          [1, 0, 2],
          [1, 0, 2],
        ];
        for (const [index, output] of node.outputs.entries()) {
          if (output === '') continue;
          write.give(output, batchFirst ? write.transpose(results[index]!, turns[index]!) : results[index]!);
        }
        return;
      }
      const weight = typeOf(node.inputs[1]!).dims;
      const hidden = typeOf(node.inputs[2]!).dims[2]!;
      const directions = weight[0]!;
      const layer: Layer = {
        ...{ node, x, states, length, batch, hidden, directions, inputs: weight[2]! },
        lengths: isShorter ? lengths : undefined,
      };
      const activations = activationsOf(node, directions);
      const each = activations.length / directions;
      const results = Array.from({ length: directions }, (_, index) =>
        steps(write, layer, index, activations.slice(index * each, (index + 1) * each)),
      );
      give(write, layer, results, batchFirst);
    });
  });
  return changed ? { ...graph, nodes } : graph;
}
