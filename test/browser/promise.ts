import { cpus } from 'node:os';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { type ForeignLoad, foreignSteps } from './foreign-load.js';
import type { Row } from './stream-run.js';

/** Milliseconds that the controller has after a step of the load. */
export const afterStep = 2000;

/** Others that have so much of the machine are not to be seen coming and going: they take turns with each other. */
const tooMuch = 0.3;

/**
 * What became of the promise in a second: `kept` or `broken`, by the 95th percentile of the ages. Or it is not there to be kept: a
 * step of the load, one's own or of others, was less than two seconds ago (`step`); others had more than a third of the machine
 * (`others`); or even the cheapest rung takes longer than the budget (`nothing fits`): its frames were older also without
 * the time that they waited for the device, which is the stream's own.
 */
export interface Second {
  readonly from: number;
  readonly explanations: number;
  /** of the ages, nearest rank */
  readonly p95: number;
  /** the best rung in use */
  readonly best: number;
  readonly verdict: 'kept' | 'broken' | 'step' | 'others' | 'nothing fits';
}

/** What a stream was promised and what happened meanwhile, in milliseconds of the page's clock. */
export interface Course {
  readonly from: number;
  readonly to: number;
  readonly budgetMs: number;
  /** when one's own load changed */
  readonly steps: readonly number[];
  readonly foreign: readonly ForeignLoad[];
}

/** The one-second windows of the rows, every quarter of a second; those without explanations are left out. */
export function secondsOf(rows: readonly Row[], course: Course): readonly Second[] {
  const { from, to, foreign } = course;
  const steps = [...course.steps, ...foreignSteps(foreign)];
  const seconds: Second[] = [];
  for (let start = from; start + 1000 <= to; start += 250) {
    const inside = rows.filter(({ at }) => at >= start && at < start + 1000);
    if (inside.length === 0) continue;
    seconds.push({
      from: start,
      explanations: inside.length,
      p95: p95Of(inside, ({ age }) => age),
      best: Math.min(...inside.map(({ rung }) => rung)),
      verdict: verdictOn(inside, start, { ...course, steps }),
    });
  }
  return seconds;
}

function verdictOn(rows: readonly Row[], from: number, { budgetMs, steps, foreign }: Course): Second['verdict'] {
  if (steps.some((step) => step < from + 1000 && step > from - afterStep)) return 'step';
  const beside = foreign.filter((load) => load.to > from - 1000 && load.from < from + 1000);
  if (beside.reduce((sum, { cores }) => sum + cores, 0) > tooMuch * cpus().length * beside.length) return 'others';
  if (p95Of(rows, ({ age }) => age) <= budgetMs) return 'kept';
  const isCheapest = rows.every(({ rung, rungs }) => rung === rungs - 1);
  return isCheapest && p95Of(rows, ({ age, wait }) => age - wait) > budgetMs ? 'nothing fits' : 'broken';
}

function p95Of(rows: readonly Row[], of: (row: Row) => number): number {
  return quantile(rows.map(of), 0.95);
}
