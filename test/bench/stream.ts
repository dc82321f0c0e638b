import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { CDPSession, Page } from 'playwright-core';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { openChromium } from '../browser/chromium.js';
import { burn, openRecordedExplainer, type Row, record, stop, taken, throttle } from '../browser/stream-run.js';
import { svgPlot } from './plot.js';

/** Milliseconds of the budget under load. */
const budgetMs = 100;
const folder = 'dist/bench/plots';

const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Ages, rates and the main thread's share of a stream, as one line of a table. */
interface StreamFigures {
  readonly what: string;
  readonly device: string;
  readonly frames: number;
  readonly 'fps out': number;
  readonly 'fps in': number;
  readonly 'age p50': number;
  readonly 'age p95': number;
  /** of the page's main thread */
  readonly 'main ms/frame': number;
  readonly 'longest task': number;
  /** of the page's heap, by the collector's own count */
  readonly 'heap kB/frame': number;
}

/** What the page's main thread did between two calls. */
async function mainThread(devtools: CDPSession, page: Page) {
  const { metrics } = await devtools.send('Performance.getMetrics');
  const of = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? 0;
  const tasks = await page.evaluate(() => (window as unknown as { longTasks: number[] }).longTasks.splice(0));
  return { busy: 1000 * of('TaskDuration'), longest: Math.max(0, ...tasks) };
}

/** Bytes that the page allocates on its heap while `during` runs, from the sampling profiler, collected ones included. */
async function allocated(devtools: CDPSession, during: () => Promise<void>): Promise<number> {
  await devtools.send('HeapProfiler.enable');
  await devtools.send('HeapProfiler.startSampling', {
    samplingInterval: 4096,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  await during();
  const { profile } = await devtools.send('HeapProfiler.stopSampling');
  return profile.samples.reduce((sum, { size }) => sum + size, 0);
}

async function openPage(browser: Awaited<ReturnType<typeof openChromium>>) {
  const opened = await browser.open();
  await opened.page.evaluate(() => {
    const longTasks: number[] = [];
    Object.assign(window, { longTasks });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) longTasks.push(duration);
    }).observe({ entryTypes: ['longtask'] });
  });
  const devtools = await opened.page.context().newCDPSession(opened.page);
  await devtools.send('Performance.enable');
  return { ...opened, devtools };
}

/** End to end on clip and camera, for each device. */
async function endToEnd(seconds: number): Promise<readonly StreamFigures[]> {
  const browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg' });
  const figures: StreamFigures[] = [];
  for (const [device, source, budget] of [
    ['wasm', 'clip', undefined],
    ['wasm', 'clip', budgetMs],
    ['wasm', 'camera', undefined],
    ['wasm', 'camera', budgetMs],
    // in software on many test machines, where no rung fits any budget
    ['webgpu', 'camera', undefined],
  ] as const) {
    const { page, devtools, close } = await openPage(browser);
    await openRecordedExplainer(page, { device });
    const stream = await record(page, { source, ...(budget === undefined ? {} : { budgetMs: budget }) });
    await page.waitForFunction((index) => window.recordings[index]!.rows.length > 4, stream, { timeout: 120_000 });
    await page.waitForTimeout(1500);
    await taken(page, stream);
    const before = await mainThread(devtools, page);
    let rows: readonly Row[] = [];
    const bytes = await allocated(devtools, async () => {
      await page.waitForTimeout(1000 * seconds);
      rows = await taken(page, stream);
    });
    const after = await mainThread(devtools, page);
    const fpsIn = await page.evaluate(() => window.metrics?.streams.at(-1)?.fpsIn ?? Number.NaN);
    figures.push(
      figuresOf(
        `explained ${source}, ${budget === undefined ? 'no budget' : `${budget} ms`}`,
        device,
        rows,
        seconds,
        fpsIn,
        after.busy - before.busy,
        after.longest,
        bytes,
      ),
    );
    await stop(page, stream);
    await close();
  }
  figures.push(await plainLoop(browser, seconds));
  await browser.close();
  return figures;
}

function figuresOf(
  what: string,
  device: string,
  rows: readonly { readonly age: number }[],
  seconds: number,
  fpsIn: number,
  busy: number,
  longest: number,
  bytes: number,
): StreamFigures {
  const ages = rows.map(({ age }) => age);
  return {
    what,
    device,
    frames: rows.length,
    'fps out': rounded(rows.length / seconds),
    'fps in': rounded(fpsIn),
    'age p50': rounded(quantile(ages, 0.5)),
    'age p95': rounded(quantile(ages, 0.95)),
    'main ms/frame': rounded(busy / rows.length, 2),
    'longest task': rounded(longest),
    'heap kB/frame': rounded(bytes / 1000 / rows.length),
  };
}

