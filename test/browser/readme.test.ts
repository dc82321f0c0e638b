import { readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const [, example = ''] = /<!-- example: run by [^>]*-->\n```ts\n([\s\S]*?)```/.exec(readme) ?? [];
const [, drawing = ''] = /<!-- drawing: run by [^>]*-->\n```js\n([\s\S]*?)```/.exec(readme) ?? [];
const [, another = ''] = /<!-- another model: run by [^>]*-->\n```js\n([\s\S]*?)```/.exec(readme) ?? [];

let browser: TestBrowser;
beforeAll(async () => {
  // without WebGPU: a software GPU would take most of a minute for the same picture
  browser = await openChromium({ webgpu: false });
});
afterAll(() => browser.close());

/** A page of somebody's own, with the library's one-file build in place of a bundler. */
async function openOwn(script: string): Promise<TestPage> {
  const { code } = await transform(script, { loader: 'ts', target: 'es2022' });
  const opened = await browser.open();
  await opened.page.route('**/own/**', (route) => {
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
  await opened.page.goto(`${browser.origin}/own/index.html`);
  return opened;
}

/** How many values the canvas' pixels have: one where nothing was drawn. */
const valuesShown = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const canvas = document.querySelector('canvas')!;
    const context = new OffscreenCanvas(480, 480).getContext('2d')!;
    context.drawImage(canvas, 0, 0);
    return new Set(context.getImageData(0, 0, 480, 480).data).size;
  });

test("the README's example runs as it stands there", async () => {
  const { page, complaints, close } = await openOwn(example);
  await page.waitForFunction(() => document.title.endsWith(', because of this'), undefined, { timeout: 90_000 });
  expect(await valuesShown(page)).toBeGreaterThan(50);
  expect(complaints()).toEqual([]);
  await close();
});

test('drawings come to a canvas as the README says', async () => {
  const [setup = ''] = example.split('const normalize');
  const { page, complaints, close } = await openOwn(setup + drawing);
  await expect.poll(() => valuesShown(page), { timeout: 90_000 }).toBeGreaterThan(50);
  expect(complaints()).toEqual([]);
  await close();
});

test('another model takes over as the README says, and the former one holds nothing', async () => {
  const [setup = ''] = example.split('const normalize');
  const held = 'Object.assign(window, { held: () => [explainer.open, running.explainer.open] });';
  const { page, complaints, close } = await openOwn(setup + another + held);
  await page.waitForFunction(() => 'held' in window && document.title !== '', undefined, { timeout: 90_000 });
  const [former, now] = await page.evaluate(() => (window as unknown as { held(): object[] }).held());
  expect(former).toEqual({ frames: 0, tensors: 0, sessions: 0 });
  expect(now).toMatchObject({ sessions: 1 });
  // what is shown is the next one's
  await page.evaluate(() => {
    document.title = '';
  });
  await expect.poll(() => page.title(), { timeout: 20_000 }).not.toBe('');
  expect(complaints()).toEqual([]);
  await close();
});
