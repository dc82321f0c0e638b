import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import type { Contestant } from './timing.js';

interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly args: { readonly op_name?: string; readonly node_index?: string };
}

/** Where the time of a model goes, in milliseconds. */
export interface Profile {
  /** in convolutions and matrix products */
  readonly linear: number;
  /** in everything else, by operator, the most first */
  readonly rest: readonly (readonly [operator: string, time: number])[];
}

const LINEAR = /Conv|Gemm|MatMul|LSTM/;

/**
 * Runs a model and has the runtime time every node; each node counts with its fastest run. In a process of its own: the runtime prints
 * what it has measured.
 */
export function profileOf({ model, feeds }: Contestant, runs: number): Profile {
  const file = '.cache/bench/profiled.onnx';
  writeFileSync(file, model);
  const script = ['.cache/bench/profiled.mjs', file, JSON.stringify(feeds), String(runs)];
  const text = execFileSync(process.execPath, script, { encoding: 'utf8', maxBuffer: 2 ** 30 });
  rmSync(file);
  const events = JSON.parse(text.slice(text.indexOf('['), text.lastIndexOf(']') + 1)) as ProfileEvent[];
  const fastest = new Map<string, readonly [operator: string, time: number]>();
  for (const { cat, name, dur, args } of events) {
    if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue;
    const node = `${name}#${args.node_index}`;
    const before = fastest.get(node);
    if (before === undefined || dur < before[1]) fastest.set(node, [args.op_name ?? '', dur]);
  }
  const byOperator = new Map<string, number>();
  for (const [operator, time] of fastest.values()) {
    byOperator.set(operator, (byOperator.get(operator) ?? 0) + time / 1000);
  }
  const all = [...byOperator].sort(([, a], [, b]) => b - a);
  return {
    linear: all.filter(([operator]) => LINEAR.test(operator)).reduce((sum, [, time]) => sum + time, 0),
    rest: all.filter(([operator]) => !LINEAR.test(operator)),
  };
}

/** Why an explanation takes longer than the multiply-adds say, in words. */
export function excessOf(forward: Profile, explained: Profile, bound: number): string {
  const restOf = ({ rest }: Profile): number => rest.reduce((sum, [, time]) => sum + time, 0);
  const total = explained.linear + restOf(explained);
  const share = (time: number): string => `${Math.round((100 * time) / total)} %`;
  const most = explained.rest.slice(0, 4).map(([operator, time]) => `${operator} ${share(time)}`);
  const speed = explained.linear / forward.linear / bound;
  return `${share(restOf(explained))} not in products: ${most.join(', ')}; products ${speed.toFixed(2)} × their bound`;
}
