import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CompositeMethod, CompositeRules } from '../../../sdk/lrp/composite.js';

/** Reference material beside the project: relevance that other implementations have calculated. */
export const referenceFolder = fileURLToPath(new URL('../../../../shared/reference', import.meta.url));

/** One composite or method on one reference network. */
export interface ReferenceCase {
  readonly network: string;
  readonly name: string;
  readonly folder: string;
  readonly composite: CompositeRules | CompositeMethod;
  readonly tolerance: { readonly value: number; readonly pearson_min: number };
  readonly files: Readonly<Record<string, string>>;
  readonly layers?: {
    readonly file: string;
    readonly input_index: number;
    readonly target_index: number;
    readonly tensors: readonly {
      readonly tensor: string;
      readonly shape: readonly number[];
      readonly offset: number;
    }[];
  };
}

interface CaseFile extends Pick<ReferenceCase, 'tolerance' | 'files' | 'layers'> {
  readonly composite: { readonly maxpool?: string | { readonly ties: string } };
}

export function readCase(network: string, name: string): ReferenceCase {
  const folder = `${referenceFolder}/${network}/${name}`;
  const file = JSON.parse(readFileSync(`${folder}/case.json`, 'utf8')) as CaseFile;
  const written = JSON.parse(readFileSync(`${folder}/composite.json`, 'utf8')) as CompositeRules | CompositeMethod;
  const { tolerance, files, layers } = file;
  const composite = { ...written, ties: tiesOf(file) };
  // the folders of the tie convention carry its name in the method's: case.json says what was calculated
  if ('method' in composite) composite.method = composite.method.replace('__ties_split', '');
  return { network, name, folder, composite, tolerance, files, ...(layers ? { layers } : {}) };
}

function tiesOf({ composite: { maxpool } }: CaseFile): 'split' | 'first' {
  const words = typeof maxpool === 'string' ? maxpool : (maxpool?.ties ?? 'first');
  return words.includes('EQUAL SHARES') ? 'split' : 'first';
}

/** All cases, in the order of their names; none where the material is absent. */
export function referenceCases(): ReferenceCase[] {
  if (!existsSync(referenceFolder)) return [];
  const folders = (path: string): string[] =>
    readdirSync(path).filter((name) => statSync(`${path}/${name}`).isDirectory());
  return folders(referenceFolder).flatMap((network) =>
    folders(`${referenceFolder}/${network}`).map((name) => readCase(network, name)),
  );
}
