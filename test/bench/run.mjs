// npm run bench [-- --network vgg16,resnet50,…] [--composite epsilon-plus-flat,…] [--runs N]
//               [--where node-1,compile,gate,live,forms,int8,wasm-1,wasm-2,webgpu] [--integers where-faster,everywhere]
// npm run bench -- stream [--seconds N] [--no-composed] [--no-end-to-end] [--no-load]: the fake camera and the clip end to end, and under load with a plot
// npm run bench -- lost [--runs N]: how soon a stream goes on after the GPU's process has crashed
// npm run soak [-- --minutes N --device wasm|webgpu]: a stream of ten minutes with a plot of what it holds
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
const program = ['stream', 'lost', 'soak'].includes(process.argv[2]) ? process.argv.splice(2, 1)[0] : 'main';
await build({
  ...common,
  entryPoints: [program, 'peak', 'profiled'].map((name) => `test/bench/${name}.ts`),
  outdir: '.cache/bench',
  outExtension: { '.js': '.mjs' },
  platform: 'node',
  packages: 'external',
});
await import(join(root, `.cache/bench/${program}.mjs`));
