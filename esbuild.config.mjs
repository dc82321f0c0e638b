// Builds everything under dist/:
//   index.js, compiler.js, quantize.js, cli.js   the library; packages stay imports
//   whylight.js                     the library and what it needs in one file, for pages without a bundler
//   workers/                        self-contained workers with ONNX Runtime's WebAssembly beside them
//   live/                           the demo page, complete: it can be served by any static server
// Entries that do not exist yet are left out. Nothing is deleted that is still used, so that a page or a test that is
// running from dist/ survives a build.
import { constants, existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
process.chdir(root);

/** @type {import('esbuild').BuildOptions} */
const common = {
  bundle: true,
  format: 'esm',
  target: 'es2022',
  sourcemap: true,
  metafile: true,
  legalComments: 'linked',
  logLevel: 'warning',
  // ONNX Runtime then loads its loader script and binary as files from beside the worker, instead of carrying the script
  // inside: threads need the script at an address of its own.
  conditions: ['onnxruntime-web-use-extern-wasm'],
};

const existing = (paths) => paths.filter((path) => existsSync(path));

async function library() {
  const entryPoints = existing(['sdk/index.ts', 'sdk/compiler.ts', 'sdk/quantize.ts']);
  if (entryPoints.length === 0) return;
  const { metafile } = await build({
    ...common,
    entryPoints,
    outdir: 'dist',
    packages: 'external',
    // Shared code is one module for both entries: a class such as WhylightError must exist once. Chunks lie in dist/
    // itself because `new URL('./workers/explainer.js', import.meta.url)` may end up in one.
    splitting: true,
    chunkNames: 'chunk-[hash]',
  });
  await dropStaleChunks('dist', metafile);
}

async function commandLine() {
  if (!existsSync('sdk/cli/main.ts')) return;
  await build({
    ...common,
    entryPoints: { cli: 'sdk/cli/main.ts' },
    outdir: 'dist',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    banner: { js: '#!/usr/bin/env node' },
  });
}

async function standalone() {
  if (!existsSync('sdk/index.ts')) return;
  await build({
    ...common,
    entryPoints: { whylight: 'sdk/index.ts' },
    outdir: 'dist',
    platform: 'browser',
  });
}

async function workers() {
  if (!existsSync('workers')) return;
  const entryPoints = (await readdir('workers'))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => join('workers', name));
  if (entryPoints.length > 0) {
    const { metafile } = await build({
      ...common,
      entryPoints,
      outdir: 'dist/workers',
      platform: 'browser',
      minify: true,
      // ONNX Runtime's two builds stay apart: a worker loads the one for its device
      splitting: true,
      chunkNames: 'chunk-[hash]',
    });
    await dropStaleChunks('dist/workers', metafile);
    if (existsSync('dist/live/workers')) await dropStaleChunks('dist/live/workers', metafile);
  }
  // asyncify is the build that has WebGPU; the plain one is half its size and enough for WASM alone
  for (const stem of ['ort-wasm-simd-threaded.asyncify', 'ort-wasm-simd-threaded']) {
    for (const suffix of ['mjs', 'wasm']) {
      await copyChanged(`node_modules/onnxruntime-web/dist/${stem}.${suffix}`, `dist/workers/${stem}.${suffix}`);
    }
  }
}

async function livePage() {
  if (!existsSync('samples/live/main.ts')) return;
  const { metafile } = await build({
    ...common,
    entryPoints: { main: 'samples/live/main.ts', style: 'samples/live/style.css' },
    outdir: 'dist/live',
    platform: 'browser',
    minify: true,
    loader: { '.svg': 'dataurl' },
    // the worker decodes: what the page would need for it is not loaded before it is needed
    splitting: true,
    chunkNames: 'chunk-[hash]',
  });
  await dropStaleChunks('dist/live', metafile);
  for (const name of existing([
    'samples/live/index.html',
    'samples/live/icon.svg',
    'samples/live/manifest.webmanifest',
  ])) {
    await copyChanged(name, join('dist/live', basename(name)));
  }
  await copyFolder('dist/workers', 'dist/live/workers');
  await copyFolder('samples/models/glyphs', 'dist/live/models', /\.(onnx|json)$/);
  await copyFolder('samples/media', 'dist/live/media', /\.(mp4|webm|json)$/);
  // GPL, so it is never part of the library; the page loads it only for a file that the browser cannot decode itself
  await copyFolder('node_modules/@ffmpeg/core/dist/esm', 'dist/live/ffmpeg', /\.(js|wasm)$/);
  await build({
    ...common,
    entryPoints: { worker: 'node_modules/@ffmpeg/ffmpeg/dist/esm/worker.js' },
    outdir: 'dist/live/ffmpeg',
    platform: 'browser',
    minify: true,
  });
}

async function dropStaleChunks(folder, metafile) {
  const current = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
  for (const name of await readdir(folder)) {
    if (/^chunk-.*\.js(\.map)?$/.test(name) && !current.has(name)) await rm(join(folder, name), { force: true });
  }
}

async function copyFolder(from, to, pattern = /./) {
  if (!existsSync(from)) return;
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.isFile() && pattern.test(entry.name)) await copyChanged(join(from, entry.name), join(to, entry.name));
  }
}

/** Copies unless the copy is already there: ONNX Runtime's binaries are 40 MB. */
async function copyChanged(from, to) {
  const source = await stat(from);
  const copy = await stat(to).catch(() => undefined);
  if (copy !== undefined && copy.size === source.size && copy.mtimeMs >= source.mtimeMs) return;
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to, constants.COPYFILE_FICLONE);
}

try {
  await Promise.all([library(), commandLine(), standalone(), workers().then(livePage)]);
} catch (error) {
  // esbuild has already printed what is wrong with which file
  if (error.errors === undefined) console.error(error);
  process.exitCode = 1;
}
