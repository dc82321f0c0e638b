import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Metrics } from '../../../../sdk/runtime/budget/metrics.js';
import { explain } from '../../../../sdk/stream/explain.js';
import { camera, fakeDevice, p95, pace, subscribe } from './fake-device.js';

beforeEach(() =>
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }),
);
afterEach(() => vi.useRealTimers());

test('two cameras share the device: both keep their budget, neither starves, one run at a time', async () => {
  const explainer = fakeDevice();
  const began = performance.now();
  const first = subscribe(explainer, 33, 120);
  const second = subscribe(explainer, 40, 120);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(explainer.gauge.most).toBe(1);
  for (const { handed } of [first, second]) {
    expect(p95(handed, began + 2000)).toBeLessThanOrEqual(120);
    expect(handed.length).toBeGreaterThan(100);
  }
  const share = first.handed.length / (first.handed.length + second.handed.length);
  expect(share).toBeGreaterThan(0.35);
  expect(share).toBeLessThan(0.65);
});

test('a stream that would fill the device alone does not starve one with a long budget', async () => {
  const explainer = fakeDevice(() => 3);
  const greedy = subscribe(explainer, 5, 100);
  const patient = subscribe(explainer, 100, 1000);
  await vi.advanceTimersByTimeAsync(20_000);
  const times = patient.handed.map(({ at }) => at);
  const gaps = times.slice(1).map((at, index) => at - times[index]!);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(1200);
  expect(p95(patient.handed, 3000)).toBeLessThanOrEqual(1000);
  expect(greedy.handed.length).toBeGreaterThan(patient.handed.length);
});

test('relevance is carried along with its age, and thrown away with the rung', async () => {
  let load = 1;
  const explainer = fakeDevice(() => load);
  const { handed, frames } = subscribe(explainer, 40, 100);
  await vi.advanceTimersByTimeAsync(2000);
  expect(handed.every(({ quality }) => quality!.index === 0)).toBe(true);
  for (const { timestamp, relevance, quality, own } of handed) {
    expect(relevance.image!.data[0]).toBe(Math.fround(timestamp));
    expect(quality!.relevance).toMatchObject({ timestamp });
    expect(quality!.relevance!.age).toBeCloseTo(own, 5);
  }
  load = 4.2;
  await vi.advanceTimersByTimeAsync(8000);
  const carried = handed.slice(-40);
  expect(carried.map(({ quality }) => quality!.rung)).toEqual(carried.map(() => 'every 4th'));
  const ages = carried.map(({ timestamp, quality }) => (timestamp - quality!.relevance!.timestamp) / 40_000);
  expect([...new Set(ages)].sort()).toEqual([0, 1, 2, 3]);
  for (const { relevance, quality, own } of carried) {
    expect(relevance.image!.data[0]).toBe(Math.fround(quality!.relevance!.timestamp));
    expect(quality!.relevance!.age).toBeGreaterThanOrEqual(own - 1e-6);
  }
  load = 7;
  await vi.advanceTimersByTimeAsync(2000);
  expect(handed.at(-1)!.quality).toMatchObject({ rung: 'forward only', index: 4 });
  expect(handed.at(-1)!.quality!.relevance).toBeUndefined();
  expect(handed.at(-1)!.relevance).toEqual({});
  expect(frames.slice(0, -2).every(({ closes }) => closes === 1)).toBe(true);
});

