import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { colormap } from '../../../sdk/render/colormap.js';
import { formatRelevance, legendSvg } from '../../../sdk/render/legend.js';
import type { RelevanceMap } from '../../../sdk/render/normalize.js';
import { alphaMask, heatmap, placeOfInput, resample } from '../../../sdk/render/overlay.js';
import { fitGeometry } from '../../../sdk/runtime/preprocess.js';

const map = (width: number, ...values: number[]): RelevanceMap => ({
  width,
  height: values.length / width,
  data: Float32Array.from(values),
});

describe('heatmap', () => {
  test('colours every pixel by the map and its zero by the middle', () => {
    const pixels = heatmap(map(3, -0.5, 0, 0.5), colormap('seismic'));
    expect({ width: pixels.width, height: pixels.height }).toEqual({ width: 3, height: 1 });
    expect([...pixels.data]).toEqual([0, 0, 255, 255, 255, 255, 255, 255, 255, 0, 0, 255]);
  });

  test('can be as opaque as the relevance is strong', () => {
    const pixels = heatmap(map(4, -1, 0, 0.4, Number.NaN), colormap('black-firered'), 'relevance');
    expect([3, 7, 11, 15].map((i) => pixels.data[i])).toEqual([255, 0, 102, 0]);
  });
});

test('an alpha mask lets the asked sign through', () => {
  const alphas = (sign?: 'both' | 'positive' | 'negative') => {
    const { data } = alphaMask(map(4, -1, -0.2, 0.6, Number.NaN), sign);
    return [3, 7, 11, 15].map((i) => data[i]);
  };
  expect(alphas()).toEqual([255, 51, 153, 0]);
  expect(alphas('positive')).toEqual([0, 0, 153, 0]);
  expect(alphas('negative')).toEqual([255, 51, 0, 0]);
});

describe('resample', () => {
  test('goes from plus to minus through zero', () => {
    const { data } = resample(map(2, 1, -1), 4, 1);
    expect([...data]).toEqual([1, 0.5, -0.5, -1]);
    expect(resample(map(2, 1, -1), 3, 1).data[1]).toBe(0);
  });

  test('stays within its neighbours: one sign stays one sign, zeros stay zeros', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 36, maxLength: 36 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.constantFrom(1, -1, 0),
        (width, height, values, toWidth, toHeight, sign) => {
          const data = Float32Array.from(values.slice(0, width * height), (value) => value * sign);
          const result = resample({ width, height, data }, toWidth, toHeight);
          expect(result.data).toHaveLength(toWidth * toHeight);
          const [low, high] = [Math.min(...data), Math.max(...data)];
          for (const value of result.data) {
            expect(value).toBeGreaterThanOrEqual(low - 1e-6);
            expect(value).toBeLessThanOrEqual(high + 1e-6);
            expect(value * sign).toBeGreaterThanOrEqual(0);
          }
        },
      ),
    );
  });

  test('a constant stays constant, the same size the same map, an empty one zeros', () => {
    expect(new Set(resample(map(2, 3, 3, 3, 3), 7, 5).data)).toEqual(new Set([3]));
    const same = map(2, 1, 2);
    expect(resample(same, 2, 1)).toBe(same);
    expect([...resample({ width: 0, height: 0, data: new Float32Array() }, 2, 1).data]).toEqual([0, 0]);
  });
});

describe('placeOfInput', () => {
  const place = { x: 0, y: 0, width: 640, height: 360 };
  const picture = { width: 1280, height: 720 };
  const input = { width: 128, height: 128 };

  test('letterbox: the input reaches beyond the picture by its borders', () => {
    // a 16:9 picture fills 128 × 72 of the input, 28 rows of border above and below; 5 canvas pixels each
    expect(placeOfInput(fitGeometry(picture, input, 'letterbox'), picture, input, place)).toEqual({
      x: 0,
      y: -140,
      width: 640,
      height: 640,
    });
  });

  test('crop: the input covers the middle square', () => {
    const on = placeOfInput(fitGeometry(picture, input, 'crop'), picture, input, place);
    expect(on.x).toBeCloseTo(140, 9);
    expect(on.y).toBeCloseTo(0, 9);
    expect(on.width).toBeCloseTo(360, 9);
    expect(on.height).toBeCloseTo(360, 9);
  });

  test('stretch covers the picture wherever it is placed', () => {
    const there = { x: 10, y: 20, width: 100, height: 50 };
    const on = placeOfInput(fitGeometry(picture, input, 'stretch'), picture, input, there);
    for (const side of ['x', 'y', 'width', 'height'] as const) expect(on[side]).toBeCloseTo(there[side], 9);
  });
});

describe('the legend', () => {
  test('writes three digits, a true minus and no sign at zero', () => {
    expect([12.3456, -12.3456, 0, -0, 0.00012345, 1234567, Number.NaN].map(formatRelevance)).toEqual([
      '+12.3',
      '−12.3',
      '0',
      '0',
      '+1.23e−4',
      '+1.23e6',
      '–',
    ]);
  });

  test('has the ends, the unit and the map’s colours from left to right', () => {
    const svg = legendSvg({ colormap: 'seismic', maximum: 4.2, unit: 'logit of "seven"', title: '<b>&' });
    expect(svg).toContain('>−4.2<');
    expect(svg).toContain('>+4.2<');
    expect(svg).toContain('&lt;b&gt;&amp; (logit of &quot;seven&quot;)');
    expect(svg).not.toContain('<b>');
    expect(svg).toContain('<stop offset="0" stop-color="rgb(0,0,76)"/>');
    expect(svg).toContain('<stop offset="0.5" stop-color="rgb(255,255,255)"/>');
    expect(svg).toContain('<stop offset="1" stop-color="rgb(128,0,0)"/>');
    expect(svg).not.toMatch(/style=|<script/);
  });
});
