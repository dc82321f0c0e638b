import { intAttribute, textAttribute } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { within } from '../limits.js';
import { type Cell, type GateWeights, gru, lstm, rnn, type Sequence, stacked, stepOf, times } from './cells.js';
import { type NodeContext, type OperatorSupport, required } from './operator.js';
import { evenlyThroughTime } from './through-time.js';

/** Relevance at the results of one direction: of h after every step [time, batch, hidden], of the last h and of the last c. */
interface Arriving {
  readonly all: Value | undefined;
  readonly last: Value | undefined;
  readonly cell: Value | undefined;
}

/** Relevance of what one direction read. */
interface Returned {
  readonly x: Value;
  readonly initial: Value;
  readonly cell: Value;
}

/** The activation of an RNN in one direction; canonical LSTMs and GRUs have none but the usual ones. */
function activationOf({ node }: NodeContext, direction: number): Sequence['activation'] {
  const given = node.attributes.get('activations');
  const name = given?.kind === 'strings' ? given.value[direction] : undefined;
  return node.op === 'RNN' && name?.toLowerCase() === 'relu' ? 'Relu' : 'Tanh';
}

/**
 * The hidden states of all steps [time, directions, batch, hidden]: the node's own output, or those of a copy that gives them. The copy
 * starts at zeros that are written out: ONNX Runtime takes two nodes with equal inputs for one, and then fails over the outputs that
 * only one of them has.
 */
function hiddenStates(context: NodeContext, directions: number, hidden: number): Value {
  const { emit, node, inputs, outputs } = context;
  if (node.outputs[0] !== undefined && node.outputs[0] !== '') return outputs[0]!;
  const x = required(context, 0);
  const batch = x.dims[1]!;
  const left: Value = { name: '', dims: [], constant: true };
  const initial = inputs[5] ?? emit.filled(0, [directions, batch, hidden]);
  const given = [0, 1, 2, 3].map((index) => inputs[index] ?? left);
  const rest = inputs.slice(6).map((input) => input ?? left);
  return emit.op(
    node.op,
    [...given, left, initial, ...rest],
    [x.dims[0]!, directions, batch, hidden],
    Object.fromEntries(node.attributes),
  );
}

/** Row `direction` of a tensor of weights or states, without that axis. */
const rowOf = (emit: Emitter, a: Value, direction: number): Value =>
  emit.reshape(emit.slice(a, [direction], [direction + 1], [0]), a.dims.slice(1));

/** One direction of the node. */
function sequenceOf(context: NodeContext, direction: number, reversed: boolean, states: Value): Sequence {
  const { emit, inputs } = context;
  const x = required(context, 0);
  const [length, batch] = x.dims as [number, number];
  const hidden = states.dims[3]!;
  const after = emit.reshape(emit.slice(states, [direction], [direction + 1], [1]), [length, batch, hidden]);
  const state = (index: number): Value =>
    inputs[index] === undefined ? emit.filled(0, [batch, hidden]) : rowOf(emit, inputs[index], direction);
  const initial = emit.reshape(state(5), [1, batch, hidden]);
  const before =
    length === 1
      ? initial
      : reversed
        ? emit.concat([emit.slice(after, [1], [length], [0]), initial], 0)
        : emit.concat([initial, emit.slice(after, [0], [length - 1], [0])], 0);
  const w = rowOf(emit, required(context, 1), direction);
  const r = rowOf(emit, required(context, 2), direction);
  const count = w.dims[0]! / hidden;
  const part = (a: Value, gate: number): Value => emit.slice(a, [gate * hidden], [(gate + 1) * hidden], [0]);
  const biases = inputs[3] === undefined ? undefined : rowOf(emit, inputs[3], direction);
  const gates = Array.from(
    { length: count },
    (_, gate): GateWeights => ({
      w: part(w, gate),
      r: part(r, gate),
      inputBias: biases && part(biases, gate),
      recurrentBias: biases && part(biases, count + gate),
    }),
  );
  const peeps = inputs[7] === undefined ? undefined : rowOf(emit, inputs[7], direction);
  const steps = Array.from({ length: within(length, 'time steps', 2 ** 14) }, (_, t) => t);
  return {
    emit,
    order: reversed ? steps.reverse() : steps,
    x,
    before,
    after,
    gates,
    cell: state(6),
    peepholes: peeps && [part(peeps, 0), part(peeps, 1), part(peeps, 2)],
    linearBeforeReset: intAttribute(context.node, 'linear_before_reset', 0) !== 0,
    activation: activationOf(context, direction),
  };
}

/**
 * Relevance back through time. A gate gets none, the signal that it weighs all (Arras et al. 2017); the sum that makes the new state
 * shares by its summands (thesis 2.39), its candidate is a linear layer of x and h under the ε-rule (2.22):
 *
 *     R_state = R_h + R carried back,   s = R_state · write,   R_before = h ⊙ (s·r) + R_state · keep,   R_x = x ⊙ (s·w).
 */
