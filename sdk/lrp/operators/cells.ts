import type { Emitter, Value } from '../emitter.js';
import { stableQuotient } from '../linear.js';
import type { NodeRule } from '../resolve.js';

/** z = x·wᵀ + h·rᵀ + (its part of the bias): one gate's weights w [hidden, inputs], r [hidden, hidden] and biases [hidden]. */
export interface GateWeights {
  readonly w: Value;
  readonly r: Value;
  readonly inputBias: Value | undefined;
  readonly recurrentBias: Value | undefined;
}

/** One direction of a recurrent layer with all of its hidden states, which the forward pass has computed; in order of time. */
export interface Sequence {
  readonly emit: Emitter;
  /** time steps in the order in which the layer runs */
  readonly order: readonly number[];
  /** x [time, batch, inputs] */
  readonly x: Value;
  /** h before every step [time, batch, hidden] */
  readonly before: Value;
  /** h after every step */
  readonly after: Value;
  /** in ONNX's order: LSTM i, o, f, c; GRU z, r, h */
  readonly gates: readonly GateWeights[];
  /** LSTM: c before the first step [batch, hidden] */
  readonly cell: Value;
  /** LSTM: P of i, o and f [hidden]; undefined where there are none */
  readonly peepholes: readonly [Value, Value, Value] | undefined;
  readonly linearBeforeReset: boolean;
  /** of an RNN */
  readonly activation: 'Tanh' | 'Relu';
}

/**
 * What the state after a step owes to what, as factors of its relevance. The candidate z = tanh⁻¹(g) is a linear layer in x and h; all
 * values are [time, batch, hidden].
 */
export interface Shares {
  /** whether the state that is carried on is the LSTM's cell, with h read from it, or h itself */
  readonly state: 'cell' | 'hidden';
  /** of the state before; undefined where nothing is carried on */
  readonly keep: Value | undefined;
  /** of the candidate, over z: the quotient s of the linear layer */
  readonly write: Value;
  /** which gate's weights make the candidate */
  readonly candidate: GateWeights;
  /** what those weights read: h, or h through a reset gate */
  readonly reads: Value;
  /** a gate between h·rᵀ and z; undefined where there is none */
  readonly through: Value | undefined;
  /** what of z is bias */
  readonly bias: Value | undefined;
}

/** The gradients at one step: of all gates' z, and of what was before. */
export interface StepGradient {
  /** [batch, gates · hidden] */
  readonly atGates: Value;
  readonly before: Value;
  readonly cell: Value | undefined;
}

/** A kind of recurrent layer, both ways of going back through it. */
export interface Cell {
  shares(sequence: Sequence, rule: NodeRule): Shares;
  /** How gradients go through step t, given that of h after it and, for an LSTM, of c. */
  gradient(sequence: Sequence): (t: number, h: Value, c: Value | undefined) => StepGradient;
}

/** x·mᵀ */
export const timesTransposed = (emit: Emitter, x: Value, m: Value): Value => times(emit, x, emit.transpose(m, [1, 0]));

/** x·m */
export const times = (emit: Emitter, x: Value, m: Value): Value =>
  emit.op('MatMul', [x, m], [...x.dims.slice(0, -1), m.dims[1]!]);

/** Step t of [time, batch, hidden] as [batch, hidden]. */
export const stepOf = (emit: Emitter, a: Value, t: number): Value =>
  emit.reshape(emit.slice(a, [t], [t + 1], [0]), a.dims.slice(1));

/** [batch, hidden] of every time step as [time, batch, hidden]. */
export const stacked = (emit: Emitter, steps: readonly Value[]): Value =>
  emit.concat(
    steps.map((step) => emit.reshape(step, [1, ...step.dims])),
    0,
  );

const sumOf = (emit: Emitter, values: readonly (Value | undefined)[]): Value | undefined =>
  values.reduce((sum, value) => (sum === undefined || value === undefined ? (sum ?? value) : emit.add(sum, value)));

const function1 = (emit: Emitter, op: string, x: Value): Value => emit.op(op, [x], x.dims);
const oneMinus = (emit: Emitter, x: Value): Value => emit.sub(emit.scalar(1), x);
/** σ′ from σ */
const slope = (emit: Emitter, gate: Value): Value => emit.mul(gate, oneMinus(emit, gate));
/** tanh′ from tanh */
const tanhSlope = (emit: Emitter, g: Value): Value => oneMinus(emit, emit.mul(g, g));

