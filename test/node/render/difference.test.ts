import { expect, it } from 'vitest';
import { differenceMap, magnification } from '../../../sdk/render/difference.js';

const map = (width: number, ...values: number[]) => ({
  width,
  height: values.length / width,
  data: Float32Array.from(values),
});

it('a difference is taken pixel by pixel, of maps of one size only', () => {
  expect(differenceMap(map(2, 1, -2, 3, 0), map(2, 0.5, 2, 3, -1))).toEqual(map(2, 0.5, -4, 0, 1));
  expect(() => differenceMap(map(2, 1, 2, 3, 4), map(4, 1, 2, 3, 4))).toThrow(/2 × 2 and 4 × 1/);
});

it('is magnified roundly, never beyond the scale', () => {
  const cases = [
    [1, 0.6, 1],
    [1, 0.5, 2],
    [1, 0.21, 2],
    [1, 0.2, 5],
    [1, 0.11, 5],
    [1, 0.1, 10],
    [8, 0.15, 50],
    [1, 1e-9, 1000],
    [1, 3, 1],
    [1, 0, 1],
    [0, 0, 1],
    [0, 1, 1],
  ] as const;
  for (const [maximum, difference, times] of cases) {
    expect(magnification(maximum, difference), `${maximum} / ${difference}`).toBe(times);
  }
});
