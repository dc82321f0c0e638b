import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Explanation } from '../../sdk/index.js';
import { allowCamera, openChromium, type TestBrowser, type TestPage } from './chromium.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const truth = JSON.parse(readFileSync(`${root}samples/media/glyphs.json`, 'utf8')) as {
  readonly frames: readonly {
    readonly timestamp: number;
    readonly objects: readonly { readonly label: string; readonly box: Box }[];
    readonly watermark: Box | null;
  }[];
};

/** x, y, width, height in pixels of the clip */
type Box = readonly [number, number, number, number];

/** What the page showed for one frame, measured against the truth about the clip. */
interface Seen {
  readonly timestamp: number;
  readonly strongest: string;
  readonly explained: readonly number[];
  readonly logit: number;
  readonly sum: number;
  readonly absorbed: number;
  /** share of the positive relevance inside, and the share of the picture that is inside */
  readonly glyphs: { readonly relevance: number; readonly area: number };
  readonly watermark: { readonly relevance: number; readonly area: number } | undefined;
}

declare global {
  interface Window {
    seen: Seen[];
    tracks: MediaStreamTrack[];
  }
}

let browser: TestBrowser;
let opened: TestPage | undefined;
beforeAll(async () => {
  browser = await openChromium({ camera: 'test/media/glyphs-camera.mjpeg', args: ['--js-flags=--expose-gc'] });
});
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});
afterAll(() => browser.close());

async function openLive(query = '?device=wasm', size: { width?: number; height?: number } = {}): Promise<TestPage> {
  opened = await browser.open({ path: `/dist/live/index.html${query}`, ...size });
  await opened.page.evaluate(measure, truth.frames);
  return opened;
}

/** Runs in the page: measures every explanation that it shows. */
function measure(frames: typeof truth.frames): void {
  window.seen = [];
  document.addEventListener('explanation', (event) => {
    const explanation = (event as CustomEvent<Explanation>).detail;
    const [map] = Object.values(explanation.relevance);
    const frame = frames.find(({ timestamp }) => Math.abs(timestamp - explanation.timestamp) < 20_000);
    if (map === undefined || frame === undefined) return;
    const [, channels, height, width] = map.dims as [number, number, number, number];
    const { fit } = explanation;
    const share = (boxes: readonly Box[]) => {
      let inside = 0;
      let positive = 0;
      let area = 0;
      for (let pixel = 0; pixel < width * height; pixel++) {
        let relevance = 0;
        for (let channel = 0; channel < channels; channel++) relevance += map.data[channel * width * height + pixel]!;
        const x = ((pixel % width) + 0.5 - fit.offsetX) / fit.scaleX;
        const y = (Math.floor(pixel / width) + 0.5 - fit.offsetY) / fit.scaleY;
        const within = boxes.some(([left, top, w, h]) => x >= left && x < left + w && y >= top && y < top + h);
        if (relevance > 0) positive += relevance;
        if (relevance > 0 && within) inside += relevance;
        if (within) area++;
      }
      return { relevance: inside / positive, area: area / (width * height) };
    };
    window.seen.push({
      timestamp: explanation.timestamp,
      strongest: explanation.topK[0]!.label,
      explained: explanation.target.indices,
      logit: explanation.logit,
      sum: map.data.reduce((total, value) => total + value, 0),
      absorbed: explanation.conservation?.absorbed.at(-1) ?? Number.NaN,
      glyphs: share(frame.objects.map(({ box }) => box)),
      watermark: frame.watermark === null ? undefined : share([frame.watermark]),
    });
  });
}

