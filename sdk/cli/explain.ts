import { writeFile } from 'node:fs/promises';
import type { CompileOptions } from '../lrp/report.js';
import { explanationPicture } from '../render/explanation-picture.js';
import { formatRelevance } from '../render/legend.js';
import { sumChannels } from '../render/normalize.js';
import { type GraphExplanation, openGraph } from '../runtime/graph-explainer.js';
import { pictureInput } from '../runtime/metadata.js';
import { createPixelPicture } from '../runtime/pixel-picture.js';
import { wasmRuntime } from '../runtime/wasm-runtime.js';
import { inputShapeOption, inputShapesOf, parse, UsageError } from './arguments.js';
import { compositeOf } from './files.js';
import type { Output } from './output.js';
import { compiledOf, lightnessOf, readModel, targetOf } from './picture-model.js';
import { pictureAt, writePng } from './pictures.js';

/** The command's lines in the usage. */
export const explainUsage = `explain only: which pixels of a picture speak for what the model says, and which against it?
  --image PICTURE              what is explained, PNG or JPEG; MODEL.json says how it becomes the model's input
  --out HEAT.png               what the model saw, and the relevance over it
  --class LABEL|INDEX          as for drift
  --strongest-of '*,1'         the strongest output at such a position, one number or * for each of its last axes: of a
                               detector [1, boxes, classes] the best box of class 1
  --composite, --input-shape and --output are as above
`;

const OPTIONS = {
  image: { type: 'string' },
  out: { type: 'string' },
  class: { type: 'string', multiple: true },
  'strongest-of': { type: 'string' },
  composite: { type: 'string' },
  ...inputShapeOption,
  output: { type: 'string' },
} as const;

/** What is explained, how much of it has arrived at the pixels, and what else the model thought of. */
function textOf({ topK, target, logit }: GraphExplanation, arrived: number): readonly string[] {
  const list = (names: readonly string[]): string => names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '');
  return [
    list(target.labels),
    `logit ${formatRelevance(logit)}, at pixels ${formatRelevance(arrived)}`,
    `strongest: ${list(topK.map(({ index, label }) => label || String(index)))}`,
  ];
}

/** Where the largest value is whose position in a tensor of this shape fits a pattern such as `*,1`; throws UsageError where none can. */
export function strongestOf(pattern: string, values: Float32Array, shape: readonly number[]): number {
  const wanted = pattern.split(',').map((part) => (part.trim() === '*' ? undefined : Number(part)));
  const last = shape.slice(-wanted.length);
  const fits = (at: number): boolean => {
    let rest = at;
    return wanted.toReversed().every((place, k) => {
      const length = last[last.length - 1 - k]!;
      const index = rest % length;
      rest = Math.floor(rest / length);
      return place === undefined || place === index;
    });
  };
  let best = -1;
  if (wanted.length <= shape.length) {
    for (const [at, value] of values.entries()) if (fits(at) && !(value <= values[best]!)) best = at;
  }
  if (best < 0)
    throw new UsageError(`--strongest-of ${pattern} is nowhere in an output of shape [${shape.join(', ')}]`);
  return best;
}

/** `whylight explain`, after its name. */
export async function explain(args: readonly string[], stdout: Output): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS);
  const [path, ...more] = positionals;
  const { image, out } = values;
  if (path === undefined || more.length > 0) throw new UsageError('explain takes one MODEL.onnx');
  if (image === undefined) throw new UsageError('explain needs --image PICTURE');
  if (out === undefined) throw new UsageError('explain needs --out HEAT.png');
  if (values.class !== undefined && values['strongest-of'] !== undefined) {
    throw new UsageError('--class and --strongest-of both say what is explained');
  }
  const composite = await compositeOf(values.composite);
  const options: CompileOptions = {
    ...(composite === undefined ? {} : { composite }),
    ...(values.output === undefined ? {} : { output: values.output }),
  };
  const model = await readModel(path, inputShapesOf(values));
  const { metadata } = model;
  const input = pictureInput(metadata);
  const { name, shape: dims, layout } = input;
  const { image: data } = createPixelPicture(input)(await pictureAt(image));
  const graph = await openGraph(compiledOf(model, metadata, options), wasmRuntime(), metadata);
  try {
    const feeds = { timestamp: 0, inputs: { [name]: { dims, data } } };
    const { explained } = graph.report;
    const pattern = values['strongest-of'];
    const target =
      pattern === undefined
        ? targetOf(values.class, metadata.labels)
        : strongestOf(pattern, (await graph.explainFrame(feeds)).outputs[explained.output]!.data, explained.shape);
    const explanation = await graph.explainFrame(feeds, { target });
    const relevance = sumChannels(explanation.relevance[name]!.data, dims, layout);
    const arrived = relevance.data.reduce((sum, value) => sum + value, 0);
    const text = textOf(explanation, arrived);
    await writeFile(out, writePng(explanationPicture({ picture: lightnessOf(data, input), relevance, text })));
    stdout.write(`${[...text, out].join('\n')}\n`);
  } finally {
    await graph.close();
  }
}
