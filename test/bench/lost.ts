import { openChromium } from '../browser/chromium.js';
import { openRecordedExplainer, record } from '../browser/stream-run.js';

/** One crash of the GPU process, in milliseconds after it. */
interface Loss {
  /** a device of the page itself hears that it is lost */
  readonly heard: number;
  /** the explainer's warning */
  readonly warned: number;
  /** the first explanation on WASM is handed over */
  readonly explained: number;
  /** megabytes of WebAssembly memory before and after */
  readonly wasm: readonly [before: number, after: number];
}

/**
 * Crashes the GPU's process while a stream of the fake camera runs, in a browser of its own for each time, and prints how long it takes until
 * the stream goes on. `--runs N`, default 3.
 */
async function main(): Promise<void> {
  const runs = Number(process.argv[process.argv.indexOf('--runs') + 1]) || 3;
  const table = [];
  for (const model of ['glyphs', 'glyphs-int8']) {
    for (let run = 0; run < runs; run++) {
      const { heard, warned, explained, wasm } = await lose(`/samples/models/glyphs/${model}.onnx`);
      const [before, after] = wasm.map((bytes) => Number((bytes / 1e6).toFixed(1)));
      table.push({
        model,
        'the page hears of it': Math.round(heard),
        warning: Math.round(warned),
        'next explanation': Math.round(explained),
        'WebAssembly MB before': before,
        after,
      });
    }
  }
  console.log('\nthe GPU’s process crashes under a stream of the fake camera: milliseconds from then on');
  console.table(table);
}

async function lose(model: string): Promise<Loss> {
  const browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg' });
  try {
    const { page } = await browser.open();
    await openRecordedExplainer(page, { device: 'webgpu', model });
    const stream = await record(page);
    await page.waitForFunction((index) => window.recordings[index]!.rows.length >= 5, stream, { timeout: 60_000 });
    const origin = await page.evaluate(async () => {
      const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
      const told = { heard: Number.NaN, warned: Number.NaN };
      Object.assign(window, { told });
      void device.lost.then(() => {
        told.heard = performance.now();
      });
      window.explainer.warnings$.subscribe(() => {
        told.warned = performance.now();
      });
      return performance.timeOrigin;
    });
    const before = await page.evaluate(() => window.explainer.memory.wasm);
    const devtools = await browser.browser.newBrowserCDPSession();
    const crashed = performance.timeOrigin + performance.now() - origin;
    await devtools.send('Browser.crashGpuProcess' as 'Browser.getVersion').catch(() => undefined);
    await page.waitForFunction((index) => window.recordings[index]!.rows.some((row) => row.device === 'wasm'), stream, {
      timeout: 60_000,
    });
    return await page.evaluate(
      ([index, start, wasm]) => {
        const { told } = window as unknown as { told: { heard: number; warned: number } };
        const first = window.recordings[index!]!.rows.find((row) => row.device === 'wasm')!;
        return {
          heard: told.heard - start!,
          warned: told.warned - start!,
          explained: first.at - start!,
          wasm: [wasm!, window.explainer.memory.wasm] as const,
        };
      },
      [stream, crashed, before],
    );
  } finally {
    await browser.close();
  }
}

await main();
