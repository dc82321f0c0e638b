import { expect, test } from 'vitest';
import { buffersOf, createArrayPool, detached, free, heldBySeveral } from '../../../sdk/runtime/array-pool.js';

test('an array that was given back is written over, by size, and views of what was taken away are empty', () => {
  const pool = createArrayPool();
  const first = pool.take(6);
  first.fill(7);
  const buffer = detached(first.buffer);
  expect([first.length, buffer.byteLength]).toEqual([0, 24]);
  pool.add([buffer]);
  expect(pool.take(5).buffer).not.toBe(buffer);
  expect(pool.take(6).buffer).toBe(buffer);
  // it is somebody's again
  expect(pool.take(6).buffer).not.toBe(buffer);
});

test('a pool keeps eight of a size and frees the others', () => {
  const pool = createArrayPool();
  const given = Array.from({ length: 12 }, () => new ArrayBuffer(40));
  pool.add(given);
  expect(given.map(({ byteLength }) => byteLength)).toEqual(given.map((_, index) => (index < 8 ? 40 : 0)));
  const again = given.filter((buffer) => buffer.byteLength === 40);
  for (let taken = 0; taken < 8; taken++) expect(again).toContain(pool.take(10).buffer);
  expect(again).not.toContain(pool.take(10).buffer);
});

test('memory that several arrays share is given back once', () => {
  const logits = new Float32Array(3);
  const relevance = new Float32Array(4);
  const arrays = {
    outputs: { scores: { dims: [1, 3], data: logits } },
    logits,
    relevance: { image: { dims: [4], data: relevance } },
    conservation: { sums: new Float32Array(2), absorbed: new Float32Array(2) },
  };
  expect(buffersOf(arrays)).toHaveLength(4);
  for (const buffer of buffersOf(arrays)) free(buffer);
  expect([logits.length, relevance.length, arrays.conservation.sums.length]).toEqual([0, 0, 0]);
});

test('what several hold ends with the last of them, and nobody ends it twice', () => {
  let ended = 0;
  const hold = heldBySeveral(() => ended++);
  const [first, second] = [hold(), hold()];
  first();
  first();
  expect(ended).toBe(0);
  second();
  expect(ended).toBe(1);
});
