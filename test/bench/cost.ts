import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import type { Network } from './networks.js';
import { excessOf, profileOf } from './profile.js';
import { type Contestant, cpuTimes, openInNode } from './timing.js';

/** What an explanation costs in Node, on WebAssembly with one thread. */
export interface Cost {
  readonly network: string;
  readonly composite: string;
  /** milliseconds of the processor, the least of all runs */
  readonly forward: number;
  readonly explained: number;
  readonly ratio: number;
  /** the same by multiply-adds; undefined where these are not most of the work */
  readonly bound: number | undefined;
  readonly why: string;
}

/** Above this multiple of its bound a convolutional network's explanation says why. */
const HELD_TO = 1.2;

const RANGES = { inputRanges: { input: [0, 1] }, target: 'wasm' } as const;

const plainOf = ({ name, input, model }: Network): Contestant => ({
  name,
  model,
  feeds: [{ name: 'input', dims: input }],
});

/** Times a network and its explanation side by side. */
export async function costOf(network: Network, composite: string, runs: number): Promise<Cost> {
  const { name, family, logits } = network;
  const { model, report } = compileExplanation(network.model, { composite, ...RANGES });
  const plain = plainOf(network);
  const open: Contestant = { name: composite, model, feeds: [...plain.feeds, { name: 'target', dims: logits }] };
  const [forward = 0, explained = 0] = await cpuTimes([await openInNode(plain), await openInNode(open)], runs);
  const ratio = explained / forward;
  const bound = family === 'recurrent' ? undefined : (report.forward + report.backward) / report.forward;
  const isOver = bound !== undefined && family === 'convolutional' && ratio > HELD_TO * bound;
  const why = isOver ? excessOf(profileOf(plain, runs), profileOf(open, runs), bound) : '';
  return { network: name, composite, forward, explained, ratio, bound, why };
}

/** A gated explanation over an open one, and with the gate closed over the model itself. */
export interface GateCost {
  readonly network: string;
  readonly 'open gate / no gate': number;
  readonly 'closed gate / model': number;
}

/** Times the gate of an explanation: one copy of the weights serves both, and neither should pay for it. */
export async function gateCostOf(network: Network, composite: string, runs: number): Promise<GateCost> {
  const plain = plainOf(network);
  const feeds = [...plain.feeds, { name: 'target', dims: network.logits }];
  const { model } = compileExplanation(network.model, { composite, ...RANGES });
  const { model: gated } = compileExplanation(network.model, { composite, ...RANGES, gated: true });
  const gate = (open: boolean): Contestant => ({
    name: 'gated',
    model: gated,
    feeds: [...feeds, { name: 'explain', dims: [], type: 'bool', filled: open }],
  });
  const contestants = [plain, { name: composite, model, feeds }, gate(false), gate(true)];
  const opened = await Promise.all(contestants.map(openInNode));
  const [forward = 0, explained = 0, closed = 0, open = 0] = await cpuTimes(opened, runs);
  return {
    network: network.name,
    'open gate / no gate': Number((open / explained).toFixed(2)),
    'closed gate / model': Number((closed / forward).toFixed(2)),
  };
}

/** What compiling a network takes, measured in a process of its own. */
export interface CompileCost {
  readonly network: string;
  readonly 'file MB': number;
  readonly 'compile ms': number;
  /** the most memory that the process held beyond what it held before it read the file */
  readonly 'peak / file': number;
  readonly 'compiled / file': number;
}

/** Compiles a network in a process of its own, the file included in what is counted. */
export function compileCostOf({ name, model }: Network, composite: string): CompileCost {
  const file = '.cache/bench/peak.onnx';
  mkdirSync('.cache/bench', { recursive: true });
  writeFileSync(file, model);
  try {
    const text = execFileSync(process.execPath, ['.cache/bench/peak.mjs', file, composite], { encoding: 'utf8' });
    const { milliseconds, peak, compiled } = JSON.parse(text) as Record<'milliseconds' | 'peak' | 'compiled', number>;
    return {
      network: name,
      'file MB': Number((model.length / 1e6).toFixed(1)),
      'compile ms': Math.round(milliseconds),
      'peak / file': Number((peak / model.length).toFixed(2)),
      'compiled / file': Number((compiled / model.length).toFixed(2)),
    };
  } finally {
    rmSync(file, { force: true });
  }
}
