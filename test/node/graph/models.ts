import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

/** Models that lie beside the project, not in it; tests that want them skip where the folder is absent. */
const folder = resolve(import.meta.dirname, '../../../../shared');

export const modelsAbsent = existsSync(folder) ? false : `no real models: ${folder} does not exist`;
if (modelsAbsent) console.log(`skipped: ${modelsAbsent}`);

/** A real model file by a short name, e.g. `mnist_cntk/mnist.onnx`. */
export interface ModelFile {
  readonly name: string;
  readonly path: string;
  readonly read: () => Uint8Array;
}

function filesIn(group: string): ModelFile[] {
  const root = join(folder, group);
  if (!existsSync(root)) return [];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => readdirSync(join(root, entry.name)).map((file) => join(root, entry.name, file)))
    .filter((path) => path.endsWith('.onnx'))
    .map((path) => ({
      name: `${basename(resolve(path, '..'))}/${basename(path)}`,
      path,
      read: () => readFileSync(path),
    }));
}

/** Every real and reference model there is. */
export const modelFiles: readonly ModelFile[] = [...filesIn('real'), ...filesIn('reference')];

/** The real model of that short name; throws where it is absent. */
export function modelFile(name: string): ModelFile {
  const file = modelFiles.find((candidate) => candidate.name === name);
  if (file === undefined) throw new Error(`no model ${name} in ${folder}`);
  return file;
}
