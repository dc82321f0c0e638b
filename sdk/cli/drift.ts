import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FrameDrift } from '../evaluation/drift.js';
import type { DriftSummary } from '../evaluation/drift-summary.js';
import { type ModelMatch, matchModels } from '../evaluation/model-match.js';
import { decodeModel } from '../graph/decode.js';
import { compileExplanation } from '../lrp/compile.js';
import type { CompiledExplanation, CompileOptions } from '../lrp/report.js';
import { type DriftRow, driftPicture } from '../render/drift-picture.js';
import { type RelevanceMap, sumChannels } from '../render/normalize.js';
import { type GraphExplainer, type GraphExplanation, type GraphFeeds, openGraph } from '../runtime/graph-explainer.js';
import { channelRanges, type ResolvedMetadata, resolveMetadata } from '../runtime/metadata.js';
import { createPixelPicture } from '../runtime/pixel-picture.js';
import type { Target } from '../runtime/target.js';
import { wasmRuntime } from '../runtime/wasm-runtime.js';
import type { Comparison } from '../stream/explainer-pair.js';
import { explanationDrift } from '../stream/explanation-drift.js';
import { named, parse, shape, UsageError } from './arguments.js';
import { driftTable } from './drift-table.js';
import { compositeOf, externalData, fileBytes, json, metadataBeside } from './files.js';
import type { Output } from './output.js';
import { picturesIn, writePng } from './pictures.js';

/** The command's lines in the usage. */
export const driftUsage = `drift only: does COMPARED, such as a quantized model, decide for the same reasons as REFERENCE?
  --frames FOLDER              PNG files that both models explain; REFERENCE.json says how they become its input
  --class LABEL|INDEX          what is explained (repeatable: a group); default REFERENCE's strongest output of every picture
  --composite, --input-shape and --output are as above
  --no-layers                  compares the pictures' relevance alone
  --json                       all figures as JSON instead of a table
  --out DRIFT.png              the worst picture, a middling and the best: both overlays and their difference
`;

const OPTIONS = {
  frames: { type: 'string' },
  class: { type: 'string', multiple: true },
  composite: { type: 'string' },
  'input-shape': { type: 'string', multiple: true },
  output: { type: 'string' },
  'no-layers': { type: 'boolean' },
  json: { type: 'boolean' },
  out: { type: 'string' },
} as const;

/** Everything that was compared. */
export interface DriftReport {
  /** file of the model that is the standard */
  readonly reference: string;
  /** file of the model that was compared with it */
  readonly compared: string;
  readonly match: ModelMatch;
  readonly summary: DriftSummary;
  readonly frames: readonly (FrameDrift & { readonly file: string })[];
}

type Compared = Comparison<GraphExplanation>;

/** One of the two models, read. */
interface ReadModel {
  readonly bytes: Uint8Array;
  readonly externalData: Readonly<Record<string, Uint8Array>>;
  readonly metadata: ResolvedMetadata;
}

async function readModel(path: string, shapes: Readonly<Record<string, readonly number[]>>): Promise<ReadModel> {
  const bytes = await fileBytes(path);
  const given = await metadataBeside(path);
  const { inputs } = decodeModel(bytes).graph;
  const name = given.input?.name ?? inputs[0]?.name ?? '';
  const shape = shapes[name];
  const metadata = shape === undefined ? given : { ...given, input: { ...given.input, shape } };
  return { bytes, externalData: await externalData(bytes, path), metadata: resolveMetadata(metadata, inputs) };
}

/** Both models see what the first one's metadata say: pictures are made for it. */
function compiledOf(
  { bytes, externalData, metadata }: ReadModel,
  { input }: ResolvedMetadata,
  options: CompileOptions,
): CompiledExplanation {
  const { name } = metadata.input;
  const output = options.output ?? metadata.output;
  return compileExplanation(bytes, {
    ...options,
    externalData,
    inputShapes: { [name]: metadata.input.shape },
    inputRanges: { [name]: channelRanges(input) },
    target: 'wasm',
    ...(output === undefined ? {} : { output }),
  });
}

