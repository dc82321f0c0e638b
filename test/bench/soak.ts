import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { openChromium } from '../browser/chromium.js';
import { processOf } from '../browser/slowdown.js';
import { type Holdings, holdings, openRecordedExplainer, record, stop, taken } from '../browser/stream-run.js';
import { svgPlot } from './plot.js';

// A stream for a long time, with what happens to streams in between: every minute the page and its workers stand still for a second, every second
// minute the rules change, every third the camera is closed and opened again.
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    budget: { type: 'string' },
    device: { type: 'string', default: 'wasm' },
  },
});
const minutes = Number(values.minutes);
const device = values.device === 'webgpu' ? 'webgpu' : 'wasm';
// a GPU in software is slow
const budgetMs = Number(values.budget ?? (device === 'webgpu' ? 2000 : 150));

const browser = await openChromium({
  camera: 'test/media/glyphs-camera.mjpeg',
  webgpu: device === 'webgpu',
  args: ['--js-flags=--expose-gc', '--enable-precise-memory-info'],
});
const { page, complaints } = await browser.open();
await openRecordedExplainer(page, { device });
const pageProcess = await processOf(browser.browser, page);
let stream = await record(page, { budgetMs });
const stock: Holdings[] = [];
const began = Date.now();
const period = 5000;
for (let round = 1; Date.now() - began < minutes * 60_000; round++) {
  await page.waitForTimeout(period);
  stock.push(await holdings(page));
  await taken(page, stream);
  const perMinute = 60_000 / period;
  if (round % perMinute === 0) await pageProcess.freeze(1000);
  if (round % (2 * perMinute) === 0) {
    await page.evaluate(
      (name) => window.explainer.setComposite(name),
      round % (4 * perMinute) === 0 ? 'epsilon-plus-flat' : 'epsilon',
    );
  }
  if (round % (3 * perMinute) === 0) {
    await stop(page, stream);
    stream = await record(page, { budgetMs });
  }
}
await stop(page, stream);
await page.evaluate(() => window.explainer.dispose());
const left = await page.evaluate(() => ({ ...window.explainer.open, sourceFrames: window.whylight.openFrames() }));
await browser.close();

const line = (of: (one: Holdings) => number) => stock.map((one) => [one.at, of(one)] as const);
await mkdir('dist/bench/plots', { recursive: true });
await writeFile(
  'dist/bench/plots/soak.svg',
  svgPlot({
    title: `${minutes} minutes of the fake camera, ${device}, budget ${budgetMs} ms`,
    x: 'seconds',
    left: 'MB',
    right: 'count',
    lines: [
      { label: 'page heap after collection', colour: '#1f5fd6', points: line(({ heap }) => heap / 1e6) },
      { label: 'WebAssembly', colour: '#d0832c', points: line(({ wasm }) => wasm / 1e6) },
      ...(device === 'webgpu' ? [{ label: 'GPU', colour: '#b8405e', points: line(({ gpu }) => gpu / 1e6) }] : []),
      { label: 'open frames', colour: '#4b8b5a', right: true, points: line(({ frames }) => frames) },
      { label: 'workers', colour: '#8c7ae6', right: true, points: line(({ workers }) => workers) },
    ],
  }),
);
/** Least squares, per minute. */
function slope(of: (one: Holdings) => number): number {
  // the first minute is the start: code is compiled, caches fill
  const points = stock
    .filter(({ at }) => at > Math.min(60, minutes * 15))
    .map((one) => [one.at / 60, of(one)] as const);
  const mean = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [x, y] = [mean(points.map(([at]) => at)), mean(points.map(([, value]) => value))];
  const above = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0);
  return above / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
}
console.table({
  'page heap, kB a minute': slope(({ heap }) => heap / 1000).toFixed(1),
  'WebAssembly, kB a minute': slope(({ wasm }) => wasm / 1000).toFixed(1),
  ...(device === 'webgpu' ? { 'GPU, kB a minute': slope(({ gpu }) => gpu / 1000).toFixed(1) } : {}),
  'explained in the last stream': stock.at(-1)?.explained,
  'most frames open': Math.max(...stock.map(({ frames }) => frames)),
  'most tensors': Math.max(...stock.map(({ tensors }) => tensors)),
  'most workers': Math.max(...stock.map(({ workers }) => workers)),
  'left after dispose': JSON.stringify(left),
  complaints: complaints().length,
});
for (const complaint of complaints()) console.log(complaint);
console.log('plot: dist/bench/plots/soak.svg');