test('carried relevance is given back with the last explanation that has it, when the stream has other', async () => {
  const explainer = fakeDevice(() => 4.2);
  const { handed, subscription } = subscribe(explainer, 40, 100);
  await vi.advanceTimersByTimeAsync(10_000);
  const explained = handed.findLastIndex(({ timestamp, quality }, index) => {
    return index < handed.length - 5 && quality!.relevance!.timestamp === timestamp;
  });
  const [own, ...others] = handed.slice(explained, explained + 4);
  expect(others.map(({ quality }) => quality!.relevance!.timestamp)).toEqual(others.map(() => own!.timestamp));
  own!.release();
  for (const { release, timestamp } of others.slice(1)) {
    release();
    release();
    expect(explainer.released.filter((one) => one === timestamp)).toHaveLength(1);
  }
  expect(explainer.released).not.toContain(own!.timestamp);
  others[0]!.release();
  expect(explainer.released.filter((one) => one === own!.timestamp)).toHaveLength(1);
  // what the stream itself carries is given back when it ends
  const newest = handed.at(-1)!;
  for (const { release } of handed) release();
  expect(explainer.released).not.toContain(newest.quality!.relevance!.timestamp);
  subscription.unsubscribe();
  expect(explainer.released).toContain(newest.quality!.relevance!.timestamp);
  expect(new Set(explainer.released).size).toBe(explainer.released.length);
});

test('what is drawn where it is computed has relevance on every frame or on none', async () => {
  const explainer = fakeDevice(() => 4.2);
  const { frames$, frames } = camera(40);
  const rungs = new Set<string>();
  frames$.pipe(explain(explainer, { budgetMs: 100, draw: {} })).subscribe(({ quality }) => rungs.add(quality!.rung));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(frames.length).toBeGreaterThan(200);
  expect(rungs).toContain('forward only');
  expect(rungs).not.toContain('every 4th');
});

test('metrics say what goes in, what comes out, what was dropped and why this rung', async () => {
  const explainer = fakeDevice(() => 5);
  const seen: Metrics[] = [];
  explainer.metrics$.subscribe((metrics) => seen.push(metrics));
  const { handed, frames, subscription } = subscribe(explainer, 20, 70);
  await vi.advanceTimersByTimeAsync(6000);
  expect(seen.length).toBeGreaterThan(15);
  expect(seen.length).toBeLessThanOrEqual(25);
  const { streams } = seen.at(-1)!;
  const [stream] = streams;
  expect(stream!.fpsIn).toBeCloseTo(50, -1);
  expect(stream!.fpsOut).toBeGreaterThan(5);
  expect(stream!.rung).toMatchObject({ index: 4, name: 'forward only', budgetMs: 70 });
  const { superseded, stale, source, failed } = stream!.dropped;
  expect(superseded).toBeGreaterThan(0);
  expect([source, failed]).toEqual([0, 0]);
  expect(superseded + stale + stream!.explained).toBeGreaterThan(frames.length - 20);
  expect(stream!.stages.forward.p50).toBeCloseTo(5 * pace * 35, 3);
  expect(stream!.stages.backward.p50).toBe(0);
  const told = handed.reduce((sum, { dropped }) => sum + dropped + 1, 0);
  expect(told).toBeGreaterThan(frames.length - 20);
  subscription.unsubscribe();
  expect(explainer.hasBudget()).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  expect(frames.every(({ closes }) => closes <= 1)).toBe(true);
});

test('unsubscribing while waiting for the device gives the place up', async () => {
  const explainer = fakeDevice(() => 10);
  const first = subscribe(explainer, 50, 100);
  const second = subscribe(explainer, 50, 100);
  await vi.advanceTimersByTimeAsync(1030);
  second.subscription.unsubscribe();
  second.stop();
  const before = first.handed.length;
  await vi.advanceTimersByTimeAsync(3000);
  expect(first.handed.length).toBeGreaterThan(before + 5);
  expect(second.frames.every(({ closes }) => closes === 1)).toBe(true);
});

test('without a budget nothing is left out, and the turns are fair all the same', async () => {
  const explainer = fakeDevice(() => 4);
  const first = subscribe(explainer, 40);
  const second = subscribe(explainer, 40);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(first.handed.every(({ quality, relevance }) => quality === undefined && 'image' in relevance)).toBe(true);
  expect(Math.abs(first.handed.length - second.handed.length)).toBeLessThanOrEqual(1);
});
