import { copyFile, writeFile } from 'node:fs/promises';
import { WhylightError } from '../errors.js';
import { decodeModel } from '../graph/decode.js';
import {
  calibrationMethods,
  integerChoices,
  type QuantizationProgress,
  quantizationSchemes,
  weightRoundings,
} from '../quantize/options.js';
import { quantize } from '../quantize/quantize.js';
import { wasmRuntime } from '../runtime/wasm-runtime.js';
import {
  inputShapeOption,
  inputShapesOf,
  number,
  parse,
  perSecondOf,
  perSecondOption,
  UsageError,
} from './arguments.js';
import { type Calibration, openCalibration } from './calibration.js';
import { externalData, fileBytes, json, metadataBeside } from './files.js';
import type { Output } from './output.js';
import { quantizationTable } from './quantization-table.js';

/** The command's lines in the usage. */
export const quantizeUsage = `quantize only: writes the model with integers for floating-point numbers
  --calibrate FOLDER|FILE      what the model will see: a folder of PNG, JPEG or WAV files, a WAV file, or a clip (by the
                               program ffmpeg); MODEL.json says how pictures become its input. Only int8 needs it
  --out OUT.onnx               where the quantized model goes; OUT.json becomes a copy of MODEL.json, unless it is there
  --scheme NAME                ${quantizationSchemes.join(', ')}; default ${quantizationSchemes[0]}
  --integers WHERE             which layers int8 computes on integers: ${integerChoices.join(', ')}; default ${integerChoices[0]}
  --method NAME                how ranges are found: ${calibrationMethods.join(', ')}; default mse
  --percentile P               share of the values that --method percentile keeps; default 99.99
  --frames N                   most frames; default 512
  --fps N                      frames of a clip per second; default 5
  --exclude NAME               a node that stays in float32; * stands for any characters (repeatable)
  --bound DB                   computes layers in float32 until the outputs' signal-to-noise ratio is as high
  --rounding NAME              how weights become integers: ${weightRoundings.join(', ')}; default least-error
  --no-equalize                leaves the channels between layers as they are
  --no-bias-correction         leaves the mean error of rounded weights in
  --json                       the report as JSON instead of a table
  --input-shape is as above
`;

const OPTIONS = {
  calibrate: { type: 'string' },
  out: { type: 'string' },
  scheme: { type: 'string' },
  integers: { type: 'string' },
  method: { type: 'string' },
  percentile: { type: 'string' },
  frames: { type: 'string' },
  ...perSecondOption,
  exclude: { type: 'string', multiple: true },
  bound: { type: 'string' },
  rounding: { type: 'string' },
  'no-equalize': { type: 'boolean' },
  'no-bias-correction': { type: 'boolean' },
  ...inputShapeOption,
  json: { type: 'boolean' },
} as const;

function oneOf<T extends string>(text: string | undefined, known: readonly T[], option: string): T | undefined {
  if (text === undefined || known.includes(text as T)) return text as T | undefined;
  throw new UsageError(`--${option} ${text} is not ${known.join(', ')}`);
}

/** Says in a line of its own what begins, and now and then how far it is. */
function progressLines(output: Output): (progress: QuantizationProgress) => void {
  let stage = '';
  let last = 0;
  return (progress) => {
    const done = progress.stage === 'search' ? progress.layers : progress.frames;
    const isNew = progress.stage !== stage;
    // a line for every 50 frames or layers
    if (!isNew && done < last + 50) return;
    stage = progress.stage;
    last = done;
    const total = progress.stage === 'calibrate' ? '' : ` of ${progress.total}`;
    const what = { calibrate: 'calibrating: frame', measure: 'measuring: frame', search: 'searching: layer' }[stage];
    output.write(`${what} ${done}${total}\n`);
  };
}

/** `whylight quantize`, after its name. Progress goes to `stderr`. */
export async function quantizeCommand(
  args: readonly string[],
  stdout: Output,
  stderr: Output,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS);
  const [path, ...more] = positionals;
  const { out, calibrate } = values;
  if (path === undefined || more.length > 0) throw new UsageError('quantize takes one MODEL.onnx');
  if (out === undefined) throw new UsageError('quantize needs --out OUT.onnx');
  const scheme = oneOf(values.scheme, quantizationSchemes, 'scheme');
  const integers = oneOf(values.integers, integerChoices, 'integers');
  const method = oneOf(values.method, calibrationMethods, 'method');
  const rounding = oneOf(values.rounding, weightRoundings, 'rounding');
  const percentile = number(values.percentile, 'percentile');
  const maxFrames = number(values.frames, 'frames');
  const perSecond = perSecondOf(values);
  const bound = number(values.bound, 'bound');
  if (calibrate === undefined && (scheme ?? 'int8') === 'int8') {
    throw new UsageError('quantize needs --calibrate FOLDER|FILE');
  }
  const inputShapes = inputShapesOf(values);
  const bytes = await fileBytes(path);
  const weights = await externalData(bytes, path);
  const { inputs } = decodeModel(bytes, { externalData: weights }).graph;
  const calibration: Pick<Calibration, 'inputShapes'> & { frames: Calibration['frames'] | [] } =
    calibrate === undefined
      ? { frames: [], inputShapes }
      : await openCalibration(
          { path: calibrate, perSecond, limit: maxFrames ?? 512 },
          { inputs, inputShapes, metadata: await metadataBeside(path) },
        );
  const { model, report } = await quantize(bytes, calibration.frames, {
    open: wasmRuntime(),
    externalData: weights,
    inputShapes: calibration.inputShapes,
    exclude: values.exclude ?? [],
    equalize: values['no-equalize'] !== true,
    correctBias: values['no-bias-correction'] !== true,
    onProgress: progressLines(stderr),
    ...(scheme === undefined ? {} : { scheme }),
    ...(integers === undefined ? {} : { integers }),
    ...(method === undefined ? {} : { method }),
    ...(rounding === undefined ? {} : { rounding }),
    ...(percentile === undefined ? {} : { percentile }),
    ...(maxFrames === undefined ? {} : { maxFrames }),
    ...(bound === undefined ? {} : { bound }),
    ...(signal === undefined ? {} : { signal }),
  });
  await writeFile(out, model).catch((cause: unknown) => {
    throw new WhylightError('OPTION_INVALID', `File "${out}" cannot be written.`, { details: { file: out }, cause });
  });
  await copyMetadata(path, out);
  stdout.write(values.json === true ? json(report) : quantizationTable(report));
}

/** Pictures become the quantized model's input as they became the original's. */
async function copyMetadata(model: string, quantized: string): Promise<void> {
  const [from, to] = [model, quantized].map((file) => file.replace(/\.onnx$/i, '.json')) as [string, string];
  if (from === model || to === quantized) return;
  // a file that is there stays, and a model without metadata has none to copy
  await copyFile(from, to, 1).catch(() => undefined);
}
