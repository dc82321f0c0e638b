import { cpus } from 'node:os';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { type ForeignLoad, foreignSteps } from './foreign-load.js';
import type { Row } from './stream-run.js';

/** Milliseconds that the controller has after a step of the load. */
export const afterStep = 2000;

/** Others that have so much of the machine are not to be seen coming and going: they take turns with each other. */
const tooMuch = 0.3;

/**
 * What became of the promise in a second: `kept` or `broken`, by the 95th percentile of the ages; a second without explanations is broken
 * as well. Or it is not there to be kept: a step of the load, one's own or of others, was less than two seconds ago (`step`); others
 * had more than a third of the machine (`others`), by the system's own count; or even the cheapest rung takes longer than the budget
 * (`nothing fits`): its frames were older also without the time that they waited for the device, which is the stream's own.
 */
export interface Second {
  readonly from: number;
  readonly explanations: number;
  /** of the ages, nearest rank; NaN without explanations */
  readonly p95: number;
  /** the best rung in use, Infinity without explanations */
  readonly best: number;
  /** how often the rung changed */
  readonly changes: number;
  readonly verdict: Verdict;
}

/** See {@link Second}. */
export type Verdict = 'kept' | 'broken' | 'step' | 'others' | 'nothing fits';

/** What a stream was promised and what happened meanwhile, in milliseconds of the page's clock. */
export interface Course {
  readonly from: number;
  readonly to: number;
  readonly budgetMs: number;
  /** when one's own load changed */
  readonly steps: readonly number[];
  readonly foreign: readonly ForeignLoad[];
}

/**
 * The seconds of a course, one after the other. They do not overlap unless they are to begin `every` so many milliseconds: overlapping
 * ones would count a single stall as often as they overlap, and would be no more evidence for it.
 */
export function secondsOf(rows: readonly Row[], course: Course, every = 1000): readonly Second[] {
  const { from, to, foreign } = course;
  const steps = [...course.steps, ...foreignSteps(foreign)];
  const seconds: Second[] = [];
  for (let start = from; start + 1000 <= to; start += every) {
    const inside = rows.filter(({ at }) => at >= start && at < start + 1000);
    seconds.push({
      from: start,
      explanations: inside.length,
      p95: p95Of(inside, ({ age }) => age),
      best: Math.min(...inside.map(({ rung }) => rung)),
      changes: inside.filter(({ rung }, index) => index > 0 && rung !== inside[index - 1]!.rung).length,
      verdict: verdictOn(inside, start, { ...course, steps }),
    });
  }
  return seconds;
}

/** How many of the seconds came to each verdict. */
export function verdictsOf(seconds: readonly Second[]): Readonly<Record<Verdict, number>> {
  const counts = { kept: 0, broken: 0, step: 0, others: 0, 'nothing fits': 0 };
  for (const { verdict } of seconds) counts[verdict]++;
  return counts;
}

/** The counts as words, without those that are 0. */
export function inWords(counts: Readonly<Record<Verdict, number>>): string {
  return Object.entries(counts)
    .flatMap(([verdict, count]) => (count === 0 ? [] : [`${count} ${verdict}`]))
    .join(', ');
}

function verdictOn(rows: readonly Row[], from: number, { budgetMs, steps, foreign }: Course): Second['verdict'] {
  if (steps.some((step) => step < from + 1000 && step > from - afterStep)) return 'step';
  const beside = foreign.filter((load) => load.to > from - 1000 && load.from < from + 1000);
  if (beside.reduce((sum, { cores }) => sum + cores, 0) > tooMuch * cpus().length * beside.length) return 'others';
  if (p95Of(rows, ({ age }) => age) <= budgetMs) return 'kept';
  const isCheapest = rows.length > 0 && rows.every(({ rung, rungs }) => rung === rungs - 1);
  return isCheapest && p95Of(rows, ({ age, wait }) => age - wait) > budgetMs ? 'nothing fits' : 'broken';
}

function p95Of(rows: readonly Row[], of: (row: Row) => number): number {
  return quantile(rows.map(of), 0.95);
}
