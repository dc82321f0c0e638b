import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';

let browser: TestBrowser;
let opened: TestPage;
beforeAll(async () => {
  browser = await openChromium({ webgpu: false });
  opened = await browser.open();
});
afterAll(() => browser.close());

type Mode = 'overlay' | 'tint' | 'alpha' | 'heatmap';
type Point = readonly [x: number, y: number];

interface Scene {
  readonly mode: Mode;
  /** relevance of a 2 × 1 or 1 × 1 input */
  readonly relevance: readonly number[];
  /** the model's input: 100 × 100, and how a picture of 200 × 100 lies in it */
  readonly fit: { scaleX: number; scaleY: number; offsetX: number; offsetY: number };
  readonly opacity?: number;
  readonly smooth?: boolean;
  readonly rotation?: 0 | 90 | 180 | 270;
  readonly points: readonly Point[];
}

const letterbox = { scaleX: 0.5, scaleY: 0.5, offsetX: 0, offsetY: 25 };
const crop = { scaleX: 1, scaleY: 1, offsetX: -50, offsetY: 0 };
const stretch = { scaleX: 0.5, scaleY: 1, offsetX: 0, offsetY: 0 };

/** Colours at points of a 400 × 200 canvas, after a picture that is green on the left and blue on the right was drawn with relevance. */
function draw(scene: Scene): Promise<number[][]> {
  return opened.page.evaluate((scene) => {
    const { mode, relevance, fit, opacity, smooth = false, rotation = 0, points } = scene;
    const picture = rotation % 180 === 0 ? new OffscreenCanvas(200, 100) : new OffscreenCanvas(100, 200);
    const inside = picture.getContext('2d')!;
    // the decoded picture lies such that, turned by `rotation`, green is left
    const green: Record<number, [number, number, number, number]> = {
      0: [0, 0, 100, 100],
      90: [0, 100, 100, 100],
      180: [100, 0, 100, 100],
      270: [0, 0, 100, 100],
    };
    inside.fillStyle = '#00f';
    inside.fillRect(0, 0, 200, 200);
    inside.fillStyle = '#0f0';
    inside.fillRect(...green[rotation]!);
    const image = new VideoFrame(picture, { timestamp: 0 });
    const canvas = document.createElement('canvas');
    canvas.width = 400;
    canvas.height = 200;
    const context = canvas.getContext('2d')!;
    const map = { width: relevance.length, height: 1, data: Float32Array.from(relevance) };
    window.whylight.drawOverlay(
      context,
      image,
      { map, fit, frame: { width: 200, height: 100, rotation }, input: { width: 100, height: 100 } },
      { mode, colormap: 'seismic', smooth, ...(opacity === undefined ? {} : { opacity }) },
    );
    image.close();
    return points.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data]);
  }, scene);
}

const left: Point = [20, 100];
const right: Point = [380, 100];
const red = [255, 0, 0, 255];
const white = [255, 255, 255, 255];

/** Colours agree within two steps of 255: a video frame's colours go through YUV. */
function expectColours(actual: number[][], expected: number[][]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, colour] of expected.entries()) {
    for (const [channel, value] of colour.entries()) {
      expect(
        Math.abs(actual[i]![channel]! - value),
        `point ${i}: ${actual[i]} instead of ${colour}`,
      ).toBeLessThanOrEqual(2);
    }
  }
}

test('a heatmap is stretched over the picture, its pixels where the model saw them', async () => {
  const points = [left, [190, 10], [210, 190], right] as const;
  const colours = await draw({ mode: 'heatmap', relevance: [0.5, -0.5], fit: stretch, points });
  expectColours(colours, [red, red, [0, 0, 255, 255], [0, 0, 255, 255]]);
});

test('outside of a crop nothing is relevant: zero’s colour in a heatmap, the bare picture under an overlay', async () => {
  // the crop is the middle half, 100 … 300 of the canvas
  const points = [left, [110, 100], [290, 100], right] as const;
  const heat = await draw({ mode: 'heatmap', relevance: [0.5], fit: crop, points });
  expectColours(heat, [white, red, red, white]);
  const over = await draw({ mode: 'overlay', relevance: [0.5], fit: crop, opacity: 1, points });
  expectColours(over, [[0, 255, 0, 255], red, red, [0, 0, 255, 255]]);
});

test('the borders of a letterbox are cut off', async () => {
  // the 2-pixel map's halves meet in the middle of the canvas; above and below is what the canvas does not show
  const points = [[20, 1], [20, 198], right] as const;
  expectColours(await draw({ mode: 'heatmap', relevance: [0.5, 0], fit: letterbox, points }), [red, red, white]);
});

test('an overlay mixes by its opacity, a tint by the relevance', async () => {
  const half = await draw({
    mode: 'overlay',
    relevance: [0.5, 0.5],
    fit: stretch,
    opacity: 0.5,
    points: [left, right],
  });
  expectColours(half, [
    [128, 128, 0, 255],
    [128, 0, 128, 255],
  ]);
  const tint = await draw({ mode: 'tint', relevance: [0.5, 0], fit: stretch, points: [left, right] });
  expectColours(tint, [
    [128, 128, 0, 255],
    [0, 0, 255, 255],
  ]);
});

test('alpha shows the picture only where relevance is, and nothing outside of a crop', async () => {
  const points = [left, [150, 100], [250, 100], right] as const;
  const colours = await draw({ mode: 'alpha', relevance: [1, 0], fit: crop, points });
  expectColours(colours, [
    [0, 0, 0, 0],
    [0, 255, 0, 255],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ]);
});

test.each([0, 90, 180, 270] as const)(
  'a picture to be turned by %i° is drawn upright under its relevance',
  async (rotation) => {
    const colours = await draw({
      mode: 'overlay',
      relevance: [0],
      fit: stretch,
      opacity: 0,
      rotation,
      points: [left, right],
    });
    expectColours(colours, [
      [0, 255, 0, 255],
      [0, 0, 255, 255],
    ]);
  },
);

test('smoothed, plus goes to minus through zero, not through a mixture of both colours', async () => {
  const [middle, onTheLeft] = await draw({
    mode: 'heatmap',
    relevance: [0.5, -0.5],
    fit: stretch,
    smooth: true,
    points: [[199, 100], left],
  });
  for (const channel of middle!) expect(channel).toBeGreaterThan(245);
  expectColours([onTheLeft!], [red]);
});

test('the legend’s bar has the map’s colours at its ends and zero in the middle', async () => {
  const colours = await opened.page.evaluate(() => {
    const context = new OffscreenCanvas(300, 60).getContext('2d')!;
    window.whylight.drawLegend(context, {
      colormap: 'seismic',
      maximum: 3,
      place: { x: 10, y: 5, width: 257, height: 40 },
    });
    return [10, 138, 266].map((x) => [...context.getImageData(x, 10, 1, 1).data]);
  });
  expectColours(colours, [[0, 0, 76, 255], white, [128, 0, 0, 255]]);
  expect(opened.complaints()).toEqual([]);
});
