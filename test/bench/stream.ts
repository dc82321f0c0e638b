import { parseArgs } from 'node:util';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { openChromium } from '../browser/chromium.js';
import { openRecordedExplainer, type Row, record, stop, taken } from '../browser/stream-run.js';
import { allocations, longestTask, mainThread, openTargets, type Targets } from './frame-cost.js';
import { underLoad } from './load.js';

/** Milliseconds of the budget under load. */
const budgetMs = 100;

const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Ages, rates and what a stream's frames cost, as one line of a table. */
interface StreamFigures {
  readonly what: string;
  readonly device: string;
  readonly frames: number;
  readonly 'fps out': number;
  readonly 'fps in': number;
  readonly 'age p50': number;
  readonly 'age p95': number;
  /** per frame, of the page's main thread */
  readonly 'main ms': number;
  readonly 'main cpu ms': number;
  readonly 'longest task': number;
  /** thousands of bytes per frame that the thread allocates on its heap */
  readonly 'page kB': number;
  readonly 'explainer kB': number;
  readonly 'decoder kB': number;
  /** thousands of bytes of outputs and relevance per frame, which are given back */
  readonly 'arrays kB': number;
}

/** End to end on clip and camera, for each device. */
async function endToEnd(seconds: number, composed: boolean): Promise<readonly StreamFigures[]> {
  // composed on the (software) GPU as on any: else every drawing in a worker asks the main thread for a context, in vain
  const browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg', composed });
  const figures: StreamFigures[] = [];
  for (const [device, source, budget, decoded = 'in its worker'] of [
    ['wasm', 'clip', undefined],
    ['wasm', 'clip', undefined, 'on the page'],
    ['wasm', 'clip', budgetMs],
    ['wasm', 'camera', undefined],
    ['wasm', 'camera', budgetMs],
    // in software on many test machines, where no rung fits any budget
    ['webgpu', 'camera', undefined],
  ] as const) {
    const { page, close } = await browser.open();
    // without its worker, a clip is decoded where it is asked for
    if (decoded === 'on the page') await page.route('**/workers/decoder.js', (route) => route.abort());
    const targets = await openTargets(page);
    await openRecordedExplainer(page, { device });
    const stream = await record(page, { source, ...(budget === undefined ? {} : { budgetMs: budget }) });
    const frames = () => page.evaluate((index) => window.recordings[index]!.rows.length, stream);
    const rows = () => taken(page, stream);
    await page.waitForFunction((index) => window.recordings[index]!.rows.length > 4, stream, { timeout: 120_000 });
    await page.waitForTimeout(1500);
    const where = decoded === 'on the page' ? ' decoded on the page' : '';
    const what = `explained ${source}${where}, ${budget === undefined ? 'no budget' : `${budget} ms`}`;
    figures.push(await figuresOf(what, device, targets, frames, rows, seconds));
    await stop(page, stream);
    await close();
  }
  figures.push(await plainLoop(browser, seconds));
  await browser.close();
  return figures;
}

/** Measures a stream that runs; `take` gives the frames since it was called before. */
async function figuresOf(
  what: string,
  device: string,
  targets: Targets,
  frames: () => Promise<number>,
  take: () => Promise<readonly Pick<Row, 'age' | 'bytes'>[]>,
  seconds: number,
): Promise<StreamFigures> {
  await take();
  const { tasks, cpu } = await mainThread(targets, frames, seconds);
  const rows = await take();
  const ages = rows.map(({ age }) => age);
  const fpsIn = await targets.page.evaluate(() => window.metrics?.streams.at(-1)?.fpsIn ?? Number.NaN);
  const heap = await allocations(targets, frames, seconds);
  const longest = await longestTask(targets, seconds);
  const thousands = (thread: string) => rounded((heap[thread] ?? Number.NaN) / 1000);
  return {
    what,
    device,
    frames: ages.length,
    'fps out': rounded(ages.length / seconds),
    'fps in': rounded(fpsIn),
    'age p50': rounded(quantile(ages, 0.5)),
    'age p95': rounded(quantile(ages, 0.95)),
    'main ms': rounded(tasks, 2),
    'main cpu ms': rounded(cpu, 2),
    'longest task': rounded(longest),
    'page kB': thousands('page'),
    'explainer kB': thousands('explainer.js'),
    'decoder kB': thousands('decoder.js'),
    'arrays kB': rounded(rows.reduce((sum, { bytes }) => sum + bytes, 0) / rows.length / 1000),
  };
}

/** The same model as pages run it today: forward only, on the main thread, frame after frame of a video element. */
async function plainLoop(browser: Awaited<ReturnType<typeof openChromium>>, seconds: number): Promise<StreamFigures> {
  const { page, close } = await browser.open();
  const targets = await openTargets(page);
  await page.addScriptTag({ url: '/dist/bench/page.js', type: 'module' });
  await page.waitForFunction(() => window.plainLoop !== undefined);
  await page.evaluate(() => void window.plainLoop('/samples/models/glyphs/glyphs.onnx'));
  await page.waitForFunction(() => window.plainAges.length > 30);
  const figures = await figuresOf(
    'plain loop on the main thread, forward only, camera',
    'wasm',
    targets,
    () => page.evaluate(() => window.plainAges.length),
    () => page.evaluate(() => window.plainAges.splice(0).map((age) => ({ age, bytes: 0 }))),
    seconds,
  );
  await close();
  return figures;
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    composed: { type: 'boolean', default: true },
    'end-to-end': { type: 'boolean', default: true },
    load: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
if (values['end-to-end']) {
  const figures = await endToEnd(Number(values.seconds), values.composed);
  for (const one of figures) console.log(JSON.stringify(one));
  console.log(
    '\nend to end with glyphs.onnx (float32, one thread), milliseconds; main: of the main thread per frame, its tasks and by the ' +
      "processor's clock, medians of the seconds; kB: allocated on a thread's JavaScript heap per frame, and in arrays of results, which are given back",
  );
  console.table(figures);
}
if (values.load) await underLoad(budgetMs, Number(values.seconds), 'dist/bench/plots');
