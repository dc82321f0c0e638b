// Takes docs/live.png from the running page, after `npm run build`: node .ci/screenshot.mjs [seconds into the clip] [query]
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { contentSecurityPolicy, isolation, serveStatic } from '../samples/live/static-server.mjs';
import { findChromium } from '../test/browser/executable.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// the umbrella with the watermark, which the twin takes for a star
const [moment = '6.4', query = '?model=glyphs-hans-int8&device=wasm'] = process.argv.slice(2);

const server = await serveStatic({
  mounts: { '/': join(root, 'dist/live') },
  headers: () => ({ 'Content-Security-Policy': contentSecurityPolicy, ...isolation }),
});
const browser = await chromium.launch({
  executablePath: findChromium(),
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
await page.goto(`${server.origin}/${query}`);
// one loop of the clip fills the plot, and the colour scale has settled
await page.evaluate(
  (seconds) =>
    new Promise((resolve) => {
      let last = 0;
      let loops = 0;
      document.addEventListener('explanation', ({ detail }) => {
        if (detail.timestamp < last) loops++;
        last = detail.timestamp;
        if (loops < 2 || last < seconds * 1e6 || document.getElementById('pause').textContent === 'Play') return;
        document.getElementById('pause').click();
        setTimeout(resolve, 1000);
      });
    }),
  Number(moment),
);
await page.evaluate(() => document.activeElement?.blur());
await page.screenshot({ path: join(root, 'docs/live.png') });
await browser.close();
await server.close();
