// Compiles one file in a process of its own and prints what it took: peak.mjs FILE COMPOSITE
import { readFileSync } from 'node:fs';
import { compileExplanation } from '../../sdk/lrp/compile.js';

/** A figure of this process in /proc, in bytes: VmRSS is what it holds, VmHWM the most that it has held. */
const memory = (figure: 'VmRSS' | 'VmHWM'): number =>
  Number(new RegExp(`${figure}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;

const [file = '', composite = ''] = process.argv.slice(2);
// the compiler itself is loaded before the file is there
const before = memory('VmRSS');
const bytes = readFileSync(file);
const start = performance.now();
const { model } = compileExplanation(bytes, { composite, target: 'wasm' });
const milliseconds = performance.now() - start;
const peak = memory('VmHWM') - before;
console.log(JSON.stringify({ milliseconds, peak, file: bytes.length, compiled: model.length }));
