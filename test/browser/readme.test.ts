import { readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

let browser: TestBrowser;
beforeAll(async () => {
  // without WebGPU: a software GPU would take most of a minute for the same picture
  browser = await openChromium({ webgpu: false });
});
afterAll(() => browser.close());

test("the README's example runs as it stands there", async () => {
  const example = /<!-- example: run by [^>]*-->\n```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  const { code } = await transform(example!, { loader: 'ts', target: 'es2022' });
  const { page, complaints, close } = await browser.open();
  // a page of somebody's own, with the library's one-file build in place of a bundler
  await page.route('**/own/**', (route) => {
    const { pathname } = new URL(route.request().url());
    const served: Record<string, string> = {
      '/own/index.html':
        '<!doctype html><link rel="icon" href="data:,"><canvas width="480" height="480"></canvas><script type="module" src="page.js"></script>',
      '/own/page.js': code.replace(/from ["']whylight["']/, "from '/dist/whylight.js'"),
    };
    const body = served[pathname];
    if (body === undefined) {
      const file = pathname
        .replace('/own/models/', '/samples/models/glyphs/')
        .replace('/own/media/', '/samples/media/');
      return route.continue({ url: new URL(file, browser.origin).href });
    }
    return route.fulfill({ body, contentType: pathname.endsWith('.js') ? 'text/javascript' : 'text/html' });
  });
  await page.goto(`${browser.origin}/own/index.html`);
  await page.waitForFunction(() => document.title.endsWith(', because of this'), undefined, { timeout: 90_000 });
  const drawn = await page.evaluate(() => {
    const canvas = document.querySelector('canvas')!;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return new Set(data).size;
  });
  expect(drawn).toBeGreaterThan(50);
  expect(complaints()).toEqual([]);
  await close();
});
