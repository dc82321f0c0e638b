import { Subject } from 'rxjs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { oneAtATime } from '../../../sdk/runtime/budget/devices.js';
import type { Graphs } from '../../../sdk/runtime/budget/lane.js';
import { createStreams } from '../../../sdk/runtime/budget/streams.js';
import type { Explainer, ExplainFrameOptions } from '../../../sdk/runtime/explainer.js';
import type { Explanation } from '../../../sdk/runtime/explanation.js';
import type { Frame } from '../../../sdk/sources/frame.js';
import { explain } from '../../../sdk/stream/explain.js';
import { explainerPair, type PairedExplanation } from '../../../sdk/stream/explainer-pair.js';
import { fakeExplanation, fakeFrame } from './frames.js';

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => vi.useRealTimers());

const report = {
  layers: [],
  inputs: [{ name: 'image', shape: [1, 1, 2, 2] }],
  explained: { output: 'logits', logits: 'logits', shape: [1, 3] },
  forward: 10,
  backward: 30,
  offGpu: [],
  notes: [],
  steps: [],
};

/** An explainer on a fake device: milliseconds of the model, and three times as many of its relevance. */
function fakeExplainer(forward: () => number, sign = 1): Explainer {
  const own = oneAtATime();
  const explainer: Partial<Explainer> = {
    report,
    metadata: { labels: [], input: { layout: 'NCHW', height: 2, width: 2 } } as unknown as Explainer['metadata'],
    memory: { heap: 5, wasm: 10, gpu: 1, workers: 1, frames: 0, tensors: 0 },
    uses: () => [own],
    // a pair explains frame by frame, whatever streams the two have of their own
    openStream: () => expect.unreachable(),
    async explainFrame(frame: Frame, { relevance = true }: ExplainFrameOptions = {}) {
      const inference = forward() * (relevance ? 4 : 1);
      frame.close();
      await new Promise((resolve) => setTimeout(resolve, inference));
      const explanation = fakeExplanation(frame);
      return {
        ...explanation,
        age: performance.now() - frame.captured,
        timing: { ...explanation.timing, inference, total: inference },
        relevance: relevance
          ? { image: { dims: [1, 1, 2, 2], data: Float32Array.of(1, 2, 3, sign * (frame.timestamp / 1e6)) } }
          : {},
      };
    },
  };
  return explainer as Explainer;
}

/** 25 frames a second for so many milliseconds; `open` counts pictures, with their copies. */
async function play(
  pair: Parameters<typeof explain<PairedExplanation<Explanation>>>[0],
  budgetMs: number,
  milliseconds: number,
) {
  const frames$ = new Subject<Frame>();
  const handed: PairedExplanation<Explanation>[] = [];
  const pictures = { open: 0 };
  const subscription = frames$.pipe(explain(pair, { budgetMs })).subscribe((explanation) => handed.push(explanation));
  const picture = (): VideoFrame => {
    pictures.open++;
    return { clone: picture, close: () => pictures.open-- } as unknown as VideoFrame;
  };
  for (let index = 0; index < milliseconds / 40; index++) {
    const image = picture();
    const close = () => image.close();
    frames$.next(fakeFrame(index, { captured: performance.now(), image, close }));
    await vi.advanceTimersByTimeAsync(40);
  }
  subscription.unsubscribe();
  await vi.advanceTimersByTimeAsync(1000);
  return { handed, pictures };
}

test('a frame of a pair is as old as the second explanation, and the budget holds for that', async () => {
  const pair = explainerPair(
    fakeExplainer(() => 3),
    fakeExplainer(() => 2, -1),
    { lead: 'compared' },
  );
  const seen: number[] = [];
  pair.metrics$.subscribe(({ streams, memory }) => {
    expect(memory).toEqual({ heap: 5, wasm: 20, gpu: 2, workers: 2, frames: 0, tensors: 0 });
    seen.push(streams[0]!.age.p95);
  });
  const { handed, pictures } = await play(pair, 60, 2000);
  expect(handed).toHaveLength(50);
  for (const { age, timing, comparison, quality, timestamp } of handed) {
    expect([age, timing.inference]).toEqual([20, 20]);
    expect(quality).toMatchObject({ rung: 'both by LRP', index: 0, rungs: 3, budgetMs: 60 });
    expect(comparison!.reference.timestamp).toBe(timestamp);
    expect(comparison!.drift.map.cosine).toBeLessThan(1.01);
  }
  expect(seen.length).toBeGreaterThan(5);
  expect(seen.at(-1)).toBe(20);
  expect(pictures.open).toBe(0);
});

