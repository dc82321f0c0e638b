import { mkdir, writeFile } from 'node:fs/promises';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { openChromium } from '../browser/chromium.js';
import { type ForeignLoad, watchForeignLoad } from '../browser/foreign-load.js';
import { afterStep, secondsOf, verdictsOf } from '../browser/promise.js';
import { processOf } from '../browser/slowdown.js';
import { burn, openRecordedExplainer, type Row, record, taken, throttle } from '../browser/stream-run.js';
import { svgPlot } from './plot.js';

/** A load, in the words of a table: what the browser's process and the page's thread are slowed by, and cores that burn. */
interface Load {
  readonly name: string;
  readonly browser?: number;
  readonly page?: number;
  readonly cores?: number;
}

const loads: readonly Load[] = [
  { name: 'at rest' },
  { name: 'page at 1/2, one burns', page: 2, cores: 1 },
  { name: 'all at 1/2', browser: 2 },
  { name: 'page at 1/6, one burns', page: 6, cores: 1 },
  { name: 'all at 1/6', browser: 6 },
  { name: 'at rest' },
  { name: 'page at 1/6, three burn', page: 6, cores: 3 },
  { name: 'at rest' },
];

/** A load and what was handed over under it. */
interface Phase {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly rows: readonly Row[];
}

/**
 * Ages, rungs and drops of the fake camera's stream while its browser is slowed, workers included, while cores burn, and after; each load
 * for so many seconds. Prints a table and draws a plot into `folder`.
 */
export async function underLoad(budgetMs: number, seconds: number, folder: string): Promise<void> {
  const { phases, foreign, lapses } = await runLoads(budgetMs, seconds);
  const steps = phases.map(({ from }) => from);
  const table = phases.map(({ name, from, to, rows }) => {
    const course = { from, to, budgetMs, steps: lapses, foreign: [] };
    const { kept, broken, 'nothing fits': unfit } = verdictsOf(secondsOf(rows, { ...course, from: from + afterStep }));
    const held = secondsOf(rows, course, 100).find(({ verdict }) => verdict === 'kept')?.from ?? Number.NaN;
    const ages = rows.map(({ age }) => age);
    const others = foreign.filter((load) => load.from >= from && load.to <= to);
    return {
      load: name,
      explanations: rows.length,
      dropped: rows.reduce((sum, { dropped }) => sum + dropped, 0),
      p50: rounded(quantile(ages, 0.5)),
      p95: rounded(quantile(ages, 0.95)),
      p99: rounded(quantile(ages, 0.99)),
      'seconds kept': `${kept} of ${kept + broken}`,
      'nothing fits': unfit,
      'held after s': rounded((held - from) / 1000),
      'settled after s': rounded(settledAfter(rows, from)),
      rungs: rungsOf(rows),
      'other cores': rounded(
        quantile(
          others.map(({ cores }) => cores),
          0.5,
        ),
      ),
    };
  });
  console.log(
    `\nthe fake camera under load, budget ${budgetMs} ms: age in milliseconds; "all": the browser's process with its workers, ` +
      '"page": its main thread alone;\nkept: seconds from two after the step on, one after the other; held: until p95 of a second kept the budget; ' +
      'settled: until the rung of the last two seconds was taken; other cores: what others had of the machine, median',
  );
  console.table(table);
  await mkdir(folder, { recursive: true });
  const path = `${folder}/load.svg`;
  await writeFile(path, plotOf(phases, steps, budgetMs));
  console.log(`plot: ${path}`);
}

async function runLoads(
  budgetMs: number,
  seconds: number,
): Promise<{
  readonly phases: readonly Phase[];
  readonly foreign: readonly ForeignLoad[];
  readonly lapses: readonly number[];
}> {
  const browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg', webgpu: false });
  const { page } = await browser.open();
  const slowed = await processOf(browser.browser, page);
  try {
    await openRecordedExplainer(page);
    const stream = await record(page, { budgetMs });
    await page.waitForFunction((index) => window.recordings[index]!.rows.length > 30, stream, { timeout: 60_000 });
    await taken(page, stream);
    const watched = await watchForeignLoad(browser.browser, page);
    const now = () => page.evaluate(() => performance.now());
    const origin = await page.evaluate(() => performance.timeOrigin);
    const phases: Phase[] = [];
    const lapses: number[] = [];
    for (const { name, browser: speed = 1, page: pageSpeed = 1, cores = 0 } of loads) {
      const before = await slowed.slow(speed);
      lapses.push(...before.lapses.map((lapse) => lapse - origin));
      await throttle(page, pageSpeed);
      await burn(page, cores);
      const from = await now();
      await page.waitForTimeout(1000 * seconds);
      const rows = await taken(page, stream);
      phases.push({ name, from, to: await now(), rows });
    }
    return { phases, foreign: await watched.stop(), lapses };
  } finally {
    await slowed.slow(1);
    await browser.close();
  }
}

/** Seconds until the rung was taken that was in use most in the last two seconds. */
function settledAfter(rows: readonly Row[], from: number): number {
  const end = rows.at(-1)?.at ?? from;
  const counts = countsOf(rows.filter(({ at }) => at > end - 2000));
  const [usual] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
  return ((rows.find(({ name }) => name === usual)?.at ?? Number.NaN) - from) / 1000;
}

function countsOf(rows: readonly Row[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of rows) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function rungsOf(rows: readonly Row[]): string {
  return [...countsOf(rows)].map(([rung, count]) => `${rung} ${Math.round((100 * count) / rows.length)} %`).join(', ');
}

function plotOf(phases: readonly Phase[], steps: readonly number[], budgetMs: number): string {
  const all = phases.flatMap(({ rows }) => rows);
  const origin = Math.min(steps[0]!, all[0]?.at ?? steps[0]!);
  const points = (of: (row: Row) => number) => all.map((row) => [(row.at - origin) / 1000, of(row)] as const);
  return svgPlot({
    title: `Age of every explanation under load, budget ${budgetMs} ms`,
    x: 'seconds',
    left: 'age, ms; frames dropped in a second',
    right: 'rung, 0 is the best',
    lines: [
      { label: 'age', colour: '#1f5fd6', dots: true, points: points(({ age }) => Math.min(age, 4 * budgetMs)) },
      { label: 'budget', colour: '#d0832c', points: points(() => budgetMs) },
      { label: 'dropped', colour: '#b3364a', points: points((row) => droppedBefore(all, row)) },
      { label: 'rung', colour: '#4b8b5a', right: true, points: points(({ rung }) => rung) },
    ],
    marks: phases.map(({ from, name }) => [(from - origin) / 1000, name]),
  });
}

/** How many frames were dropped in the second before an explanation. */
function droppedBefore(rows: readonly Row[], { at }: Row): number {
  return rows.reduce((sum, row) => (row.at <= at && row.at > at - 1000 ? sum + row.dropped : sum), 0);
}

function rounded(value: number): number {
  return Number(value.toFixed(1));
}
