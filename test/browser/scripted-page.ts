import { build } from 'esbuild';
import type { TestBrowser, TestPage } from './chromium.js';

/**
 * An empty page in which scripts of test/browser have run: for what a function that runs in the page would have to import. Each puts
 * what it offers on `window`; names are those of its file, without `.ts`.
 */
export async function openScripted(browser: TestBrowser, ...scripts: readonly string[]): Promise<TestPage> {
  await build({
    entryPoints: scripts.map((script) => `test/browser/${script}.ts`),
    outdir: 'dist/test',
    bundle: true,
    format: 'esm',
    conditions: ['onnxruntime-web-use-extern-wasm'],
  });
  const opened = await browser.open();
  // resolves when the module has run
  for (const script of scripts) await opened.page.addScriptTag({ url: `/dist/test/${script}.js`, type: 'module' });
  return opened;
}