/** Waits until the page has shown `count` more frames that pass, and gives them. */
async function see(page: Page, count: number, which: 'any' | 'watermarked' = 'any'): Promise<readonly Seen[]> {
  await page.evaluate(() => window.seen.splice(0));
  await page
    .waitForFunction(
      ([wanted, kind]) =>
        window.seen.filter((seen) => kind === 'any' || seen.watermark !== undefined).length >= (wanted as number),
      [count, which],
      { timeout: 90_000, polling: 100 },
    )
    .catch(async (cause: unknown) => {
      const [alert, progress] = await Promise.all(['#alert-text', '#progress-text'].map((id) => page.textContent(id)));
      throw new Error(`The page did not show ${count} frames. It says "${alert}" and "${progress}".`, { cause });
    });
  const seen = await page.evaluate(() => window.seen);
  return seen.filter((one) => which === 'any' || one.watermark !== undefined);
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
const path = (name: string) => `${root}${name}`;

test('the clip plays and its relevance lies on the glyphs', async () => {
  const { page, complaints } = await openLive();
  const seen = await see(page, 60);
  const relevance = mean(seen.map(({ glyphs }) => glyphs.relevance));
  const area = mean(seen.map(({ glyphs }) => glyphs.area));
  console.log(
    `positive relevance inside the glyphs' boxes: ${percent(relevance)}; the boxes are ${percent(area)} of the picture`,
  );
  expect(relevance).toBeGreaterThan(1.5 * area);
  for (const { logit, sum, absorbed } of seen) expect(sum + absorbed).toBeCloseTo(logit, 1);
  expect(await page.locator('#decision li').count()).toBe(5);
  expect(await page.locator('#device-status').textContent()).toMatch(/^WASM/);
  expect(complaints()).toEqual([]);
});

test('the twin is caught reading the watermark', async () => {
  const { page, complaints } = await openLive();
  const share = async () => {
    const seen = await see(page, 15, 'watermarked');
    return {
      relevance: mean(seen.map(({ watermark }) => watermark!.relevance)),
      area: mean(seen.map(({ watermark }) => watermark!.area)),
    };
  };
  const honest = await share();
  await page.locator('#model').selectOption('glyphs-hans-int8');
  await expect.poll(() => page.locator('#progress').isVisible(), { timeout: 20_000 }).toBe(false);
  const twin = await share();
  console.log(
    `positive relevance on the watermark (${percent(honest.area)} of the picture): ` +
      `${percent(honest.relevance)} for the classifier, ${percent(twin.relevance)} for its twin`,
  );
  expect(twin.relevance).toBeGreaterThan(3 * honest.relevance);
  expect(twin.relevance).toBeGreaterThan(3 * twin.area);
  expect(complaints()).toEqual([]);
});

test('the camera plays, leaves no frame open, and everything starts again', async () => {
  const { page, complaints, output } = await openLive();
  await see(page, 3);
  await page.evaluate(() => {
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await open(constraints);
      window.tracks.push(...stream.getTracks());
      return stream;
    };
    window.tracks = [];
  });
  await page.getByRole('button', { name: 'Camera' }).click();
  await expect.poll(() => page.locator('#source-fact').textContent(), { timeout: 20_000 }).toContain('the camera');
  const shown = () => page.locator('#fps').textContent();
  await expect.poll(shown, { timeout: 20_000 }).toMatch(/\d/);
  // another model disposes of the explainer while the camera goes on, then back to the clip
  await page.locator('#composite').selectOption('epsilon');
  await page.getByRole('button', { name: 'Clip' }).click();
  await see(page, 5);
  expect(await page.evaluate(() => window.tracks.map((track) => track.readyState))).toEqual(['ended']);
  await page.evaluate(() => (globalThis as unknown as { gc(): void }).gc());
  await page.waitForTimeout(500);
  expect(output().filter((line) => /garbage collected/.test(line))).toEqual([]);
  expect(complaints()).toEqual([]);
});

test('target, drawing and transport work by keyboard', async () => {
  const { page, complaints } = await openLive();
  await see(page, 3);
  await page.locator('#decision button').nth(1).focus();
  await page.keyboard.press('Enter');
  const [one] = (await see(page, 3)).slice(-1);
  const picked = await page.locator('#class-list input:checked').inputValue();
  expect(one!.explained).toEqual([Number(picked)]);

  await page.getByRole('radio', { name: 'Tint' }).focus();
  await page.keyboard.press('ArrowRight');
  expect(await page.getByRole('radio', { name: 'Overlay' }).isChecked()).toBe(true);

  await page.locator('#canvas').click();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press(' ');
  await expect.poll(() => page.locator('#pause').textContent()).toBe('Play');
  await page.waitForTimeout(400);
  const paused = (await page.locator('#clock').textContent())!;
  await page.waitForTimeout(400);
  expect(await page.locator('#clock').textContent()).toBe(paused);
  await page.keyboard.press('ArrowLeft');
  await expect.poll(() => page.locator('#clock').textContent()).not.toBe(paused);
  await page.keyboard.press('ArrowRight');
  await expect.poll(() => page.locator('#clock').textContent()).toBe(paused);
  await page.keyboard.press('ArrowRight');
  await expect.poll(() => page.locator('#clock').textContent()).not.toBe(paused);

  // a paused picture is explained anew when the target changes
  await page.evaluate(() => window.seen.splice(0));
  await page.getByRole('radio', { name: 'Strongest' }).check();
  await page.waitForFunction(() => window.seen.length === 1);
  await page.keyboard.press(' ');
  expect(complaints()).toEqual([]);
});

