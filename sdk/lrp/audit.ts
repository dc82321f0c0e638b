import type { Emitter, Value } from './emitter.js';
import type { Method } from './method.js';
import type { Scene } from './scene.js';

/** Sums of relevance after every step of the backward pass, from the output to the input. */
export interface Audit {
  /** Relevance has arrived at some tensor; returns the number it is known by until a step takes it. */
  arrived(relevance: Value): number;
  /** A step of the backward pass took the relevances `taken` and turned them into others; `absorbed` went into biases. */
  step(name: string, taken: readonly number[], absorbed: readonly Value[]): void;
  /** Writes ΣR of all relevance alive after every step and, cumulatively, what biases have absorbed until then. */
  finish(): { readonly steps: readonly string[]; readonly conservation: Value; readonly absorbed: Value };
}

interface Step {
  readonly name: string;
  /** numbers of the relevances alive after the step */
  readonly alive: ReadonlySet<number>;
  readonly absorbed: readonly Value[];
}

/** Starts an audit: every relevance is summed once, and a constant 0/1 matrix adds those up that are alive after each step. */
export function createAudit(emit: Emitter): Audit {
  const sums: Value[] = [];
  const steps: Step[] = [];
  const alive = new Set<number>();
  let absorbedSoFar: Value[] = [];

  const total = (value: Value): Value =>
    emit.reshape(
      emit.reduce(
        'Sum',
        value,
        value.dims.map((_, axis) => axis),
      ),
      [1],
    );
  const weighted = (values: readonly Value[], rows: readonly (readonly number[])[]): Value => {
    if (values.length === 0) return emit.filled(0, [rows.length]);
    const column = emit.reshape(emit.concat(values, 0), [values.length, 1]);
    const matrix = emit.constant(rows.flat(), [rows.length, values.length]);
    return emit.reshape(emit.op('MatMul', [matrix, column], [rows.length, 1]), [rows.length]);
  };

  return {
    arrived(relevance) {
      sums.push(total(relevance));
      alive.add(sums.length - 1);
      return sums.length - 1;
    },
    step(name, taken, absorbed) {
      for (const number of taken) alive.delete(number);
      absorbedSoFar = [...absorbedSoFar, ...absorbed.map(total)];
      steps.push({ name, alive: new Set(alive), absorbed: absorbedSoFar });
    },
    finish() {
      const rows = steps.map((step) => sums.map((_, index) => (step.alive.has(index) ? 1 : 0)));
      const taken = steps.map((step) => absorbedSoFar.map((_, index) => (index < step.absorbed.length ? 1 : 0)));
      return {
        steps: steps.map((step) => step.name),
        conservation: weighted(sums, rows),
        absorbed: weighted(absorbedSoFar, taken),
      };
    },
  };
}

/** The audit of what is no single way back: the sum that arrives at the inputs. */
export function auditAtInputs(
  { emit, options, inputs }: Scene,
  method: Method,
  relevance: ReadonlyMap<string, Value>,
): ReturnType<Audit['finish']> | undefined {
  if (options.audit !== true) return undefined;
  const audit = createAudit(emit);
  for (const name of inputs) {
    const value = relevance.get(name);
    if (value !== undefined) audit.arrived(value);
  }
  audit.step(method.name, [], []);
  return audit.finish();
}