/** z of one gate at all steps. */
function preactivation({ emit, x, before }: Sequence, gate: GateWeights, hidden = before): Value {
  const linear = emit.add(timesTransposed(emit, x, gate.w), timesTransposed(emit, hidden, gate.r));
  return sumOf(emit, [linear, gate.inputBias, gate.recurrentBias])!;
}

/** z for the denominator: without its bias where that is ignored. */
const counted = (emit: Emitter, z: Value, bias: Value | undefined, rule: NodeRule): Value =>
  bias !== undefined && rule.bias === 'ignore' ? emit.sub(z, bias) : z;

/** Gates and cells of an LSTM at all steps: c_t = f c_{t−1} + i g, h = o tanh c. */
function lstmStates(sequence: Sequence) {
  const { emit, order, gates, peepholes } = sequence;
  const [zi, zo, zf, z] = gates.map((gate) => preactivation(sequence, gate)) as [Value, Value, Value, Value];
  const g = function1(emit, 'Tanh', z);
  const gate = (at: Value): Value => function1(emit, 'Sigmoid', at);
  const batched = peepholes === undefined ? { i: gate(zi), f: gate(zf) } : undefined;
  const before = order.map(() => sequence.cell);
  const after = [...before];
  const [inputGates, forgetGates] = [[...before], [...before]];
  let c = sequence.cell;
  for (const t of order) {
    before[t] = c;
    const [iNow, fNow] =
      batched === undefined
        ? [zi, zf].map((at, k) => gate(emit.add(stepOf(emit, at, t), emit.mul(peepholes![k === 0 ? 0 : 2], c))))
        : [stepOf(emit, batched.i, t), stepOf(emit, batched.f, t)];
    c = emit.add(emit.mul(fNow!, c), emit.mul(iNow!, stepOf(emit, g, t)));
    after[t] = c;
    inputGates[t] = iNow!;
    forgetGates[t] = fNow!;
  }
  const [cellBefore, cell] = [stacked(emit, before), stacked(emit, after)];
  const i = batched?.i ?? stacked(emit, inputGates);
  const f = batched?.f ?? stacked(emit, forgetGates);
  const o = gate(peepholes === undefined ? zo : emit.add(zo, emit.mul(peepholes[1], cell)));
  return { i, o, f, g, z, cellBefore, cell };
}

export const lstm: Cell = {
  shares(sequence, rule) {
    const { emit, before } = sequence;
    const { i, f, g, z, cellBefore, cell } = lstmStates(sequence);
    const candidate = sequence.gates[3]!;
    const bias = sumOf(emit, [candidate.inputBias, candidate.recurrentBias]);
    const written = stableQuotient(emit, emit.mul(i, g), cell, rule.stabilizer);
    return {
      state: 'cell',
      keep: stableQuotient(emit, emit.mul(f, cellBefore), cell, rule.stabilizer),
      write: stableQuotient(emit, written, counted(emit, z, bias, rule), rule.epsilon),
      candidate,
      reads: before,
      through: undefined,
      bias,
    };
  },
  gradient(sequence) {
    const { emit, peepholes } = sequence;
    const { i, o, f, g, cellBefore, cell } = lstmStates(sequence);
    const read = function1(emit, 'Tanh', cell);
    const toCell = emit.mul(o, tanhSlope(emit, read));
    const toOutput = emit.mul(read, slope(emit, o));
    const toInput = emit.mul(g, slope(emit, i));
    const toForget = emit.mul(cellBefore, slope(emit, f));
    const toCandidate = emit.mul(i, tanhSlope(emit, g));
    const all = emit.concat(
      sequence.gates.map(({ r }) => r),
      0,
    );
    return (t, h, c) => {
      const at = (factor: Value): Value => stepOf(emit, factor, t);
      const atO = emit.mul(h, at(toOutput));
      const peeped = (k: 0 | 1 | 2, value: Value): Value | undefined =>
        peepholes === undefined ? undefined : emit.mul(value, peepholes[k]);
      const dc = sumOf(emit, [emit.mul(h, at(toCell)), c, peeped(1, atO)])!;
      const [atI, atF] = [emit.mul(dc, at(toInput)), emit.mul(dc, at(toForget))];
      const atGates = emit.concat([atI, atO, atF, emit.mul(dc, at(toCandidate))], 1);
      return {
        atGates,
        before: times(emit, atGates, all),
        cell: sumOf(emit, [emit.mul(dc, at(f)), peeped(0, atI), peeped(2, atF)]),
      };
    };
  },
};

