import { concat, EMPTY, from, map, NEVER, type Observable, of } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import type { Frame } from '../../../sdk/sources/frame.js';
import { paced } from '../../../sdk/stream/paced.js';
import { fakeFrame } from './frames.js';

const make = (count: number) => Array.from({ length: count }, (_, index) => fakeFrame(index));

/** Frames by their index and what was dropped before them, so that marbles can be compared. */
const shown = (frames: Observable<Frame>) =>
  frames.pipe(map(({ timestamp, dropped }) => ({ index: timestamp / 40_000, dropped })));
const at = (index: number, dropped = 0) => ({ index, dropped });

function virtual(body: Parameters<TestScheduler['run']>[0]): void {
  new TestScheduler((actual, expected) => expect(actual).toEqual(expected)).run(body);
}

test('frames come when their timestamps are due', () => {
  virtual(({ expectObservable }) => {
    expectObservable(shown(from(make(3)).pipe(paced()))).toBe('a 39ms b 39ms (c|)', { a: at(0), b: at(1), c: at(2) });
  });
});

test('rate scales time', () => {
  virtual(({ expectObservable }) => {
    expectObservable(shown(from(make(3)).pipe(paced({ rate: 2 })))).toBe('a 19ms b 19ms (c|)', {
      a: at(0),
      b: at(1),
      c: at(2),
    });
  });
});

test('a pause stops the clock', () => {
  virtual(({ cold, expectObservable }) => {
    const paused$ = cold('20ms p 99ms g', { p: true, g: false });
    expectObservable(shown(from(make(2)).pipe(paced({ paused$ })))).toBe('a 139ms (b|)', { a: at(0), b: at(1) });
  });
});

test('the first frame comes during a pause, and every step lets one more through', () => {
  virtual(({ cold, expectObservable }) => {
    const paused$ = cold('p 299ms g', { p: true, g: false });
    const step$ = cold('--- s 96ms s');
    const frames = from(make(4));
    // when the clock goes on, it goes on from the last frame shown
    expectObservable(shown(frames.pipe(paced({ paused$, step$ })))).toBe('a-- b 96ms c 239ms (d|)', {
      a: at(0),
      b: at(1),
      c: at(2),
      d: at(3),
    });
  });
});

test('a step while the clock runs does nothing', () => {
  virtual(({ cold, expectObservable }) => {
    const step$ = cold('--s');
    expectObservable(shown(from(make(2)).pipe(paced({ step$ })))).toBe('a 39ms (b|)', { a: at(0), b: at(1) });
  });
});

test('a frame is captured when it is due', () => {
  virtual(({ expectObservable }) => {
    let clock = 0;
    const captured = from(make(2)).pipe(
      paced({ now: () => (clock += 5) }),
      map((frame) => frame.captured),
    );
    expectObservable(captured).toBe('a 39ms (b|)', { a: 5, b: 10 });
  });
});

test('a rate that changes half way counts from there', () => {
  virtual(({ cold, expectObservable }) => {
    const rate = cold('20ms r', { r: 0.5 });
    expectObservable(shown(from(make(2)).pipe(paced({ rate })))).toBe('a 59ms (b|)', { a: at(0), b: at(1) });
  });
});

test('late frames are dropped, closed and counted, but one in 250 ms gets through', () => {
  const frames = make(6);
  virtual(({ cold, expectObservable, flush }) => {
    // the decoder stalls for 200 ms after the first frame, then gives the rest at once
    const source = cold('a 199ms (bcdef|)', {
      a: frames[0],
      b: frames[1],
      c: frames[2],
      d: frames[3],
      e: frames[4],
      f: frames[5],
    });
    expectObservable(shown((source as Observable<Frame>).pipe(paced()))).toBe('a 199ms (ef|)', {
      a: at(0),
      e: at(4, 3),
      f: at(5),
    });
    flush();
  });
  expect(frames.map((frame) => frame.closes)).toEqual([0, 1, 1, 1, 0, 0]);
  virtual(({ cold, expectObservable }) => {
    // every frame comes 100 ms after the one before, 60 ms too late
    const slow = cold('a 99ms b 99ms c 99ms d', { a: fakeFrame(0), b: fakeFrame(1), c: fakeFrame(2), d: fakeFrame(3) });
    expectObservable(shown(slow.pipe(paced()))).toBe('a 299ms d', { a: at(0), d: at(3, 2) });
  });
});

test('a file that starts again starts the clock again', () => {
  virtual(({ expectObservable }) => {
    expectObservable(shown(concat(from(make(2)), of(fakeFrame(0)), EMPTY).pipe(paced()))).toBe('a 39ms (ba|)', {
      a: at(0),
      b: at(1),
    });
  });
});

test('unsubscribing closes what waits', () => {
  const frames = make(3);
  const subscription = concat(from(frames), NEVER).pipe(paced()).subscribe();
  subscription.unsubscribe();
  expect(frames.map((frame) => frame.closes)).toEqual([0, 1, 1]);
});