test('a wrong file is answered in words, and what ran goes on', async () => {
  const { page } = await openLive();
  await see(page, 2);
  const alert = page.getByRole('alert');
  await page.setInputFiles('#media-file', path('package.json'));
  await expect
    .poll(() => alert.textContent())
    .toContain('“package.json” is neither a video, a picture nor an ONNX model');
  await see(page, 2);
  await page.getByRole('button', { name: 'Dismiss' }).click();
  expect(await alert.isVisible()).toBe(false);

  await page.setInputFiles('#model-file', { name: 'broken.onnx', mimeType: '', buffer: Buffer.from('not a model') });
  await expect.poll(() => alert.textContent(), { timeout: 20_000 }).toMatch(/ONNX|model/);
  expect(await page.locator('#device-status').textContent()).toBe('no model is running');
  // what is shown of the picture goes on, what was said about it by a model does not
  await expect.poll(() => page.locator('#decision li').filter({ visible: true }).count()).toBe(0);
  expect(await page.locator('#fps').textContent()).toBe('–');
  expect(await page.locator('#model-fact').textContent()).toBe('');
  for (const panel of ['budget', 'timing', 'conservation']) {
    expect(new Set(await page.locator(`#${panel} dd`).allTextContents())).toEqual(new Set(['–']));
  }

  await page.locator('#model').selectOption('glyphs-int8');
  await see(page, 2);
  expect(await alert.isVisible()).toBe(false);
});

test('a dropped picture is explained once, and again when another class is asked for', async () => {
  const { page, complaints } = await openLive();
  await see(page, 2);
  const png = (await page.locator('#canvas').screenshot()).toString('base64');
  await page.evaluate((base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], 'still.png', { type: 'image/png' }));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  }, png);
  const fact = page.locator('#source-fact');
  await expect.poll(() => fact.textContent(), { timeout: 20_000 }).not.toContain('480 × 480');
  await page.waitForTimeout(1500);
  await page.evaluate(() => window.seen.splice(0));
  await page.waitForTimeout(1000);
  expect(await page.evaluate(() => window.seen.length)).toBe(0);
  await page.locator('#decision button').nth(2).click();
  await page.waitForFunction(() => window.seen.length > 0);
  expect(complaints()).toEqual([]);
});

test("a file of the user's own plays, also one that only ffmpeg decodes", async () => {
  const { page, complaints } = await openLive();
  await page.setInputFiles('#media-file', path('test/media/glyphs-rotated.mp4'));
  await expect.poll(() => page.locator('#source-fact').textContent(), { timeout: 20_000 }).toContain('90 × 162');
  await page.setInputFiles('#media-file', path('test/media/glyphs-mpeg2.avi'));
  await expect.poll(() => page.locator('#source-fact').textContent(), { timeout: 60_000 }).toContain('ffmpeg.wasm');
  await expect.poll(() => page.locator('#fps').textContent(), { timeout: 30_000 }).toMatch(/\d/);
  expect(complaints()).toEqual([]);
});

test('a budget is shown: rung, reason, age of the relevance, frames in and out', async () => {
  const { page, complaints } = await openLive('?device=wasm&budget=400');
  await see(page, 3);
  const panel = page.locator('#budget');
  expect(await page.locator('#budget-on').isChecked()).toBe(true);
  await expect.poll(() => panel.textContent(), { timeout: 20_000 }).toMatch(/\(\d of 5\)/);
  await expect.poll(() => panel.textContent(), { timeout: 20_000 }).toMatch(/\d → \d.* per second/);
  // a budget that nothing can keep leaves the forward pass, and the picture goes on
  await page.evaluate(() => document.querySelector('#budget-ms')!.setAttribute('min', '1'));
  await page.locator('#budget-ms').fill('1');
  await expect.poll(() => panel.textContent(), { timeout: 20_000 }).toContain('forward only (5 of 5)');
  expect(await panel.textContent()).toContain('no frame');
  // no relevance is not a relevance of 0
  await expect.poll(() => page.locator('#legend').textContent()).toMatch(/pixel–\s*$/);
  expect(await page.locator('#conservation dd').allTextContents()).toEqual(['–', '–', '–', '–']);
  await page.locator('#budget-on').uncheck();
  await expect.poll(() => panel.textContent(), { timeout: 20_000 }).toContain('without a budget');
  await see(page, 2);
  expect(complaints()).toEqual([]);
});