/** The same model as pages run it today: forward only, on the main thread, frame after frame of a video element. */
async function plainLoop(browser: Awaited<ReturnType<typeof openChromium>>, seconds: number): Promise<StreamFigures> {
  const { page, devtools, close } = await openPage(browser);
  await page.addScriptTag({ url: '/dist/bench/page.js', type: 'module' });
  await page.waitForFunction(() => window.plainLoop !== undefined);
  await page.evaluate(() => window.plainLoop('/samples/models/glyphs/glyphs.onnx', 1500));
  await mainThread(devtools, page);
  const before = await mainThread(devtools, page);
  let ages: readonly number[] = [];
  const bytes = await allocated(devtools, async () => {
    ages = await page.evaluate(
      (milliseconds) => window.plainLoop('/samples/models/glyphs/glyphs.onnx', milliseconds),
      1000 * seconds,
    );
  });
  const after = await mainThread(devtools, page);
  await close();
  return figuresOf(
    'plain loop on the main thread, forward only, camera',
    'wasm',
    ages.map((age) => ({ age })),
    seconds,
    Number.NaN,
    after.busy - before.busy,
    after.longest,
    bytes,
  );
}

/** Ages, rungs and drops while the page is slowed and cores burn; with a plot. */
async function underLoad(): Promise<void> {
  const browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg', webgpu: false });
  const { page } = await browser.open();
  await openRecordedExplainer(page);
  const stream = await record(page, { budgetMs });
  await page.waitForFunction((index) => window.recordings[index]!.rows.length > 4, stream, { timeout: 60_000 });
  const all: Row[] = [];
  const marks: [number, string][] = [];
  const table: object[] = [];
  for (const [name, rate, cores] of [
    ['at rest', 1, 0],
    ['page ×1/2', 2, 0],
    ['page ×1/6', 6, 0],
    ['one core burns', 1, 1],
    ['three burn', 1, 3],
    ['page ×1/6, three burn', 6, 3],
    ['at rest again', 1, 0],
  ] as const) {
    await throttle(page, rate);
    await burn(page, cores);
    marks.push([await page.evaluate(() => performance.now()), name]);
    await page.waitForTimeout(8000);
    const rows = await taken(page, stream);
    all.push(...rows);
    const ages = rows.map(({ age }) => age);
    const rungs = new Map<string, number>();
    for (const row of rows) rungs.set(row.name, (rungs.get(row.name) ?? 0) + 1);
    table.push({
      load: name,
      explanations: rows.length,
      dropped: rows.reduce((sum, { dropped }) => sum + dropped, 0),
      p50: rounded(quantile(ages, 0.5)),
      p95: rounded(quantile(ages, 0.95)),
      p99: rounded(quantile(ages, 0.99)),
      rungs: [...rungs].map(([rung, count]) => `${rung} ${Math.round((100 * count) / rows.length)} %`).join(', '),
    });
  }
  await browser.close();
  console.log(
    `\nthe fake camera under load, budget ${budgetMs} ms: age in milliseconds; DevTools slows the page's main thread alone, burning cores slow all`,
  );
  console.table(table);
  const origin = all[0]!.at;
  const points = (of: (row: Row) => number) => all.map((row) => [(row.at - origin) / 1000, of(row)] as const);
  await mkdir(folder, { recursive: true });
  await writeFile(
    `${folder}/load.svg`,
    svgPlot({
      title: `Age of every explanation under load, budget ${budgetMs} ms`,
      x: 'seconds',
      left: 'age, ms',
      right: 'rung, 0 is the best',
      lines: [
        { label: 'age', colour: '#1f5fd6', dots: true, points: points(({ age }) => Math.min(age, 4 * budgetMs)) },
        { label: 'budget', colour: '#d0832c', points: points(() => budgetMs) },
        { label: 'rung', colour: '#4b8b5a', right: true, points: points(({ rung }) => rung) },
      ],
      marks: marks.map(([at, name]) => [Math.max(0, (at - origin) / 1000), name]),
    }),
  );
  console.log(`plot: ${folder}/load.svg`);
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '8' } } });
const figures = await endToEnd(Number(values.seconds));
for (const one of figures) console.log(JSON.stringify(one));
console.log(
  '\nend to end with glyphs.onnx (float32, one thread), milliseconds; heap: what the page allocated, the workers not counted',
);
console.table(figures);
await underLoad();
