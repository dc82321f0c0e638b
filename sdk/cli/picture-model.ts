import { decodeModel } from '../graph/decode.js';
import { compileExplanation } from '../lrp/compile.js';
import type { CompiledExplanation, CompileOptions } from '../lrp/report.js';
import { type RelevanceMap, sumChannels } from '../render/normalize.js';
import { channelRanges, type PictureInput, type ResolvedMetadata, resolveMetadata } from '../runtime/metadata.js';
import type { Target } from '../runtime/target.js';
import { externalData, fileBytes, metadataBeside } from './files.js';

/** A model of pictures, read. */
export interface ReadModel {
  readonly bytes: Uint8Array;
  readonly externalData: Readonly<Record<string, Uint8Array>>;
  readonly metadata: ResolvedMetadata;
}

/** A model with what stands beside it: weights and metadata. Throws WhylightError MODEL_FETCH, METADATA_INVALID and as `decodeModel`. */
export async function readModel(path: string, shapes: Readonly<Record<string, readonly number[]>>): Promise<ReadModel> {
  const bytes = await fileBytes(path);
  const given = await metadataBeside(path);
  const { inputs } = decodeModel(bytes).graph;
  const name = given.input?.name ?? inputs[0]?.name ?? '';
  const shape = shapes[name];
  const metadata = shape === undefined ? given : { ...given, input: { ...given.input, shape } };
  return { bytes, externalData: await externalData(bytes, path), metadata: resolveMetadata(metadata, inputs) };
}

/** The explanation of a model for pictures that are made as the given metadata say, which need not be its own. */
export function compiledOf(
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
    inputValues: metadata.inputValues,
    target: 'wasm',
    types: 'float32',
    ...(output === undefined ? {} : { output }),
  });
}

/** Outputs by their number or label. */
export function targetOf(classes: readonly string[] | undefined, labels: readonly string[]): Target {
  if (classes === undefined) return 'strongest';
  return classes.map((name) => (labels.includes(name) || !/^\d+$/.test(name) ? name : Number(name)));
}

/** The input as lightness 0…1. */
export function lightnessOf(tensor: Float32Array, input: PictureInput): RelevanceMap {
  const sum = sumChannels(tensor, input.shape, input.layout);
  const [low, high] = channelRanges(input).map((ends) => ends.reduce((total, end) => total + end, 0)) as [
    number,
    number,
  ];
  return { ...sum, data: sum.data.map((value) => (value - low) / (high - low)) };
}
