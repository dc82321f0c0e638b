import { filter } from 'rxjs';
import { expect, test } from 'vitest';
import type { Frame } from '../../../sdk/sources/frame.js';
import { asLive, framesOf, isWaitedFor } from '../../../sdk/sources/source.js';
import { fakeFrame, fakeSource, settle } from './frames.js';

const ten = () => Array.from({ length: 10 }, (_, index) => fakeFrame(index));

test('a file goes on when a frame is closed, and never has more than `ahead` open', async () => {
  const frames = ten();
  const { source, state } = fakeSource('file', frames);
  const got: Frame[] = [];
  let completed = false;
  framesOf(source, { ahead: 2 }).subscribe({ next: (frame) => got.push(frame), complete: () => (completed = true) });
  await settle();
  expect(got.length).toBe(2);
  expect(got.every(isWaitedFor)).toBe(true);
  got[1]?.close();
  await settle();
  expect(got.length).toBe(3);
  // only the first close of a frame is worth a credit
  got[1]?.close();
  await settle();
  expect(got.length).toBe(3);
  expect(state.pulled).toBe(3);
  for (let index = 0; index < 10; index++) {
    got[index]?.close();
    await settle();
  }
  expect(frames.map((frame) => frame.closes)).toEqual(frames.map(() => 1));
  expect(completed).toBe(true);
});

test('credits pass through operators that stand between', async () => {
  const frames = ten();
  const { source } = fakeSource('file', frames);
  const got: number[] = [];
  framesOf(source)
    .pipe(
      filter((frame) => {
        const even = frame.timestamp % 80_000 === 0;
        if (!even) frame.close();
        return even;
      }),
    )
    .subscribe((frame) => {
      got.push(frame.timestamp / 40_000);
      frame.close();
    });
  await settle();
  expect(got).toEqual([0, 2, 4, 6, 8]);
});

test('a live source is pulled whatever is open, and nobody waits for its frames', async () => {
  const { source } = fakeSource('live', ten());
  const got: Frame[] = [];
  framesOf(source).subscribe((frame) => got.push(frame));
  await settle();
  expect(got.length).toBe(10);
  expect(got.some(isWaitedFor)).toBe(false);
});

test('nothing is pulled before somebody subscribes, and each subscription starts anew', async () => {
  const { source, state } = fakeSource('file', [fakeFrame(0)]);
  const frames$ = framesOf(source);
  await settle();
  expect(state.pulled).toBe(0);
  for (let time = 0; time < 2; time++) frames$.subscribe((frame) => frame.close());
  await settle();
  expect(state.pulled).toBe(2);
});

test('unsubscribing aborts and returns the iteration, also where it waits for credit', async () => {
  const { source, state } = fakeSource('file', ten());
  const subscription = framesOf(source).subscribe();
  await settle();
  subscription.unsubscribe();
  await settle();
  expect(state).toEqual({ pulled: 2, returned: 1, aborted: true });
});

test('a frame that arrives after unsubscribing is closed', async () => {
  const frame = fakeFrame(0);
  let give: (frame: Frame) => void = () => undefined;
  const subscription = framesOf({
    info: { kind: 'live', decoder: 'camera' },
    async *frames() {
      yield await new Promise<Frame>((resolve) => {
        give = resolve;
      });
    },
  }).subscribe();
  await settle();
  subscription.unsubscribe();
  give(frame);
  await settle();
  expect(frame.closes).toBe(1);
});

test('an error comes after every frame before it', async () => {
  const { source } = fakeSource('file', ten(), new Error('truncated'));
  const seen: unknown[] = [];
  framesOf(source).subscribe({
    next: (frame) => {
      seen.push(frame.timestamp / 40_000);
      frame.close();
    },
    error: (error: Error) => seen.push(error.message),
  });
  await settle();
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 'truncated']);
});

test('a frame that became live gives its credit back, but nobody waits for it', async () => {
  const { source, state } = fakeSource('file', [fakeFrame(0, { dropped: 1 }), fakeFrame(1)]);
  const got: Frame[] = [];
  framesOf(source, { ahead: 1 }).subscribe((frame) => got.push(asLive(frame, 123, 2)));
  await settle();
  expect(got[0]).toMatchObject({ timestamp: 0, captured: 123, dropped: 3 });
  expect(got.some(isWaitedFor)).toBe(false);
  expect(state.pulled).toBe(1);
  got[0]?.close();
  await settle();
  expect(state.pulled).toBe(2);
});
