// npm run bench [-- --network vgg11,resnet18,mobilenetv2] [--composite epsilon-plus-flat,…] [--where node-1,wasm-1,wasm-2,webgpu,int8,live]
//               [--runs N]
// npm run bench -- stream [--seconds N]: the fake camera and the clip end to end, and under load with a plot
// npm run soak [-- --minutes N]: a stream of ten minutes with a plot of what it holds
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
const program = ['stream', 'soak'].includes(process.argv[2]) ? process.argv.splice(2, 1)[0] : 'main';
const outfile = `.cache/bench/${program}.mjs`;
await build({ ...common, entryPoints: [`test/bench/${program}.ts`], outfile, platform: 'node', packages: 'external' });
await import(join(root, outfile));
