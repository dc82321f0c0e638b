import { BehaviorSubject, from, of, Subject, throwError } from 'rxjs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import type { DrawOptions } from '../../../sdk/runtime/drawing.js';
import type { ExplainFrameOptions } from '../../../sdk/runtime/explainer.js';
import type { Explanation } from '../../../sdk/runtime/explanation.js';
import type { Target } from '../../../sdk/runtime/target.js';
import type { Frame } from '../../../sdk/sources/frame.js';
import { framesOf } from '../../../sdk/sources/source.js';
import { explain } from '../../../sdk/stream/explain.js';
import { type FakeFrame, fakeExplanation, fakeFrame, fakeSource, settle } from './frames.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** An explainer that takes `cost` ms per frame, closes it on arrival as the real one does, and fails where it is told to. */
function fakeExplainer(cost: number, failAt: Readonly<Record<number, WhylightError>> = {}) {
  const targets: (Target | undefined)[] = [];
  const warnings: string[] = [];
  let running = 0;
  let most = 0;
  return {
    targets,
    warnings,
    most: () => most,
    warn: (warning: WhylightError) => warnings.push(warning.code),
    async explainFrame(frame: Frame, options: ExplainFrameOptions = {}): Promise<Explanation> {
      targets.push(options.target);
      most = Math.max(most, ++running);
      frame.close();
      await new Promise((resolve) => setTimeout(resolve, cost));
      running--;
      const failure = failAt[frame.timestamp / 40_000];
      if (failure !== undefined) throw failure;
      return fakeExplanation(frame);
    },
  };
}

/** What came out, as `index+dropped`, `|` for the end and the code of an error. */
function record(seen: string[]) {
  return {
    next: ({ timestamp, dropped }: Explanation) => {
      seen.push(`${timestamp / 40_000}+${dropped}`);
    },
    error: (error: WhylightError) => {
      seen.push(error.code);
    },
    complete: () => {
      seen.push('|');
    },
  };
}

/** Live frames every 40 ms. */
function live(frames: readonly Frame[]) {
  const subject = new Subject<Frame>();
  const play = async () => {
    for (const frame of frames) {
      subject.next(frame);
      await vi.advanceTimersByTimeAsync(40);
    }
    subject.complete();
    await vi.advanceTimersByTimeAsync(10_000);
  };
  return { subject, play };
}

const make = (count: number) => Array.from({ length: count }, (_, index) => fakeFrame(index));
const closes = (frames: readonly FakeFrame[]) => frames.map((frame) => frame.closes);
const failed = () => new WhylightError('FRAME_FAILED', 'The frame could not be drawn.');

test('live: the newest frame waits, those it supersedes are closed and counted', async () => {
  const frames = make(8);
  const { subject, play } = live(frames);
  const explainer = fakeExplainer(100);
  const seen: string[] = [];
  subject.pipe(explain(explainer)).subscribe(record(seen));
  await play();
  // 0 runs until 100, when 2 waits; 2 until 200, when 5 (arrived at 200) or 4 waits …
  expect(seen).toEqual(['0+0', '2+1', '4+1', '7+2', '|']);
  expect(closes(frames)).toEqual(frames.map(() => 1));
  expect(explainer.most()).toBe(1);
});

test('live: what the source dropped is told as well', async () => {
  const frames = [fakeFrame(0), fakeFrame(1, { dropped: 3 }), fakeFrame(2, { dropped: 1 })];
  const seen: string[] = [];
  from(frames)
    .pipe(explain(fakeExplainer(10)))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(100);
  expect(seen).toEqual(['0+0', '2+5', '|']);
});

test('live: a frame that fails is a warning and a drop, and the stream goes on', async () => {
  const frames = make(5);
  const { subject, play } = live(frames);
  const explainer = fakeExplainer(10, { 1: failed(), 2: failed() });
  const seen: string[] = [];
  subject.pipe(explain(explainer)).subscribe(record(seen));
  await play();
  expect(seen).toEqual(['0+0', '3+2', '4+0', '|']);
  expect(explainer.warnings).toEqual(['FRAME_FAILED', 'FRAME_FAILED']);
  expect(closes(frames)).toEqual([1, 1, 1, 1, 1]);
});

test('live: an error that is not the frame’s own ends the stream, and what waits is closed', async () => {
  const frames = make(4);
  const gone = new WhylightError('WORKER_FAILED', 'The worker stopped.');
  const seen: string[] = [];
  from(frames)
    .pipe(explain(fakeExplainer(100, { 0: gone })))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen).toEqual(['WORKER_FAILED']);
  expect(closes(frames)).toEqual([1, 1, 1, 1]);
});

test('file: every frame is explained, in order, while the source is held back', async () => {
  const frames = make(20);
  const { source, state } = fakeSource('file', frames);
  const seen: string[] = [];
  framesOf(source)
    .pipe(explain(fakeExplainer(100)))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(250);
  // two are done, one runs, two wait: the file has not been read further
  expect(seen).toEqual(['0+0', '1+0']);
  expect(state.pulled).toBeLessThanOrEqual(5);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(seen).toEqual([...frames.map((_, index) => `${index}+0`), '|']);
  expect(closes(frames)).toEqual(frames.map(() => 1));
});

test('lossless: a plain Observable is queued, and a failing frame ends it after what was already explained', async () => {
  const frames = make(6);
  const seen: string[] = [];
  from(frames)
    .pipe(explain(fakeExplainer(10, { 3: failed() }), { flow: 'lossless' }))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen).toEqual(['0+0', '1+0', '2+0', 'FRAME_FAILED']);
  expect(closes(frames)).toEqual(frames.map(() => 1));
});

