import type { Dense } from './dense.js';

/** One gate: z = W x + R h + b_W + b_R, plus P ⊙ c where there is a peephole. */
export interface GateParameters {
  readonly w: readonly (readonly number[])[];
  readonly r: readonly (readonly number[])[];
  readonly inputBias: readonly number[];
  readonly recurrentBias: readonly number[];
}

export type CellKind = 'LSTM' | 'GRU' | 'RNN' | 'GRU, linear before reset' | 'RNN, Relu';

/** One direction of a recurrent layer over one sample. */
export interface RecurrentLayer {
  readonly kind: CellKind;
  readonly gates: readonly GateParameters[];
  /** of i, o and f */
  readonly peepholes?: readonly (readonly number[])[];
  readonly reversed: boolean;
}

/** What one step has computed. */
export interface Step {
  readonly before: readonly number[];
  readonly cellBefore: readonly number[];
  readonly h: readonly number[];
  readonly c: readonly number[];
  /** the candidate's z, g = tanh z, and the gates by name */
  readonly z: readonly number[];
  readonly g: readonly number[];
  readonly gates: Readonly<Record<string, readonly number[]>>;
}

const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, k) => sum + value * b[k]!, 0);

/** The rows of a [rows × columns] slice of a tensor that starts at `start`. */
export const rowsOf = (tensor: Dense, start: number, rows: number, columns: number): number[][] =>
  Array.from({ length: rows }, (_, row) => [
    ...tensor.data.subarray(start + row * columns, start + (row + 1) * columns),
  ]);

export const timesOf = (layer: RecurrentLayer, length: number): number[] => {
  const steps = Array.from({ length }, (_, t) => t);
  return layer.reversed ? steps.reverse() : steps;
};

/** Runs one sample, as ONNX defines the operators; the steps come back in order of time. */
export function runSteps(
  layer: RecurrentLayer,
  xs: readonly (readonly number[])[],
  initial: readonly number[],
  initialCell: readonly number[],
): Step[] {
  const steps: Step[] = [];
  let [h, c] = [initial, initialCell];
  for (const t of timesOf(layer, xs.length)) {
    const x = xs[t]!;
    const z = (gate: number, hidden = h): number[] =>
      layer.gates[gate]!.w.map((row, j) => {
        const { r, inputBias, recurrentBias } = layer.gates[gate]!;
        return dot(row, x) + dot(r[j]!, hidden) + inputBias[j]! + recurrentBias[j]!;
      });
    const [before, cellBefore] = [h, c];
    const step = stepWith(layer, z, before, cellBefore, x);
    steps[t] = { before, cellBefore, ...step };
    ({ h, c } = step);
  }
  return steps;
}

function stepWith(
  { kind, gates, peepholes }: RecurrentLayer,
  z: (gate: number, hidden?: readonly number[]) => number[],
  before: readonly number[],
  cellBefore: readonly number[],
  x: readonly number[],
): Omit<Step, 'before' | 'cellBefore'> {
  const peeped = (k: number, cell: readonly number[]) => (value: number, j: number) =>
    sigmoid(value + (peepholes?.[k]?.[j] ?? 0) * cell[j]!);
  if (kind === 'LSTM') {
    const i = z(0).map(peeped(0, cellBefore));
    const f = z(2).map(peeped(2, cellBefore));
    const candidate = z(3);
    const g = candidate.map(Math.tanh);
    const c = g.map((value, j) => f[j]! * cellBefore[j]! + i[j]! * value);
    const o = z(1).map(peeped(1, c));
    return { h: c.map((value, j) => o[j]! * Math.tanh(value)), c, z: candidate, g, gates: { i, o, f } };
  }
  if (kind.startsWith('GRU')) {
    const [u, r] = [z(0).map(sigmoid), z(1).map(sigmoid)];
    const { w, r: recurrent, inputBias, recurrentBias } = gates[2]!;
    const candidate =
      kind === 'GRU'
        ? z(
            2,
            before.map((value, j) => r[j]! * value),
          )
        : w.map((row, j) => dot(row, x) + inputBias[j]! + r[j]! * (dot(recurrent[j]!, before) + recurrentBias[j]!));
    const g = candidate.map(Math.tanh);
    return {
      h: g.map((value, j) => (1 - u[j]!) * value + u[j]! * before[j]!),
      c: cellBefore,
      z: candidate,
      g,
      gates: { u, r },
    };
  }
  const candidate = z(0);
  const g = candidate.map((value) => (kind === 'RNN' ? Math.tanh(value) : Math.max(0, value)));
  return { h: g, c: cellBefore, z: candidate, g, gates: {} };
}
