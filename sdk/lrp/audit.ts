import type { Emitter, Value } from './emitter.js';
import type { Shared } from './linear.js';
import type { Method } from './method.js';
import type { Scene } from './scene.js';

/** What a step of the backward pass did with relevance; relevances go by the numbers that {@link Audit.arrived} gave them. */
export interface AuditStep {
  readonly name: string;
  readonly taken: readonly number[];
  readonly passedOn: readonly number[];
  /** what went into biases */
  readonly absorbed: readonly Value[];
  /** what was divided by stabilized denominators */
  readonly shared: readonly Shared[];
}

/** Sums of relevance after every step of the backward pass, from the output to the input. */
export interface Audit {
  /** Relevance has arrived at some tensor; returns the number it is known by until a step takes it. */
  arrived(relevance: Value): number;
  /** The backward pass has taken a step. */
  step(step: AuditStep): void;
  /** Writes the outputs of an audit. */
  finish(): Audited;
}

/** The outputs of an audit, one row per step. */
export interface Audited {
  readonly steps: readonly string[];
  /** ΣR of all relevance alive after every step, [steps] */
  readonly conservation: Value;
  /** what biases have absorbed until then, [steps] */
  readonly absorbed: Value;
  /** what every step did, [steps, columns] as {@link BALANCE_COLUMNS} says */
  readonly balance: Value;
}

/**
 * Columns of the output `balance`. The first is the sum of all others: what has arrived is passed on, absorbed by biases, taken by
 * stabilizers, lost at silent units (their contributions are none, or add up to nothing), or lost elsewhere.
 */
export const BALANCE_COLUMNS = ['arrived', 'passedOn', 'absorbed', 'stabilizer', 'silent', 'elsewhere'] as const;

/** Starts an audit: every relevance is summed once, and constant 0/1 matrices add those sums up that belong to a step. */
export function createAudit(emit: Emitter): Audit {
  const sums: Value[] = [];
  const steps: (AuditStep & { readonly alive: readonly number[] })[] = [];
  const alive = new Set<number>();

  const total = (value: Value): Value =>
    emit.reshape(
      emit.reduce(
        'Sum',
        value,
        value.dims.map((_, axis) => axis),
      ),
      [1],
    );
  /** Per step, the sum of the totals that belong to it: totals by number, numbers by step. */
  const column = (totals: readonly Value[], numbers: readonly (readonly number[])[]): Value => {
    const dims = [numbers.length, 1];
    if (totals.length === 0) return emit.filled(0, dims);
    const belongs = numbers.flatMap((own) => totals.map((_, number) => (own.includes(number) ? 1 : 0)));
    const each = emit.reshape(emit.concat(totals, 0), [totals.length, 1]);
    return emit.op('MatMul', [emit.constant(belongs, [numbers.length, totals.length]), each], dims);
  };
  const perStep = (valuesOf: (step: AuditStep) => readonly Value[]): Value => {
    const totals: Value[] = [];
    const numbers = steps.map((step) => valuesOf(step).map((value) => totals.push(total(value)) - 1));
    return column(totals, numbers);
  };
  /** What has been divided by 0: there was nobody to give it to. */
  const silent = ({ relevance, z }: Shared): Value =>
    emit.where(emit.compare('Equal', z, emit.scalar(0)), relevance, emit.scalar(0));
  const unshared = ({ relevance, z, quotient }: Shared): Value => emit.sub(relevance, emit.mul(z, quotient));

  return {
    arrived(relevance) {
      sums.push(total(relevance));
      alive.add(sums.length - 1);
      return sums.length - 1;
    },
    step(step) {
      for (const number of step.taken) alive.delete(number);
      for (const number of step.passedOn) alive.add(number);
      steps.push({ ...step, alive: [...alive] });
    },
    finish() {
      const rows = steps.length;
      const absorbed = perStep((step) => step.absorbed);
      const atSilent = perStep((step) => step.shared.map(silent));
      const toStabilizers = emit.sub(
        perStep((step) => step.shared.map(unshared)),
        atSilent,
      );
      const [arrived, passedOn] = [
        column(
          sums,
          steps.map((step) => step.taken),
        ),
        column(
          sums,
          steps.map((step) => step.passedOn),
        ),
      ];
      const known = [passedOn, absorbed, toStabilizers, atSilent];
      const elsewhere = known.reduce((left, part) => emit.sub(left, part), arrived);
      const before = Array.from({ length: rows * rows }, (_, at) => (at % rows <= Math.floor(at / rows) ? 1 : 0));
      const soFar = emit.op('MatMul', [emit.constant(before, [rows, rows]), absorbed], [rows, 1]);
      return {
        steps: steps.map((step) => step.name),
        conservation: emit.reshape(
          column(
            sums,
            steps.map((step) => step.alive),
          ),
          [rows],
        ),
        absorbed: emit.reshape(soFar, [rows]),
        balance: emit.concat([arrived, ...known, elsewhere], 1),
      };
    },
  };
}

/** The step at which relevance starts, or arrives where no single way back has brought it. */
export const auditStart = (name: string, numbers: readonly number[]): AuditStep => ({
  name,
  taken: numbers,
  passedOn: numbers,
  absorbed: [],
  shared: [],
});

/** The audit of what is no single way back: the sum that arrives at the inputs. */
export function auditAtInputs(
  { emit, options, inputs }: Scene,
  method: Method,
  relevance: ReadonlyMap<string, Value>,
): Audited | undefined {
  if (options.audit !== true) return undefined;
  const audit = createAudit(emit);
  const numbers = inputs.flatMap((name) => {
    const value = relevance.get(name);
    return value === undefined ? [] : [audit.arrived(value)];
  });
  audit.step(auditStart(method.name, numbers));
  return audit.finish();
}
