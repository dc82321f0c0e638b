import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WhylightError } from '../errors.js';
import { externalLocations } from '../graph/external.js';
import type { Composite } from '../lrp/composite.js';
import { type ModelMetadata, validateMetadata } from '../runtime/metadata.js';

/** Throws WhylightError MODEL_FETCH. */
export async function fileBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new WhylightError('MODEL_FETCH', `File "${path}" cannot be read.`, { details: { file: path }, cause });
  }
}

/** A composite by its name or, where it ends in .json, out of a file. Throws WhylightError COMPOSITE_INVALID. */
export async function compositeOf(text: string | undefined): Promise<Composite | undefined> {
  if (text === undefined || !text.endsWith('.json')) return text;
  const content = new TextDecoder().decode(await fileBytes(text));
  try {
    return JSON.parse(content) as Composite;
  } catch (cause) {
    throw new WhylightError('COMPOSITE_INVALID', `File "${text}" is not JSON.`, { details: { file: text }, cause });
  }
}

/** Files with external data that a model names, read from beside it. */
export async function externalData(model: Uint8Array, path: string): Promise<Record<string, Uint8Array>> {
  const files = externalLocations(model).map(
    async (location) => [location, await fileBytes(join(dirname(path), location))] as const,
  );
  return Object.fromEntries(await Promise.all(files));
}

/** As a file is written: indented, with a line's end; `replacer` as JSON.stringify has it. */
export const json = (value: unknown, replacer?: (key: string, value: unknown) => unknown): string =>
  `${JSON.stringify(value, replacer, 2)}\n`;

/**
 * What a model expects and means, from the .json beside it; defaults where there is none.
 *
 * Throws WhylightError METADATA_INVALID, naming the file.
 */
export async function metadataBeside(model: string): Promise<ModelMetadata> {
  const file = model.replace(/\.onnx$/i, '.json');
  const content = file === model ? undefined : await readFile(file, 'utf8').catch(() => undefined);
  if (content === undefined) return {};
  try {
    return validateMetadata(JSON.parse(content), `File "${file}"`);
  } catch (cause) {
    if (cause instanceof WhylightError) throw cause;
    throw new WhylightError('METADATA_INVALID', `File "${file}" is not JSON.`, { details: { file }, cause });
  }
}
