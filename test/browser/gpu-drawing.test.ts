import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import type { OverlayComparison } from './gpu-overlay-page.js';
import type { Comparison } from './gpu-picture-page.js';
import { openScripted } from './scripted-page.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  browser = await openChromium({ composed: true });
  opened = await openScripted(browser, 'gpu-picture-page', 'gpu-overlay-page');
});
afterAll(() => browser.close());

const square = { shape: [1, 3, 64, 64] };

/** Sizes and inputs under which every part of the way is taken: no step, several, on one axis only; borders, cuts, enlargement. */
const inputs = {
  'as it is': { width: 64, height: 64, input: square },
  'between borders': { width: 200, height: 121, input: { ...square, pad: [114, 20, 200] } },
  'cut, large and odd': {
    width: 641,
    height: 359,
    input: { ...square, fit: 'crop', colour: 'BGR', mean: [0.4, 0.5, 0.6], std: [0.2, 0.2, 0.2] },
  },
  enlarged: { width: 40, height: 30, input: { shape: [1, 48, 80, 3], layout: 'NHWC', fit: 'stretch', range: [-1, 1] } },
  'grey and distorted': { width: 300, height: 100, input: { shape: [1, 1, 33, 47], range: [0, 255], fit: 'stretch' } },
} as const satisfies Record<string, Pick<Comparison, 'width' | 'height' | 'input'>>;

describe('a picture is the same input tensor on the GPU as by canvases', () => {
  for (const kind of ['bitmap', 'rgba-frame', 'cut-frame'] as const) {
    test.each(kind === 'cut-frame' ? ([0, 90] as const) : ([0, 90, 180, 270] as const))(
      `${kind}, turned by %i°`,
      async (rotation) => {
        const comparisons = Object.values(inputs).map((given) => ({ kind, rotation, ...given }));
        const results = await opened.page.evaluate((list) => window.comparePictures(list), comparisons);
        Object.keys(inputs).forEach((name, index) => {
          expect(results[index]!.most, name).toBeLessThanOrEqual(1);
          expect(results[index]!.between, name).toBeGreaterThan(500);
        });
      },
    );
  }

  test('and by plain memory, where there is neither', async () => {
    const comparisons = Object.values(inputs).map((given) => ({ kind: 'pixels', rotation: 0, ...given }) as const);
    const results = await opened.page.evaluate((list) => window.comparePictures(list), comparisons);
    Object.keys(inputs).forEach((name, index) => {
      expect(results[index]!.most, name).toBeLessThanOrEqual(1);
      expect(results[index]!.between, name).toBeGreaterThan(500);
    });
  });

  // between its two ways from YUV to RGB, the browser itself differs at the edges of colours, whose resolution is halved
  test('a decoded video frame, up to how the browser interpolates colours', async () => {
    const comparison = {
      kind: 'video',
      width: 480,
      height: 480,
      rotation: 0,
      input: { shape: [1, 3, 128, 128] },
    } as const;
    const [result] = await opened.page.evaluate((list) => window.comparePictures(list), [comparison]);
    expect(result!.mean).toBeLessThan(1);
    expect(result!.between).toBeGreaterThan(10_000);
  });
});

describe('relevance looks the same drawn by the GPU as by a canvas', () => {
  const looks: Readonly<Record<string, OverlayComparison>> = {
    overlay: { look: {} },
    'overlay, faint, with edges': { look: { opacity: 0.3, smooth: false, colormap: 'coolwarm' } },
    tint: { look: { mode: 'tint' }, layout: 'NHWC' },
    'tint, turned': { look: { mode: 'tint', opacity: 0.7 }, rotation: 90 },
    'alpha of what speaks for it': { look: { mode: 'alpha', sign: 'positive' }, rotation: 180 },
    'alpha of what speaks against it': { look: { mode: 'alpha', sign: 'negative' } },
    heatmap: { look: { mode: 'heatmap', colormap: 'jet' } },
    'heatmap of a cut': { look: { mode: 'heatmap', opacity: 0.8, smooth: false }, fit: 'crop' },
    'a percentile': { look: { mode: 'heatmap' }, scale: { scale: { percentile: 99.5 } } },
    'a low percentile': { look: { mode: 'heatmap' }, scale: { scale: { percentile: 31 } } },
    'a scale that follows': { look: { mode: 'heatmap' }, scale: { running: { halfLife: 0.5, attack: 0.1 } } },
    'both, values that are no numbers': {
      look: {},
      scale: { scale: { percentile: 97 }, running: {} },
      relevance: 'not finite',
    },
    'no relevance at all': { look: { mode: 'heatmap' }, scale: { scale: { percentile: 99 } }, relevance: 'zero' },
  };

  test('in every mode, on every scale', async () => {
    const results = await opened.page.evaluate((list) => window.compareOverlays(list), Object.values(looks));
    Object.keys(looks).forEach((name, index) => {
      const { beyond, most, colours } = results[index]!;
      // a value half-way between two of the 257 colours may be rounded either way, which is up to five steps of 1/255
      expect(beyond, name).toBeLessThan(1e-3);
      expect(most, name).toBeLessThanOrEqual(5);
      expect(colours, name).toBeGreaterThan(name === 'no relevance at all' ? 0 : 250);
    });
  });
});

test('nothing was complained about', () => expect(opened.complaints()).toEqual([]));
