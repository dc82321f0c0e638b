import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { quantile } from '../../sdk/runtime/budget/statistics.js';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { watchForeignLoad } from './foreign-load.js';
import { type Second, secondsOf } from './promise.js';
import { type PageProcess, processOf } from './slowdown.js';
import { burn, openRecordedExplainer, type Row, record, stop, taken, throttle } from './stream-run.js';

let browser: TestBrowser;
let opened: TestPage | undefined;
beforeAll(async () => {
  browser = await openChromium({
    camera: 'test/media/glyphs-camera.mjpeg',
    webgpu: false,
  });
});
let slowed: PageProcess | undefined;
afterEach(async () => {
  await slowed?.slow(1);
  slowed = undefined;
  await opened?.close();
  opened = undefined;
});
afterAll(() => browser.close());

async function open() {
  opened = await browser.open();
  await openRecordedExplainer(opened.page);
  return opened;
}

/** Waits until a stream has handed over `count` more explanations, and gives them. */
async function next(page: TestPage['page'], stream: number, count: number): Promise<readonly Row[]> {
  await page.waitForFunction(([index, wanted]) => window.recordings[index!]!.rows.length >= wanted!, [stream, count], {
    timeout: 60_000,
    polling: 50,
  });
  return taken(page, stream);
}

/** Loads one after the other: how often the browser's process and the page's thread are slowed, how many cores burn, for how many milliseconds. */
const loads = [
  ['at rest', 1, 1, 0, 1500],
  ['browser at half speed, one core burns', 2, 1, 1, 4000],
  ['browser at a sixth', 6, 1, 0, 4000],
  ['page at a sixth, three burn', 1, 6, 3, 4000],
  ['at rest again', 1, 1, 0, 4000],
] as const;

/** Takes a stream through the loads. Gives the seconds of every load, whether the rung from before them was back after three, and whether it ought to. */
async function throughLoads(page: TestPage['page'], slowed: PageProcess, stream: number, budgetMs: number) {
  const now = () => page.evaluate(() => performance.now());
  const watched = await watchForeignLoad(browser.browser, page);
  const rows: Row[] = [];
  const starts: number[] = [];
  for (const [, speed, pageSpeed, cores, milliseconds] of loads) {
    const { ran, stopped, rate } = await slowed.slow(speed);
    // the load that ended was what it should have been
    if (rate > 1) expect((ran + stopped) / ran / rate).toBeCloseTo(1, 1);
    await throttle(page, pageSpeed);
    await burn(page, cores);
    starts.push(await now());
    await page.waitForTimeout(milliseconds);
    rows.push(...(await taken(page, stream)));
  }
  const end = await now();
  const foreign = await watched.stop();
  // every result says what it is
  for (const { rung, name } of rows) expect([rung >= 0, name !== '']).toEqual([true, true]);

  const seconds = loads.map(([name], index) => {
    const [from, to] = [starts[index]!, starts[index + 1] ?? end];
    const here = secondsOf(rows, { from, to, budgetMs, steps: starts.slice(1), foreign });
    const during = rows.filter(({ at }) => at >= from && at < to);
    const rungs = [...new Set(during.map((row) => row.name))].join(', ');
    const verdicts = here.map(({ verdict }) => verdict).sort();
    const figures = [...new Set(verdicts)].map((one) => `${verdicts.filter((other) => other === one).length} ${one}`);
    console.log(
      `${name}: ${during.length} explanations, ${budgetMs.toFixed(0)} ms, windows: ${figures.join(', ')} (${rungs})`,
    );
    return here;
  });
  const [loaded, ended] = [starts[1]!, starts.at(-1)!];
  return {
    seconds: seconds.flat(),
    isBack: rows.find(({ at }) => at > ended + 3000)?.rung === rows[0]!.rung,
    isQuiet: foreign.every(({ from, to, cores }) => (from > loaded && to < ended) || cores < 0.3),
  };
}