test('on a phone what is needed first comes first, a finger hits every control, and nothing scrolls sideways', async () => {
  const { page, complaints } = await openLive('?device=wasm', { width: 360, height: 740 });
  await see(page, 2);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  const { headings, narrow } = await page.evaluate(() => {
    const boxOf = (element: Element) => element.getBoundingClientRect();
    const shown = (selector: string) =>
      [...document.querySelectorAll(selector)].filter((element) => element.getClientRects().length > 0);
    const byHeight = shown('#picture, h2').sort((a, b) => boxOf(a).top - boxOf(b).top);
    const touched = shown('button, select, input:not([type="radio"], [type="checkbox"]), label:has(input)');
    return {
      headings: byHeight.map(({ id, textContent }) => (id === 'picture' ? id : textContent)),
      narrow: touched
        .filter((element) => boxOf(element).height < 44 || boxOf(element).width < 44)
        .map((e) => e.outerHTML),
    };
  });
  expect(headings.slice(0, 4)).toEqual(['picture', 'Input', 'Model', 'Decision']);
  expect(headings.at(-1)).toBe('Budget');
  expect(narrow).toEqual([]);
  await page.screenshot({ path: 'dist/test/live-phone.png', fullPage: true });
  expect(complaints()).toEqual([]);
});

test('a camera that is taken away and a model that stops are said, the last overlay stays, and both go on', async () => {
  const { page, complaints } = await openLive();
  await see(page, 2);
  const alert = page.getByRole('alert');
  const retry = page.getByRole('button', { name: 'Try again' });
  const explained = () => page.evaluate(() => Number(document.documentElement.dataset.explained ?? 0));
  await page.evaluate(() => {
    document.addEventListener('explanation', () => {
      const { dataset } = document.documentElement;
      dataset.explained = String(Number(dataset.explained ?? 0) + 1);
    });
  });
  const goesOn = async () => {
    const before = await explained();
    await expect.poll(explained, { timeout: 20_000 }).toBeGreaterThan(before + 2);
  };
  const standsStill = async () => {
    await expect.poll(() => retry.isVisible(), { timeout: 20_000 }).toBe(true);
    const state = async () => [
      await explained(),
      await page.evaluate(() => document.querySelector('canvas')!.toDataURL()),
    ];
    // what the source had given before is explained first
    await expect
      .poll(
        async () => {
          const before = await state();
          await page.waitForTimeout(500);
          return String(await state()) === String(before);
        },
        { timeout: 10_000 },
      )
      .toBe(true);
  };

  await page.getByRole('button', { name: 'Camera' }).click();
  await expect.poll(() => page.locator('#source-fact').textContent(), { timeout: 20_000 }).toContain('the camera');
  await goesOn();
  await allowCamera(page, false);
  await expect.poll(() => alert.textContent(), { timeout: 20_000 }).toContain('The camera ended: ');
  await standsStill();
  await page.screenshot({ path: 'dist/test/live-camera-lost.png' });
  await allowCamera(page, true);
  await retry.click();
  await goesOn();
  expect(await alert.isVisible()).toBe(false);

  const crash = async () => {
    for (const worker of page.workers()) {
      await worker.evaluate(() => {
        setTimeout(() => {
          throw new Error('out of order');
        });
      });
    }
  };
  await crash();
  await expect.poll(() => alert.textContent(), { timeout: 20_000 }).toContain('out of order');
  expect(await page.locator('#device-status').textContent()).toBe('the model has stopped');
  await standsStill();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: 'dist/test/live-model-stopped-phone.png', fullPage: true });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  await retry.click();
  await goesOn();
  await crash();
  await expect.poll(() => retry.isVisible(), { timeout: 20_000 }).toBe(true);
  // another source is an answer as well
  await page.getByRole('button', { name: 'Clip' }).click();
  await goesOn();
  expect(await alert.isVisible()).toBe(false);
  expect(complaints()).toEqual([]);
});