test('where both do not fit, the comparison is carried along with its relevance, or left out', async () => {
  let load = 2.5;
  const pair = () =>
    explainerPair(
      fakeExplainer(() => 3 * load),
      fakeExplainer(() => 2 * load),
    );
  // 50 ms of LRP for every frame would make the next ones wait
  const sometimes = await play(pair(), 70, 6000);
  const later = sometimes.handed.slice(-60);
  expect(new Set(later.map(({ quality }) => quality!.rung))).toEqual(new Set(['both by LRP on every 4th frame']));
  expect(later.filter(({ age }) => age > 70).length).toBeLessThanOrEqual(3);
  for (const { comparison, quality, relevance } of later) {
    expect(comparison!.compared.timestamp).toBe(quality!.relevance!.timestamp);
    expect(comparison!.reference.relevance).toEqual(relevance);
  }
  expect(later.filter(({ comparison, timestamp }) => comparison!.compared.timestamp === timestamp)).toHaveLength(15);
  // not even now and then
  load = 5;
  const never = await play(pair(), 70, 6000);
  const last = never.handed.slice(-20);
  for (const { quality, comparison, relevance, age } of last) {
    expect(quality!.rung).toBe('both forward only');
    expect([comparison, relevance]).toEqual([undefined, {}]);
    expect(age).toBeLessThanOrEqual(70);
  }
  expect([sometimes.pictures.open, never.pictures.open]).toEqual([0, 0]);
});

test('a pair takes turns with the streams of its two models and with other explainers on the device', async () => {
  const [reference, compared] = [fakeExplainer(() => 3), fakeExplainer(() => 3, -1)];
  const pair = explainerPair(reference, compared);
  const [device] = reference.uses();
  // the page's own line, in which pairs stand
  const streams = createStreams({
    graphs: () => lonelyGraphs,
    memory: () => reference.memory,
    uses: () => [device!],
  });
  let [running, overlaps] = [0, 0];
  const counted = async <Result>(run: () => Promise<Result>): Promise<Result> => {
    if (++running > 1) overlaps++;
    return run().finally(() => running--);
  };
  const lonelyGraphs: Graphs = {
    ladder: { rungs: [{ name: 'all', graph: 'all', every: 1, forward: 1, backward: 1 }], forms: new Map() },
    isBuilt: () => true,
    build: () => undefined,
    calibrate: () => Promise.resolve(),
    calibrations: new Map(),
    explain: (_, frame) => counted(() => reference.explainFrame(frame)),
  };
  const explained = { pair: 0, alone: 0 };
  const frames$ = new Subject<Frame>();
  const ofPair = pair.openStream({ budgetMs: () => undefined });
  const subscriptions = [
    frames$
      .pipe(
        explain({
          ...pair,
          openStream: () => ({
            ...ofPair,
            explainFrame: (frame, options) => counted(() => ofPair.explainFrame(frame, options)),
          }),
        }),
      )
      .subscribe(() => explained.pair++),
    frames$
      .pipe(explain({ explainFrame: () => expect.unreachable(), openStream: streams.open }))
      .subscribe(() => explained.alone++),
  ];
  for (let index = 0; index < 50; index++) {
    const image = { clone: () => image, close: () => undefined } as unknown as VideoFrame;
    frames$.next(fakeFrame(index, { captured: performance.now(), image }));
    await vi.advanceTimersByTimeAsync(40);
  }
  for (const subscription of subscriptions) subscription.unsubscribe();
  expect(overlaps).toBe(0);
  expect(explained.pair).toBeGreaterThan(45);
  expect(explained.alone).toBeGreaterThan(45);
});
