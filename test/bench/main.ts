import { mkdir, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import { presets } from '../../sdk/lrp/presets.js';
import { integerChoices } from '../../sdk/quantize/options.js';
import { openChromium } from '../browser/chromium.js';
import { type Cost, compileCostOf, costOf, gateCostOf } from './cost.js';
import { forms, kernels } from './forms.js';
import { type IntegerTimes, integerTimes } from './int8.js';
import { liveStages } from './live.js';
import { type Network, type NetworkName, network, networkNames } from './networks.js';
import type { Feed } from './timing.js';

/** Where a model can be timed. */
type Place = 'wasm-1' | 'wasm-2' | 'webgpu';

interface Measurement {
  readonly network: NetworkName;
  readonly composite: string;
  readonly where: Place;
  /** milliseconds, median */
  readonly forward: number;
  readonly explained: number;
  /** explained / forward, measured */
  readonly ratio: number;
  /** the same by multiply-adds */
  readonly bound: number;
  readonly runs: number;
}

const PLACES: readonly Place[] = ['wasm-1', 'wasm-2', 'webgpu'];
const OTHERS = ['node-1', 'compile', 'gate', 'forms', 'int8', 'live'] as const;
/** What runs where nothing is said: all that needs no more than ten minutes. */
const DEFAULT_PLACES = ['node-1', 'compile', 'gate', 'live'];
const DEFAULT_COMPOSITES = ['epsilon', 'epsilon-plus-flat', 'epsilon-alpha2-beta1-flat', 'epsilon-gamma-box'];

const { values } = parseArgs({
  options: {
    network: { type: 'string' },
    composite: { type: 'string', default: DEFAULT_COMPOSITES.join() },
    where: { type: 'string', default: DEFAULT_PLACES.join() },
    runs: { type: 'string', default: '5' },
    integers: { type: 'string', default: 'where-faster' },
  },
});

function chosen<T extends string>(text: string, known: readonly T[], option: string): T[] {
  return text.split(',').map((item) => {
    if (known.includes(item as T)) return item as T;
    throw new Error(`--${option} ${item} is not known; known are ${known.join(', ')}`);
  });
}

/** The networks asked for, or those that a table has where nothing is said. */
const networksOr = (usual: readonly NetworkName[]): readonly NetworkName[] =>
  values.network === undefined ? usual : chosen(values.network, networkNames, 'network');
const networks = networksOr(networkNames.filter((name) => name !== 'vgg11'));
const composites = chosen(values.composite, Object.keys(presets), 'composite');
const places = chosen(values.where, [...PLACES, ...OTHERS], 'where');
const runs = Number(values.runs);

const measurements: Measurement[] = [];

/** What WebGPU runs on; undefined where it is not asked for. */
async function adapterName(): Promise<string | undefined> {
  if (!places.includes('webgpu')) return undefined;
  const browser = await openChromium();
  const { page } = await browser.open({ path: '/test/bench/page.html' });
  await page.waitForFunction(() => window.describeAdapter !== undefined);
  const name = await page.evaluate(() => window.describeAdapter());
  await browser.close();
  return name;
}

const line = (value: object): void => console.log(JSON.stringify(value));
const adapter = await adapterName();
const software = /swiftshader|llvmpipe/i.test(adapter ?? '');
line({ cpu: cpus()[0]?.model, cores: cpus().length, adapter });

/** Times one model in one place of the browser; the model is served from a file that lives as long as the measurement. */
type Timer = (model: Uint8Array, feeds: readonly Feed[]) => Promise<number>;

/** A software GPU needs half a minute for a run, so one has to do. */
const runsOn = (provider: 'wasm' | 'webgpu'): number => (provider === 'webgpu' && software ? 1 : runs);

function inChromium(provider: 'wasm' | 'webgpu', threads: number): Timer {
  const times = runsOn(provider);
  return async (model, feeds) => {
    await mkdir('dist/bench', { recursive: true });
    await writeFile('dist/bench/model.onnx', model);
    // a browser per model: WebAssembly memory never shrinks
    const browser = await openChromium();
    try {
      const { page } = await browser.open({ path: '/test/bench/page.html' });
      await page.waitForFunction(() => window.timeModel !== undefined);
      return await page.evaluate(
        ([list, device, count, timed]) => window.timeModel('/dist/bench/model.onnx', list, device, count, timed),
        [[...feeds], provider, threads, times] as const,
      );
    } finally {
      await browser.close();
      await rm('dist/bench/model.onnx', { force: true });
    }
  };
}

const timers: Readonly<Record<Place, () => Timer>> = {
  'wasm-1': () => inChromium('wasm', 1),
  'wasm-2': () => inChromium('wasm', 2),
  webgpu: () => inChromium('webgpu', 1),
};

/** What failed is a result too: a network that a device cannot hold, say; the others go on. */
async function tried<T extends object>(what: object, measure: () => Promise<T>): Promise<T | undefined> {
  try {
    const result = await measure();
    line({ ...what, ...result });
    return result;
  } catch (error) {
    line({ ...what, failed: error instanceof Error ? error.message.split('\n')[0] : String(error) });
    return undefined;
  }
}

/** One row for each network that could be measured. */
async function rowsOf<T extends object>(
  list: readonly NetworkName[],
  measure: (net: Network) => Promise<T>,
): Promise<T[]> {
  const rows: T[] = [];
  for (const name of list) {
    const row = await tried({ network: name }, () => measure(network(name)));
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

const rounded = (value: number | undefined, digits = 2): number | undefined =>
  value === undefined ? undefined : Number(value.toFixed(digits));

if (places.includes('node-1')) {
  const costs: Cost[] = [];
  for (const name of networks) {
    const net = network(name);
    for (const composite of composites) {
      const cost = await tried({ network: name, composite }, () => costOf(net, composite, runs));
      if (cost !== undefined) costs.push(cost);
    }
  }
  console.log(
    '\nin Node, WebAssembly on one thread, by the processor’s clock: forward + LRP over forward, and its bound in multiply-adds',
  );
  console.table(
    costs.map(({ network: name, composite, forward, explained, ratio, bound, why }) => ({
      network: name,
      composite,
      'forward ms': rounded(forward, 1),
      'explained ms': rounded(explained, 1),
      ratio: rounded(ratio),
      bound: rounded(bound),
      'ratio / bound': rounded(bound === undefined ? undefined : ratio / bound),
      why,
    })),
  );
}
if (places.includes('gate')) {
  const rows = await rowsOf(networksOr(['resnet18', 'mobilenetv2']), (net) => gateCostOf(net, composites[0]!, runs));
  console.log('\ngated explanations, as above');
  console.table(rows);
}
if (places.includes('compile')) {
  const rows = await rowsOf(
    networksOr(['vgg16', 'resnet50', 'densenet121', 'mobilenetv2', 'efficientnetb0']),
    async (net) => compileCostOf(net, composites[0]!),
  );
  console.log('\ncompiling in a fresh process, and the most memory it takes, the file included');
  console.table(rows);
}
if (places.includes('forms')) {
  await forms(Math.max(runs, 12));
  await kernels(Math.max(runs, 12));
}

const inBrowser = PLACES.filter((place) => places.includes(place));
for (const name of inBrowser.length > 0 ? networks : []) {
  const { model, input, logits } = network(name);
  const frame: Feed = { name: 'input', dims: input };
  const target: Feed = { name: 'target', dims: logits };
  for (const where of inBrowser) {
    const time = timers[where]();
    try {
      const forward = await time(model, [frame]);
      for (const composite of composites) {
        const device = where === 'webgpu' ? 'webgpu' : 'wasm';
        const compiled = compileExplanation(model, { composite, inputRanges: { input: [0, 1] }, target: device });
        const { report } = compiled;
        const explained = await time(compiled.model, [frame, target]);
        const measurement: Measurement = {
          network: name,
          composite,
          where,
          forward,
          explained,
          ratio: explained / forward,
          bound: (report.forward + report.backward) / report.forward,
          runs: runsOn(device),
        };
        measurements.push(measurement);
        line(measurement);
      }
    } catch (error) {
      // a network that a device cannot hold is a result too, and the others go on
      line({ network: name, where, failed: error instanceof Error ? error.message.split('\n')[0] : String(error) });
    }
  }
}

if (measurements.length > 0) {
  console.log('\nforward + LRP against forward alone; bound: the same ratio in multiply-adds');
  console.table(
    measurements.map((m) => ({
      network: m.network,
      where: m.where,
      composite: m.composite,
      'forward ms': Number(m.forward.toFixed(1)),
      'explained ms': Number(m.explained.toFixed(1)),
      ratio: Number(m.ratio.toFixed(2)),
      bound: Number(m.bound.toFixed(2)),
      'ratio / bound': Number((m.ratio / m.bound).toFixed(2)),
    })),
  );
}
if (places.includes('int8')) {
  const models = [...networksOr(['resnet18', 'mobilenetv2']), 'glyphs'];
  const chosenLayers = chosen(values.integers, integerChoices, 'integers');
  const rows: IntegerTimes[] = [];
  for (const integers of chosenLayers) rows.push(...(await integerTimes(models, composites, runs, integers)));
  for (const row of rows) line(row);
  console.log(
    '\nint8 against float32 in Node, WebAssembly on one thread: CPU milliseconds, least of the runs, and their ratios',
  );
  console.table(
    rows.map((row) => ({
      ...{
        network: row.network,
        composite: row.composite,
        integers: row.integers,
        'float ms': row.float.toFixed(1),
        'int8 ms': row.int8.toFixed(1),
      },
      'forward part / int8': row.forwardOverPlain.toFixed(2),
      'with LRP, int8 ms': row.explainedInt8.toFixed(1),
      'with LRP, float ms': row.explainedFloat.toFixed(1),
      'int8 / float': row.int8OverFloat.toFixed(2),
      kernels: row.compiledKernels,
    })),
  );
}
if (places.includes('live')) {
  const stages = await liveStages();
  for (const stage of stages) line(stage);
  console.log('\nmilliseconds per stage of the bundled clip, explained frame by frame (median and 95th percentile)');
  console.table(stages);
}