test('latest can be asked for on a file', async () => {
  const frames = make(3);
  const seen: string[] = [];
  framesOf(fakeSource('file', frames).source, { ahead: 3 })
    .pipe(explain(fakeExplainer(100), { flow: 'latest' }))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen).toEqual(['0+0', '2+1', '|']);
  expect(closes(frames)).toEqual([1, 1, 1]);
});

test('when the source fails, the frames that it gave are explained first', async () => {
  const frames = make(3);
  const { source } = fakeSource('file', frames, new WhylightError('MEDIA_CORRUPT', 'The file ends early.'));
  const seen: string[] = [];
  framesOf(source)
    .pipe(explain(fakeExplainer(50)))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen).toEqual(['0+0', '1+0', '2+0', 'MEDIA_CORRUPT']);
});

test('unsubscribing closes what waits, ignores what runs, and stops the source', async () => {
  const frames = make(10);
  const { source, state } = fakeSource('file', frames);
  const seen: string[] = [];
  const subscription = framesOf(source)
    .pipe(explain(fakeExplainer(100)))
    .subscribe(record(seen));
  await vi.advanceTimersByTimeAsync(150);
  subscription.unsubscribe();
  await vi.advanceTimersByTimeAsync(1000);
  expect(seen).toEqual(['0+0']);
  expect(state.aborted).toBe(true);
  expect(closes(frames)).toEqual(frames.map((_, index) => (index < state.pulled ? 1 : 0)));
});

test('a synchronous source that is heard to its end after an error leaks nothing', async () => {
  const frames = make(5);
  const target = throwError(() => new WhylightError('OPTION_INVALID', 'no'));
  const seen: string[] = [];
  from(frames)
    .pipe(explain(fakeExplainer(1), { target }))
    .subscribe(record(seen));
  await settle();
  expect(seen).toEqual(['OPTION_INVALID']);
  // the source was never subscribed: its frames are still its own
  expect(closes(frames)).toEqual([0, 0, 0, 0, 0]);
});

test('the target may change between frames', async () => {
  const explainer = fakeExplainer(10);
  const target = new BehaviorSubject<Target>('cat');
  const { subject, play } = live(make(4));
  subject.pipe(explain(explainer, { target })).subscribe();
  setTimeout(() => target.next([1, 2]), 50);
  await play();
  expect(explainer.targets).toEqual(['cat', 'cat', [1, 2], [1, 2]]);
});

test('before the first target it is the strongest output', async () => {
  const explainer = fakeExplainer(1);
  of(fakeFrame(0))
    .pipe(explain(explainer, { target: new Subject<Target>() }))
    .subscribe();
  await vi.advanceTimersByTimeAsync(10);
  expect(explainer.targets).toEqual(['strongest']);
});

test('keepFrame gives the frame to the subscriber, who closes it', async () => {
  const frames = make(3);
  const kept: Frame[] = [];
  framesOf(fakeSource('file', frames).source)
    .pipe(explain(fakeExplainer(10), { keepFrame: true }))
    .subscribe(({ picture }) => {
      if (picture !== undefined) kept.push(picture);
    });
  await vi.advanceTimersByTimeAsync(1000);
  // two pictures are held: the file waits
  expect(kept.length).toBe(2);
  expect(closes(frames)).toEqual([0, 0, 0]);
  for (const picture of kept) picture.close();
  await vi.advanceTimersByTimeAsync(1000);
  kept[2]?.close();
  expect(closes(frames)).toEqual([1, 1, 1]);
});

test('keepFrame closes the picture of a frame that fails or that nobody waits for any more', async () => {
  const frames = make(3);
  const { subject, play } = live(frames);
  const subscription = subject
    .pipe(explain(fakeExplainer(30, { 0: failed() }), { keepFrame: true }))
    .subscribe(() => subscription.unsubscribe());
  setTimeout(() => subscription.unsubscribe(), 50);
  await play();
  expect(closes(frames)).toEqual([1, 1, 0]);
});

test('how frames are drawn may change between them; a drawing that nobody waits for any more is closed', async () => {
  const asked: ExplainFrameOptions[] = [];
  const drawings: { closes: number }[] = [];
  const explainer = {
    async explainFrame(frame: Frame, options: ExplainFrameOptions = {}): Promise<Explanation> {
      asked.push(options);
      frame.close();
      await new Promise((resolve) => setTimeout(resolve, 30));
      const drawing = { closes: 0, close: () => drawing.closes++ };
      drawings.push(drawing);
      return { ...fakeExplanation(frame), drawing: drawing as unknown as ImageBitmap };
    },
  };
  const draw = new BehaviorSubject<DrawOptions>({ mode: 'tint' });
  const { subject, play } = live(make(3));
  const subscription = subject.pipe(explain(explainer, { draw, numbers: false })).subscribe();
  setTimeout(() => draw.next({ mode: 'heatmap' }), 50);
  setTimeout(() => subscription.unsubscribe(), 90);
  await play();
  expect(asked.map(({ draw, numbers }) => [draw?.mode, numbers])).toEqual([
    ['tint', false],
    ['tint', false],
    ['heatmap', false],
  ]);
  // the first two went to the subscriber, whose they are
  expect(drawings.map(({ closes }) => closes)).toEqual([0, 0, 1]);
});

test('waiting in line is part of queue and total', async () => {
  let clock = 0;
  const timings: Explanation['timing'][] = [];
  from(make(2))
    .pipe(
      explain(
        {
          explainFrame: async (frame) => {
            frame.close();
            await Promise.resolve();
            clock += 70;
            return fakeExplanation(frame);
          },
        },
        { now: () => clock },
      ),
    )
    .subscribe(({ timing }) => timings.push(timing));
  await settle();
  expect(timings.map(({ queue, total }) => [queue, total])).toEqual([
    [0, 0],
    [70, 70],
  ]);
});
