import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { WhylightError } from '../errors.js';
import { externalLocations } from '../graph/external.js';
import { compileExplanation } from '../lrp/compile.js';
import type { Composite } from '../lrp/composite.js';
import { presets } from '../lrp/presets.js';
import type { CompileOptions, CompileReport } from '../lrp/report.js';
import { inspectTable } from './table.js';

/** Where the command writes: a stream's `write`. */
export interface Output {
  write(text: string): unknown;
}

const USAGE = `usage: whylight compile MODEL.onnx --out OUT.onnx [options]
       whylight inspect MODEL.onnx [options]

  --composite NAME|FILE.json   rules; default epsilon-plus-flat. Names:
                               ${Object.keys(presets).join(', ')}
  --input-shape NAME=1x3x224x224   shape of an input that the file leaves open (repeatable)
  --input-range NAME=LOW..HIGH     range of an input's values (repeatable)
  --output NAME                the output to explain; default the first
  --seed logits|relevance      where relevance starts: at logits × target, or at the target itself; default as the
                               composite says
  --target wasm|webgpu|any     device that the graph is written for
inspect only:
  --json                       the whole report as JSON
compile only:
  --out OUT.onnx               where the compiled model goes
  --taps A,B                   inner tensors whose relevance becomes an output
  --gated                      adds the input "explain", which can switch the backward pass off
  --audit                      adds the outputs "conservation" and "absorbed"
  --report REPORT.json         what was compiled, layer by layer
`;

/** The command line was not understood: exit code 2 and the usage. */
class UsageError extends Error {}

const OPTIONS = {
  composite: { type: 'string' },
  out: { type: 'string' },
  'input-shape': { type: 'string', multiple: true },
  'input-range': { type: 'string', multiple: true },
  output: { type: 'string' },
  seed: { type: 'string' },
  target: { type: 'string' },
  taps: { type: 'string' },
  gated: { type: 'boolean' },
  audit: { type: 'boolean' },
  report: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** `name=value` arguments as a record. */
function named<T>(
  list: readonly string[] | undefined,
  option: string,
  read: (text: string) => T | undefined,
): Record<string, T> {
  return Object.fromEntries(
    (list ?? []).map((item) => {
      const at = item.lastIndexOf('=');
      const value = at > 0 ? read(item.slice(at + 1)) : undefined;
      if (value === undefined) throw new UsageError(`--${option} ${item} is not understood`);
      return [item.slice(0, at), value];
    }),
  );
}

function shape(text: string): number[] | undefined {
  const dims = text.split('x').map(Number);
  return dims.every((dim) => Number.isInteger(dim) && dim > 0) ? dims : undefined;
}

function range(text: string): [number, number] | undefined {
  const [low, high, ...more] = text.split('..').map(Number);
  return more.length === 0 && Number.isFinite(low) && Number.isFinite(high) ? [low!, high!] : undefined;
}

async function fileBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new WhylightError('MODEL_FETCH', `File "${path}" cannot be read.`, { details: { file: path }, cause });
  }
}

async function compositeOf(text: string | undefined): Promise<Composite | undefined> {
  if (text === undefined || !text.endsWith('.json')) return text;
  const content = new TextDecoder().decode(await fileBytes(text));
  try {
    return JSON.parse(content) as Composite;
  } catch (cause) {
    throw new WhylightError('COMPOSITE_INVALID', `File "${text}" is not JSON.`, { details: { file: text }, cause });
  }
}

/** Files with external data that a model names, read from beside it. */
async function externalData(model: Uint8Array, path: string): Promise<Record<string, Uint8Array>> {
  const files = externalLocations(model).map(
    async (location) => [location, await fileBytes(join(dirname(path), location))] as const,
  );
  return Object.fromEntries(await Promise.all(files));
}

const json = (report: CompileReport): string => `${JSON.stringify(report, null, 2)}\n`;

async function execute(args: readonly string[], stdout: Output): Promise<void> {
  const { values, positionals } = parse(args);
  const [command, path, ...more] = positionals;
  if (values.help === true) {
    stdout.write(USAGE);
    return;
  }
  if (command !== 'compile' && command !== 'inspect') {
    throw new UsageError(command === undefined ? 'a command is missing' : `there is no command "${command}"`);
  }
  if (command === 'compile' && values.json === true)
    throw new UsageError('--json belongs to inspect; compile has --report');
  if (path === undefined || more.length > 0) throw new UsageError(`${command} takes one MODEL.onnx`);
  if (command === 'compile' && values.out === undefined) throw new UsageError('compile needs --out OUT.onnx');
  const { target } = values;
  if (target !== undefined && target !== 'wasm' && target !== 'webgpu' && target !== 'any') {
    throw new UsageError(`--target ${target} is not wasm, webgpu or any`);
  }
  const { seed } = values;
  if (seed !== undefined && seed !== 'logits' && seed !== 'relevance') {
    throw new UsageError(`--seed ${seed} is not logits or relevance`);
  }
  const inputShapes = named(values['input-shape'], 'input-shape', shape);
  const inputRanges = named(values['input-range'], 'input-range', range);
  const composite = await compositeOf(values.composite);
  const bytes = await fileBytes(path);
  const options: CompileOptions = {
    inputShapes,
    inputRanges,
    externalData: await externalData(bytes, path),
    gated: values.gated ?? false,
    audit: values.audit ?? false,
    ...(composite === undefined ? {} : { composite }),
    ...(values.output === undefined ? {} : { output: values.output }),
    ...(values.taps === undefined ? {} : { taps: values.taps.split(',') }),
    ...(seed === undefined ? {} : { seed }),
    ...(target === undefined ? {} : { target }),
  };
  const { model, report } = compileExplanation(bytes, options);
  if (command === 'inspect') {
    stdout.write(values.json === true ? json(report) : inspectTable(report));
    return;
  }
  await writeFile(values.out!, model);
  if (values.report !== undefined) await writeFile(values.report, json(report));
  const ratio = ((report.forward + report.backward) / Math.max(1, report.forward)).toFixed(2);
  stdout.write(`${values.out}: ${report.layers.length} nodes explained, ${ratio} × the multiply-adds of the model\n`);
}

/** Runs the command line `whylight …` and returns its exit code: 0, 1 with one sentence on stderr, or 2 with the usage. */
export async function run(args: readonly string[], stdout: Output, stderr: Output): Promise<0 | 1 | 2> {
  try {
    await execute(args, stdout);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      stderr.write(`whylight: ${error.message}\n${USAGE}`);
      return 2;
    }
    stderr.write(`whylight: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}