test('the budget is kept through load: a slow browser and burning cores', async ({ skip }) => {
  const { page, complaints } = await open();
  slowed = await processOf(browser.browser, page);
  // the promise is about this machine as it is: it may be slower than the one that the budget was chosen on
  const unhurried = await record(page);
  const ages = (await next(page, unhurried, 30)).slice(5).map(({ age }) => age);
  await stop(page, unhurried);
  const budgetMs = Math.max(100, 5 * quantile(ages, 0.5));

  const stream = await record(page, { budgetMs });
  await next(page, stream, 10);
  const backs: boolean[] = [];
  let [kept, judged] = [0, 0];
  // the seconds overlap: a single stall breaks four of the twenty of one round, and it takes more to tell how often there is one
  for (let round = 0; round < 4 && (judged < 10 || kept < 0.95 * judged || backs.at(-1) === false); round++) {
    const { seconds, isBack, isQuiet } = await throughLoads(page, slowed, stream, budgetMs);
    const count = (wanted: Second['verdict']) => seconds.filter(({ verdict }) => verdict === wanted).length;
    kept += count('kept');
    judged += count('kept') + count('broken');
    if (isQuiet) backs.push(isBack);
  }
  await stop(page, stream);
  await expect.poll(() => page.evaluate(() => window.whylight.openFrames())).toBe(0);
  expect(complaints()).toEqual([]);
  if (judged < 10) skip(`the others on this machine left ${judged} windows to judge by`);
  // 0.95 under virtual time; here 266 of 269 were kept in two runs of the bench, but of the ninety of four rounds at most, two stalls break eight
  expect(kept / judged, `${kept} of ${judged} windows`).toBeGreaterThanOrEqual(0.9);
  if (backs.length > 0) expect(backs, 'the rung from before the load, three seconds after it').toContain(true);
});

test('a budget that only the forward pass keeps is kept by it, and a wide one gets everything back', async () => {
  const { page } = await open();
  const full = await record(page);
  const inference = (await next(page, full, 20)).slice(5).map((row) => row.inference);
  await stop(page, full);
  const fastest = Math.min(...inference);
  // no LRP fits, however idle the machine is
  const narrow = await record(page, { budgetMs: fastest });
  const seen = await next(page, narrow, 40);
  expect(seen.at(-1)).toMatchObject({ name: 'forward only' });
  await stop(page, narrow);
  const wide = await record(page, { budgetMs: 60_000 });
  expect((await next(page, wide, 15)).every(({ rung }) => rung === 0)).toBe(true);
  await stop(page, wide);
});

test('two streams share one explainer, and stages are heard by an observer', async () => {
  const { page } = await open();
  await page.evaluate(() => {
    const seen: Record<string, number> = {};
    Object.assign(window, { seen });
    new PerformanceObserver((list) => {
      for (const { name } of list.getEntries()) seen[name] = (seen[name] ?? 0) + 1;
    }).observe({ entryTypes: ['measure'] });
  });
  const streams = [await record(page, { budgetMs: 400 }), await record(page, { budgetMs: 400, source: 'clip' })];
  await page.waitForFunction(() => window.recordings.every(({ rows }) => rows.length >= 40), undefined, {
    timeout: 60_000,
  });
  const [first, second] = (await Promise.all(streams.map((stream) => taken(page, stream)))) as [
    readonly Row[],
    readonly Row[],
  ];
  const inCommon = Math.max(first[0]!.at, second[0]!.at);
  const until = Math.min(first.at(-1)!.at, second.at(-1)!.at);
  const counts = [first, second].map((rows) => rows.filter(({ at }) => at >= inCommon && at <= until).length);
  expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThan(0.4);
  const { metrics, seen, left } = await page.evaluate(() => ({
    metrics: window.metrics!,
    seen: (window as unknown as { seen: Record<string, number> }).seen,
    left: performance.getEntriesByType('measure').length,
  }));
  expect(metrics.streams.map(({ stream }) => stream)).toEqual([1, 2]);
  for (const { fpsIn, fpsOut, stages, rung } of metrics.streams) {
    expect(fpsIn).toBeGreaterThan(0);
    expect(fpsOut).toBeGreaterThan(0);
    expect(stages.forward.p50).toBeGreaterThan(0);
    expect(rung!.reason).not.toBe('');
  }
  expect(metrics.memory.wasm).toBeGreaterThan(1e6);
  expect(seen['whylight frame']).toBeGreaterThanOrEqual(80);
  // the profiler and observers have seen them; the page's own timeline does not grow
  expect(left).toBe(0);
  for (const stream of streams) await stop(page, stream);
  expect(await page.evaluate(() => window.explainer.open.frames)).toBe(0);
});
