// npm run accuracy [-- --write]
// What quantization costs the bundled models on held-out pictures, which `/usr/bin/python3 samples/models/glyphs/pictures.py` makes.
// With --write the figures go into the metadata of the int8 models.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
process.chdir(root);
const outfile = '.cache/bench/accuracy.mjs';
await build({
  ...{ bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' },
  ...{ entryPoints: ['test/bench/accuracy.ts'], outfile, platform: 'node', packages: 'external' },
});
await import(join(root, outfile));
