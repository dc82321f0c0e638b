import { stat, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FrameDrift } from '../evaluation/drift.js';
import { matchModels } from '../evaluation/model-match.js';
import type { CompileOptions } from '../lrp/report.js';
import { type DriftRow, driftPicture } from '../render/drift-picture.js';
import type { RelevanceMap } from '../render/normalize.js';
import { type GraphExplainer, type GraphExplanation, type GraphFeeds, openGraph } from '../runtime/graph-explainer.js';
import { pictureInput, type ResolvedMetadata } from '../runtime/metadata.js';
import { createPixelPicture } from '../runtime/pixel-picture.js';
import { wasmRuntime } from '../runtime/wasm-runtime.js';
import type { Comparison } from '../stream/explainer-pair.js';
import { explanationDrift } from '../stream/explanation-drift.js';
import { inputShapeOption, inputShapesOf, parse, perSecondOf, perSecondOption, UsageError } from './arguments.js';
import { picturesOfClip } from './clip.js';
import { type DriftReport, driftJson, driftTable } from './drift-report.js';
import { compositeOf } from './files.js';
import type { Output } from './output.js';
import { compiledOf, lightnessOf, type ReadModel, readModel, targetOf } from './picture-model.js';
import { type PictureFile, picturesIn, writePng } from './pictures.js';

/** The command's lines in the usage. */
export const driftUsage = `drift only: does COMPARED, such as a quantized model, decide for the same reasons as REFERENCE?
  --frames FOLDER|CLIP         PNG and JPEG files that both explain, or a clip (by the program ffmpeg); REFERENCE.json says how
                               pictures become its input
  --fps N                      pictures of a clip per second; default 5
  --class LABEL|INDEX          what is explained (repeatable: a group); default REFERENCE's strongest output of every picture
  --composite, --input-shape and --output are as above
  --no-layers                  compares the pictures' relevance alone
  --json                       all figures as JSON instead of a table
  --out DRIFT.png              the worst picture, a middling and the best: both overlays and their difference
`;

const OPTIONS = {
  frames: { type: 'string' },
  ...perSecondOption,
  class: { type: 'string', multiple: true },
  composite: { type: 'string' },
  ...inputShapeOption,
  output: { type: 'string' },
  'no-layers': { type: 'boolean' },
  json: { type: 'boolean' },
  out: { type: 'string' },
} as const;

type Compared = Comparison<GraphExplanation>;

/** The worst frame, a middling one and the best, as far as there are that many. */
function telling(frames: readonly FrameDrift[]): ReadonlySet<number> {
  const order = frames
    .map(({ map }, index) => ({ cosine: map.cosine, index }))
    .filter(({ cosine }) => !Number.isNaN(cosine))
    .sort((a, b) => a.cosine - b.cosine);
  return new Set([order.at(0), order.at(order.length >> 1), order.at(-1)].flatMap((entry) => entry?.index ?? []));
}

function textOf(file: string, { drift: { map, logit, decision } }: Compared): readonly string[] {
  const percent = (share: number) => (Number.isNaN(share) ? '–' : `${(100 * share).toFixed(0)} %`);
  const [before, after] = [decision.reference?.label, decision.compared?.label];
  return [
    `${file}: ${before}${decision.changed ? ` → ${after}` : ''}`,
    `cosine ${map.cosine.toFixed(4)}, Spearman ${map.spearman.toFixed(4)}`,
    `top 1 % ${percent(map.top1)}, top 10 % ${percent(map.top10)}`,
    `logit ${logit.reference.toFixed(2)} → ${logit.compared.toFixed(2)}`,
  ];
}

/** A folder's pictures, or a clip's with their place in it for a name. */
async function* picturesFrom(path: string, perSecond: number): AsyncGenerator<PictureFile, void> {
  const info = await stat(path).catch(() => undefined);
  // a path that is not there is a folder that is not there
  if (info === undefined || info.isDirectory()) return yield* picturesIn(path);
  let index = 0;
  for await (const picture of picturesOfClip(path, perSecond)) {
    yield { name: `${basename(path)} at ${(index++ / perSecond).toFixed(2)} s`, picture };
  }
}