/** Outputs by their number or label. */
function targetOf(classes: readonly string[] | undefined, labels: readonly string[]): Target {
  if (classes === undefined) return 'strongest';
  return classes.map((name) => (labels.includes(name) || !/^\d+$/.test(name) ? name : Number(name)));
}

/** The worst frame, a middling one and the best, as far as there are that many. */
function telling(frames: readonly FrameDrift[]): ReadonlySet<number> {
  const order = frames
    .map(({ map }, index) => ({ cosine: map.cosine, index }))
    .filter(({ cosine }) => !Number.isNaN(cosine))
    .sort((a, b) => a.cosine - b.cosine);
  return new Set([order.at(0), order.at(order.length >> 1), order.at(-1)].flatMap((entry) => entry?.index ?? []));
}

/** The input as lightness 0…1. */
function lightnessOf(tensor: Float32Array, { input }: ResolvedMetadata): RelevanceMap {
  const sum = sumChannels(tensor, input.shape, input.layout);
  const [low, high] = channelRanges(input).map((ends) => ends.reduce((total, end) => total + end, 0)) as [
    number,
    number,
  ];
  return { ...sum, data: sum.data.map((value) => (value - low) / (high - low)) };
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

/** The report without what JSON cannot hold, and with files for timestamps. */
function reportText(report: DriftReport): string {
  const fileAt = (timestamp: number) => report.frames.find((frame) => frame.timestamp === timestamp)?.file;
  return json(report, (key, value) => {
    if (key === 'weights' || key === 'timestamp') return undefined;
    if (key !== 'worst' || value === undefined) return value;
    const worst = value as { readonly value: number; readonly timestamp: number };
    return { value: worst.value, file: fileAt(worst.timestamp) };
  });
}

/** `whylight drift`, after its name. */
export async function drift(args: readonly string[], stdout: Output): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS);
  const [reference, compared, ...more] = positionals;
  if (reference === undefined || compared === undefined || more.length > 0) {
    throw new UsageError('drift takes REFERENCE.onnx and COMPARED.onnx');
  }
  const { frames: folder, out } = values;
  if (folder === undefined) throw new UsageError('drift needs --frames FOLDER');
  const shapes = named(values['input-shape'], 'input-shape', shape);
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
      graphs.push(await openGraph(graph, wasmRuntime(), { labels, layout: metadata.input.layout }));
    }
    const pictures = picturesFor(folder, models, metadata);
    const target = targetOf(values.class, metadata.labels);
    const compare = (only?: ReadonlySet<number>) =>
      explanationDrift(graphs[0]!, graphs[1]!, pictures.feeds(only), { target });
    const frames: DriftReport['frames'][number][] = [];
    const run = compare();
    for await (const { drift } of run) frames.push({ file: pictures.file(drift.timestamp), ...drift });
    const report: DriftReport = { reference, compared, match, summary: await run.summary(), frames };
    if (out !== undefined) {
      const rows: DriftRow[] = [];
      for await (const comparison of compare(telling(frames))) rows.push(pictures.row(comparison));
      const names = [basename(reference), basename(compared)] as const;
      await writeFile(out, writePng(driftPicture(rows, { names })));
    }
    stdout.write(values.json === true ? reportText(report) : driftTable(report));
  } finally {
    for (const graph of graphs) await graph.close();
  }
}

/** The pictures of a folder as what both models are fed, numbered from 0 in place of timestamps. */
function picturesFor(folder: string, models: readonly ReadModel[], metadata: ResolvedMetadata) {
  const files: string[] = [];
  const toInput = createPixelPicture(metadata.input);
  /** the picture that was given last */
  let lightness: RelevanceMap | undefined;
  const file = (index: number): string => files[index] ?? String(index);
  return {
    file,
    async *feeds(only?: ReadonlySet<number>): AsyncGenerator<GraphFeeds, void> {
      let index = -1;
      for await (const { name, picture } of picturesIn(folder)) {
        files[++index] = name;
        if (only?.has(index) === false) continue;
        const { image } = toInput(picture);
        lightness = lightnessOf(image, metadata);
        const tensor = { dims: metadata.input.shape, data: image };
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
