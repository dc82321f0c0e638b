import { expect, test } from 'vitest';
import {
  explainedTarget,
  softmax,
  strongest,
  type Target,
  targetWeights,
  topEntries,
} from '../../../sdk/runtime/target.js';

const labels = ['ant', 'bee', 'cat'];
const weights = (target: Target, size = 3) => [...targetWeights(target, labels, size)];

test('a target becomes one weight per output', () => {
  expect(weights('strongest')).toEqual([0, 0, 0]);
  expect(weights(2)).toEqual([0, 0, 1]);
  expect(weights('bee')).toEqual([0, 1, 0]);
  expect(weights(['ant', 2])).toEqual([1, 0, 1]);
  expect(weights(Float32Array.of(1, -1, 0))).toEqual([1, -1, 0]);
});

test('weights are copied, for they go to another thread', () => {
  const own = Float32Array.of(1, 0, 0);
  expect(targetWeights(own, labels, 3)).not.toBe(own);
});

test('a label that is called like the default is a label', () => {
  expect([...targetWeights('strongest', ['weakest', 'strongest'], 2)]).toEqual([0, 1]);
});

test.each<[string, Target]>([
  ['numbered 0 to 2', 3],
  ['numbered 0 to 2', -1],
  ['numbered 0 to 2', 0.5],
  ['"cow"', 'cow'],
  ['empty list', []],
  ['2 weights', Float32Array.of(1, 0)],
  ['finite', Float32Array.of(1, Number.NaN, 0)],
  ['not all 0', Float32Array.of(0, 0, 0)],
])('a wrong target is refused: %s', (sentence, target) => {
  expect(() => weights(target)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
  expect(() => weights(target)).toThrow(sentence);
});

test('all zeros are named by what the graph picks', () => {
  expect(explainedTarget(new Float32Array(3), Float32Array.of(1, 5, 2), labels)).toEqual({
    weights: Float32Array.of(0, 1, 0),
    indices: [1],
    labels: ['bee'],
  });
  expect(explainedTarget(Float32Array.of(1, 0, -1), Float32Array.of(1, 5, 2), []).labels).toEqual(['0', '2']);
});

test('softmax does not overflow, and the strongest come first', () => {
  const logits = Float32Array.of(1000, 1001, -1000, 1001);
  const probabilities = softmax(logits);
  expect(probabilities.every(Number.isFinite)).toBe(true);
  expect(strongest(logits)).toBe(1);
  const top = topEntries(probabilities, logits, labels, 3);
  expect(top.map(({ index, label }) => [index, label])).toEqual([
    [1, 'bee'],
    [3, '3'],
    [0, 'ant'],
  ]);
  expect(top[0]?.logit).toBe(1001);
  expect(top.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 6);
  expect(topEntries(probabilities, undefined, labels, 1)[0]?.logit).toBeNaN();
});