function shareBack(context: NodeContext, cell: Cell, sequence: Sequence, arriving: Arriving): Returned {
  const { emit, order, x, before } = sequence;
  const shares = cell.shares(sequence, context.rule);
  const nothing = emit.filled(0, before.dims.slice(1));
  const quotients = order.map(() => nothing);
  const reached = x.dims[2]! + before.dims[2]!;
  const spread = (s: Value, bias: Value): Value =>
    emit.mul(emit.reduce('Sum', emit.mul(bias, s), [s.dims.length - 1]), emit.scalar(1 / reached));
  const { bias } = shares;
  const distributed = context.rule.bias === 'distribute' ? bias : undefined;
  let h = arriving.last;
  let state = arriving.cell;
  const plus = (a: Value | undefined, b: Value | undefined): Value | undefined =>
    a === undefined || b === undefined ? (a ?? b) : emit.add(a, b);
  for (const t of [...order].reverse()) {
    h = plus(h, arriving.all && stepOf(emit, arriving.all, t));
    const total = shares.state === 'cell' ? plus(h, state) : h;
    if (total === undefined) continue;
    const s = emit.mul(total, stepOf(emit, shares.write, t));
    quotients[t] = s;
    const through = shares.through === undefined ? s : emit.mul(s, stepOf(emit, shares.through, t));
    h = emit.mul(stepOf(emit, shares.reads, t), times(emit, through, shares.candidate.r));
    if (distributed !== undefined) {
      h = emit.add(h, spread(s, distributed.dims.length === 1 ? distributed : stepOf(emit, distributed, t)));
    }
    const kept = shares.keep && emit.mul(total, stepOf(emit, shares.keep, t));
    if (shares.state === 'cell') state = kept;
    else h = plus(h, kept);
  }
  const s = stacked(emit, quotients);
  let ofX = emit.mul(x, times(emit, s, shares.candidate.w));
  if (distributed !== undefined) ofX = emit.add(ofX, spread(s, distributed));
  else if (bias !== undefined && context.rule.bias === 'absorb') context.absorb(emit.mul(bias, s));
  return { x: ofX, initial: h ?? nothing, cell: state ?? nothing };
}

/** The chain rule back through time. */
function differentiateBack(_context: NodeContext, cell: Cell, sequence: Sequence, arriving: Arriving): Returned {
  const { emit, order, x, before, gates } = sequence;
  const step = cell.gradient(sequence);
  const nothing = emit.filled(0, before.dims.slice(1));
  const perGate = order.map(() => emit.filled(0, [x.dims[1]!, gates.length * before.dims[2]!]));
  let h = arriving.last;
  let c = arriving.cell;
  for (const t of [...order].reverse()) {
    const now = arriving.all && stepOf(emit, arriving.all, t);
    h = h === undefined || now === undefined ? (h ?? now) : emit.add(h, now);
    if (h === undefined && c === undefined) continue;
    const back = step(t, h ?? nothing, c);
    perGate[t] = back.atGates;
    h = back.before;
    c = back.cell;
  }
  const w = emit.concat(
    gates.map((gate) => gate.w),
    0,
  );
  return { x: times(emit, stacked(emit, perGate), w), initial: h ?? nothing, cell: c ?? nothing };
}

const recurrent = (cell: Cell): OperatorSupport => ({
  family: 'Recurrent layers',
  rules: ['epsilon', 'z', 'gradient'],
  source: 'gates get none, the signal takes all (Arras et al. 2017); thesis 2.22 and 2.39',
  evenly: evenlyThroughTime,
  weighted: () => true,
  explain(context) {
    const { emit, node, inputs, relevance, rule } = context;
    const direction = textAttribute(node, 'direction', 'forward');
    const directions = direction === 'bidirectional' ? 2 : 1;
    const states = hiddenStates(context, directions, required(context, 2).dims[2]!);
    const [length, , batch, hidden] = states.dims as [number, number, number, number];
    const back = rule.name === 'gradient' ? differentiateBack : shareBack;
    const returned = Array.from({ length: directions }, (_, d) => {
      const sequence = sequenceOf(context, d, direction === 'reverse' || d === 1, states);
      const row = (index: number): Value | undefined => relevance[index] && rowOf(emit, relevance[index], d);
      const all = relevance[0] && emit.reshape(emit.slice(relevance[0], [d], [d + 1], [1]), [length, batch, hidden]);
      return back(context, cell, sequence, { all, last: row(1), cell: row(2) });
    });
    const result = new Array<Value | undefined>(inputs.length).fill(undefined);
    result[0] = returned.map(({ x }) => x).reduce((sum, x) => emit.add(sum, x));
    if (context.wants(5))
      result[5] = stacked(
        emit,
        returned.map(({ initial }) => initial),
      );
    if (context.wants(6))
      result[6] = stacked(
        emit,
        returned.map((one) => one.cell),
      );
    return result;
  },
});

/** Layers that run over time. */
export const recurrentOperators: Readonly<Record<string, OperatorSupport>> = {
  LSTM: recurrent(lstm),
  GRU: recurrent(gru),
  RNN: recurrent(rnn),
};
