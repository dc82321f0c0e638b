import { writeFile } from 'node:fs/promises';
import { compileExplanation } from '../lrp/compile.js';
import { presets } from '../lrp/presets.js';
import type { CompileOptions } from '../lrp/report.js';
import { inputShapeOption, inputShapesOf, named, numberOrList, parse, range, UsageError } from './arguments.js';
import { drift, driftUsage } from './drift.js';
import { explain, explainUsage } from './explain.js';
import { compositeOf, externalData, fileBytes, json } from './files.js';
import type { Output } from './output.js';
import { quantizeCommand, quantizeUsage } from './quantize.js';
import { inspectTable } from './table.js';

const USAGE = `usage: whylight compile MODEL.onnx --out OUT.onnx [options]
       whylight inspect MODEL.onnx [options]
       whylight explain MODEL.onnx --image PICTURE.png --out HEAT.png [options]
       whylight quantize MODEL.onnx --calibrate FOLDER|FILE --out OUT.onnx [options]
       whylight drift REFERENCE.onnx COMPARED.onnx --frames FOLDER|CLIP [options]

  --composite NAME|FILE.json   rules; default epsilon-plus-flat. Names:
                               ${Object.keys(presets).join(', ')}
  --input-shape NAME=1x3x224x224   shape of an input that the file leaves open (repeatable)
  --input-value NAME=16000         value that an input has once and for all, or values separated by commas
                               (repeatable); the compiled model does not have that input any more
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
  --audit                      adds the outputs "conservation", "absorbed" and "balance"
  --store-weights              stores weights that rules derive from the model's (w⁺, w⁻ …) instead of computing them
                               at session start: a larger file, a faster start
  --report REPORT.json         what was compiled, layer by layer
${explainUsage}${quantizeUsage}${driftUsage}`;

const OPTIONS = {
  composite: { type: 'string' },
  out: { type: 'string' },
  ...inputShapeOption,
  'input-value': { type: 'string', multiple: true },
  'input-range': { type: 'string', multiple: true },
  output: { type: 'string' },
  seed: { type: 'string' },
  target: { type: 'string' },
  taps: { type: 'string' },
  gated: { type: 'boolean' },
  audit: { type: 'boolean' },
  'store-weights': { type: 'boolean' },
  report: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

async function execute(
  args: readonly string[],
  stdout: Output,
  stderr: Output,
  signal: AbortSignal | undefined,
): Promise<void> {
  const wantsHelp = args.includes('--help') || args.includes('-h');
  if (args[0] === 'explain' && !wantsHelp) return explain(args.slice(1), stdout);
  if (args[0] === 'drift' && !wantsHelp) return drift(args.slice(1), stdout, stderr, signal);
  if (args[0] === 'quantize' && !wantsHelp) return quantizeCommand(args.slice(1), stdout, stderr, signal);
  const { values, positionals } = parse(args, OPTIONS);
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
  const inputShapes = inputShapesOf(values);
  const inputValues = named(values['input-value'], 'input-value', numberOrList);
  const inputRanges = named(values['input-range'], 'input-range', range);
  const composite = await compositeOf(values.composite);
  const bytes = await fileBytes(path);
  const options: CompileOptions = {
    inputShapes,
    inputValues,
    inputRanges,
    externalData: await externalData(bytes, path),
    gated: values.gated ?? false,
    audit: values.audit ?? false,
    derivedWeights: values['store-weights'] === true ? 'store' : 'derive',
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

/**
 * Runs the command line `whylight …` and returns its exit code: 0, 1 with one sentence on stderr, or 2 with the usage. A command
 * that takes long ends when `signal` fires.
 */
export async function run(
  args: readonly string[],
  stdout: Output,
  stderr: Output,
  signal?: AbortSignal,
): Promise<0 | 1 | 2> {
  try {
    await execute(args, stdout, stderr, signal);
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
