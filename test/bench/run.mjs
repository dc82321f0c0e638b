// npm run bench [-- --network vgg11,resnet18,mobilenetv2] [--composite epsilon-plus-flat,…] [--where node-1,wasm-1,wasm-2,webgpu,int8,live]
//               [--runs N]
// Prints a JSON line per measurement and then a table. Every ratio is taken within one run of this command.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
process.chdir(root);
const common = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning' };
await import('../../esbuild.config.mjs');
await build({
  ...common,
  entryPoints: { page: 'test/bench/page.ts' },
  outdir: 'dist/bench',
  platform: 'browser',
  conditions: ['onnxruntime-web-use-extern-wasm'],
  splitting: true,
});
// as deep as test/browser/, whose modules find the repository from where they lie
const outfile = '.cache/bench/main.mjs';
await build({ ...common, entryPoints: ['test/bench/main.ts'], outfile, platform: 'node', packages: 'external' });
await import(join(root, outfile));