/** Gates of a GRU at all steps: h = (1 − u) g + u h_before, with g = tanh z read through the reset gate r. */
function gruStates(sequence: Sequence) {
  const { emit, x, before, linearBeforeReset } = sequence;
  const [update, reset, candidate] = sequence.gates as [GateWeights, GateWeights, GateWeights];
  const u = function1(emit, 'Sigmoid', preactivation(sequence, update));
  const r = function1(emit, 'Sigmoid', preactivation(sequence, reset));
  const reads = linearBeforeReset ? before : emit.mul(r, before);
  const recurrent = timesTransposed(emit, reads, candidate.r);
  // linear_before_reset: the gate stands behind the product and its bias, else before them
  const inner = linearBeforeReset ? sumOf(emit, [recurrent, candidate.recurrentBias])! : recurrent;
  const through = linearBeforeReset ? r : undefined;
  const recurrentBias =
    through === undefined || candidate.recurrentBias === undefined
      ? candidate.recurrentBias
      : emit.mul(through, candidate.recurrentBias);
  const bias = sumOf(emit, [candidate.inputBias, recurrentBias]);
  const unbiased = emit.add(
    timesTransposed(emit, x, candidate.w),
    through === undefined ? recurrent : emit.mul(through, recurrent),
  );
  const z = sumOf(emit, [unbiased, bias])!;
  return { u, r, reads, inner, through, bias, z, g: function1(emit, 'Tanh', z), candidate };
}

export const gru: Cell = {
  shares(sequence, rule) {
    const { emit, before, after } = sequence;
    const { u, g, z, reads, through, bias, candidate } = gruStates(sequence);
    const written = stableQuotient(emit, emit.mul(oneMinus(emit, u), g), after, rule.stabilizer);
    return {
      state: 'hidden',
      keep: stableQuotient(emit, emit.mul(u, before), after, rule.stabilizer),
      write: stableQuotient(emit, written, counted(emit, z, bias, rule), rule.epsilon),
      candidate,
      reads,
      through,
      bias,
    };
  },
  gradient(sequence) {
    const { emit, before, linearBeforeReset } = sequence;
    const { u, r, g, inner, candidate } = gruStates(sequence);
    const toUpdate = emit.mul(emit.sub(before, g), slope(emit, u));
    const toCandidate = emit.mul(oneMinus(emit, u), tanhSlope(emit, g));
    const toReset = emit.mul(linearBeforeReset ? inner : before, slope(emit, r));
    const two = emit.concat([sequence.gates[0]!.r, sequence.gates[1]!.r], 0);
    return (t, h) => {
      const at = (factor: Value): Value => stepOf(emit, factor, t);
      const atU = emit.mul(h, at(toUpdate));
      const atG = emit.mul(h, at(toCandidate));
      const read = times(emit, linearBeforeReset ? emit.mul(atG, at(r)) : atG, candidate.r);
      const atR = emit.mul(linearBeforeReset ? atG : read, at(toReset));
      const direct = emit.add(emit.mul(h, at(u)), linearBeforeReset ? read : emit.mul(read, at(r)));
      return {
        atGates: emit.concat([atU, atR, atG], 1),
        before: emit.add(direct, times(emit, emit.concat([atU, atR], 1), two)),
        cell: undefined,
      };
    };
  },
};

export const rnn: Cell = {
  shares(sequence, rule) {
    const { emit, before } = sequence;
    const candidate = sequence.gates[0]!;
    const bias = sumOf(emit, [candidate.inputBias, candidate.recurrentBias]);
    const z = counted(emit, preactivation(sequence, candidate), bias, rule);
    const write = stableQuotient(emit, emit.filled(1, z.dims), z, rule.epsilon);
    return { state: 'hidden', keep: undefined, write, candidate, reads: before, through: undefined, bias };
  },
  gradient({ emit, after, activation, gates }) {
    const derivative =
      activation === 'Tanh' ? tanhSlope(emit, after) : emit.indicator(emit.compare('Greater', after, emit.scalar(0)));
    return (t, h) => {
      const atGates = emit.mul(h, stepOf(emit, derivative, t));
      return { atGates, before: times(emit, atGates, gates[0]!.r), cell: undefined };
    };
  },
};
