import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser } from './chromium.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

test('the built SDK runs in a page under the strict policy', async () => {
  const { page, complaints, close } = await browser.open();
  const error = await page.evaluate(() => {
    const thrown = new window.whylight.WhylightError('ABORTED', 'The run was cancelled.');
    return { name: thrown.name, code: thrown.code, isolated: globalThis.crossOriginIsolated };
  });
  expect(error).toEqual({ name: 'WhylightError', code: 'ABORTED', isolated: true });
  expect(complaints()).toEqual([]);
  await close();
});

test('there is a WebGPU device', async () => {
  const { page, close } = await browser.open();
  const device = await page.evaluate(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    return adapter === null ? 'none' : `${adapter.info.vendor} ${adapter.info.architecture}`;
  });
  expect(device).toMatch(/swiftshader/);
  await close();
});

test('an inline script is refused, and the harness reports it', async () => {
  const { page, complaints, close } = await browser.open({ isolated: false });
  const isolated = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.head.append(script);
    return globalThis.crossOriginIsolated;
  });
  expect(isolated).toBe(false);
  await expect.poll(() => complaints().join()).toMatch(/Content Security Policy/);
  await close();
});