/**
 * `whylight drift`, after its name. Progress goes to `stderr`. What was compared before an error, or before `signal` fired, is written
 * all the same.
 */
export async function drift(
  args: readonly string[],
  stdout: Output,
  stderr: Output,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS);
  const [reference, compared, ...more] = positionals;
  if (reference === undefined || compared === undefined || more.length > 0) {
    throw new UsageError('drift takes REFERENCE.onnx and COMPARED.onnx');
  }
  const { frames: folder, out } = values;
  if (folder === undefined) throw new UsageError('drift needs --frames FOLDER|CLIP');
  const perSecond = perSecondOf(values);
  const shapes = inputShapesOf(values);
  const composite = await compositeOf(values.composite);
  const options: CompileOptions = {
    ...(composite === undefined ? {} : { composite }),
    ...(values.output === undefined ? {} : { output: values.output }),
  };
  const models = [await readModel(reference, shapes), await readModel(compared, shapes)] as const;
  const { metadata } = models[0];
  const compiled = models.map((model) => compiledOf(model, metadata, options));
  const match = matchModels(compiled[0]!.report, compiled[1]!.report);
  const layers = values['no-layers'] === true ? [] : match.layers;
  const graphs: GraphExplainer[] = [];
  try {
    for (const [index, side] of (['reference', 'compared'] as const).entries()) {
      const taps = layers.map((layer) => layer[side]);
      const graph = taps.length === 0 ? compiled[index]! : compiledOf(models[index]!, metadata, { ...options, taps });
      const { labels } = models[index]!.metadata;
      graphs.push(await openGraph(graph, wasmRuntime(), { labels, layout: pictureInput(metadata).layout }));
    }
    const pictures = inputsOf(() => picturesFrom(folder, perSecond), models, metadata);
    const target = targetOf(values.class, metadata.labels);
    const compare = (only?: ReadonlySet<number>) =>
      explanationDrift(graphs[0]!, graphs[1]!, pictures.feeds(only), { target, ...(signal && { signal }) });
    const frames: DriftReport['frames'][number][] = [];
    const run = compare();
    const write = () => {
      const report: DriftReport = { reference, compared, match, summary: run.soFar(), frames };
      stdout.write(values.json === true ? driftJson(report) : driftTable(report));
    };
    try {
      for await (const { drift } of run) {
        frames.push({ file: pictures.file(drift.timestamp), ...drift });
        if (frames.length % 50 === 0) stderr.write(`comparing: picture ${frames.length}\n`);
      }
    } catch (error) {
      if (frames.length > 0) write();
      throw error;
    }
    if (out !== undefined) {
      const rows: DriftRow[] = [];
      for await (const comparison of compare(telling(frames))) rows.push(pictures.row(comparison));
      const names = [basename(reference), basename(compared)] as const;
      await writeFile(out, writePng(driftPicture(rows, { names })));
    }
    write();
  } finally {
    for (const graph of graphs) await graph.close();
  }
}

/** Pictures as what both models are fed, numbered from 0 in place of timestamps; every call goes through them anew. */
function inputsOf(open: () => AsyncIterable<PictureFile>, models: readonly ReadModel[], metadata: ResolvedMetadata) {
  const files: string[] = [];
  const input = pictureInput(metadata);
  const toInput = createPixelPicture(input);
  /** the picture that was given last */
  let lightness: RelevanceMap | undefined;
  const file = (index: number): string => files[index] ?? String(index);
  return {
    file,
    async *feeds(only?: ReadonlySet<number>): AsyncGenerator<GraphFeeds, void> {
      let index = -1;
      for await (const { name, picture } of open()) {
        files[++index] = name;
        if (only?.has(index) === false) continue;
        const { image } = toInput(picture);
        lightness = lightnessOf(image, input);
        const tensor = { dims: input.shape, data: image };
        yield {
          timestamp: index,
          inputs: Object.fromEntries(models.map((model) => [model.metadata.input.name, tensor])),
        };
      }
    },
    row(comparison: Compared): DriftRow {
      const { a, b } = comparison.maps.map;
      const picture = lightness!;
      return {
        picture,
        reference: { ...picture, data: a },
        compared: { ...picture, data: b },
        text: textOf(file(comparison.drift.timestamp), comparison),
      };
    },
  };
}
