import { expect, test } from 'vitest';
import { checkInput, compareRuns } from '../../../sdk/runtime/startup-check.js';

const run = (logits: readonly number[], relevance: readonly number[]) => ({
  logits: { dims: [1, logits.length], data: Float32Array.from(logits) },
  'relevance/x': { dims: [relevance.length], data: Float32Array.from(relevance) },
});

test('the check frame is the same every time and fills the range', () => {
  const frame = checkInput(10_000, -1, 3);
  expect(frame).toEqual(checkInput(10_000, -1, 3));
  expect(Math.min(...frame)).toBeGreaterThanOrEqual(-1);
  expect(Math.min(...frame)).toBeLessThan(-0.99);
  expect(Math.max(...frame)).toBeLessThanOrEqual(3);
  expect(Math.max(...frame)).toBeGreaterThan(2.99);
});

test('rounding agrees, and the figures are told', () => {
  const comparison = compareRuns(run([4, -2], [1, 0]), run([4.0004, -2], [1, 0.005]));
  expect(comparison.agree).toBe(true);
  expect(comparison.outputs).toBeCloseTo(1e-4, 6);
  expect(comparison.sentence).toBe(
    'on a check frame it differs from WASM by 1.0e-4 of the largest output and 5.0e-3 of the largest relevance',
  );
});

test.each([
  ['an output', run([4.1, -2], [1, 0])],
  ['relevance', run([4, -2], [1, 0.02])],
  ['something not finite', run([4, Number.NaN], [1, 0])],
  ['a missing tensor', { logits: run([4, -2], []).logits }],
  ['another size', run([4, -2], [1])],
])('%s that is wrong does not agree', (_, other) => {
  expect(compareRuns(run([4, -2], [1, 0]), other).agree).toBe(false);
});

test('zero against zero agrees, zero against something does not', () => {
  expect(compareRuns(run([1], [0, 0]), run([1], [0, 0])).agree).toBe(true);
  expect(compareRuns(run([1], [0, 0]), run([1], [0, 1e-9])).agree).toBe(false);
});
