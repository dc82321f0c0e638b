import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { oneAtATime } from '../../../../sdk/runtime/budget/devices.js';
import { quantile } from '../../../../sdk/runtime/budget/statistics.js';
import { createLine } from '../../../../sdk/runtime/budget/streams.js';
import type { Resource, Use } from '../../../../sdk/runtime/budget/turns.js';
import { explain } from '../../../../sdk/stream/explain.js';
import { seeded } from '../../../reference/random.js';
import { camera, fakeDevice, fastAndSlow, type Gauge, type Handed, p95, pace, subscribe } from './fake-device.js';

beforeEach(() =>
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }),
);
afterEach(() => vi.useRealTimers());

/** A page with one device of so many units, and a way to open explainers on it. */
function page(units: number) {
  const line = createLine();
  const gauge: Gauge = { running: 0, most: 0 };
  const resource: Resource = { units, heldFor: 2000 };
  const open = (load = () => 1, { threads = 1, answers }: { threads?: number; answers?: () => boolean } = {}) => {
    const own = oneAtATime();
    const uses = (): readonly Use[] => [own, { resource, units: threads }];
    return fakeDevice(load, { line, uses, gauge, ...(answers && { answers }) });
  };
  return { line, gauge, resource, open };
}

/** The load that {@link fastAndSlow} speaks of. */
const fourTimes = () => 4;

const longestGap = (handed: readonly Handed[], from: number) => {
  const times = handed.map(({ at }) => at).filter((at) => at >= from);
  if (times.length < 2) return Number.POSITIVE_INFINITY;
  return Math.max(...times.slice(1).map((at, index) => at - times[index]!));
};

test('three explainers share a GPU: one run at a time, each keeps its budget, their counts are fair', async () => {
  const { open, gauge } = page(1);
  const began = performance.now();
  const streams = [33, 40, 50].map((interval) => subscribe(open(), interval, 160));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(gauge.most).toBe(1);
  const counts = streams.map(({ handed }) => handed.length);
  for (const { handed } of streams) {
    expect(p95(handed, began + 2000)).toBeLessThanOrEqual(160);
    expect(longestGap(handed, began + 2000)).toBeLessThanOrEqual(400);
  }
  // the slowest source has 20 frames a second
  expect(Math.min(...counts)).toBeGreaterThan(200);
  expect(Math.max(...counts) / Math.min(...counts)).toBeLessThan(2);
});

test('what nobody can have alone is shared out: three alike are on one rung, which is better when two have gone', async () => {
  const { open } = page(1);
  const first = subscribe(open(), 40, 48);
  const others = [1, 2].map(() => subscribe(open(), 40, 48));
  await vi.advanceTimersByTimeAsync(10_000);
  const beside = first.handed.at(-1)!.quality!;
  // neither the best for one nor the cheapest for another
  expect(beside.index).toBe(2);
  for (const { handed } of others) {
    expect(handed.at(-1)!.quality!.index).toBe(beside.index);
    expect(handed.length / first.handed.length).toBeGreaterThan(0.9);
  }
  // the wait for the others is part of the age that was predicted, and not of what a run is said to cost
  const now = performance.now();
  expect(beside.predicted).toBeLessThanOrEqual(48);
  expect(p95(first.handed, now - 5000)).toBeLessThanOrEqual(48);
  for (const { subscription, stop } of others) {
    subscription.unsubscribe();
    stop();
  }
  await vi.advanceTimersByTimeAsync(4000);
  expect(first.handed.at(-1)!.quality!.index).toBe(0);
});

const sameExplainer = () => {
  const explainer = fakeDevice(fourTimes);
  return [explainer, explainer] as const;
};
const anotherExplainer = () => {
  const { open } = page(1);
  return [open(fourTimes), open(fourTimes)] as const;
};

test.each([
  ['the same explainer', sameExplainer],
  ['another explainer', anotherExplainer],
])('a stream with time to spare takes no runs that one on %s cannot wait for', async (_, devices) => {
  const { fast, slow } = fastAndSlow(...devices());
  await vi.advanceTimersByTimeAsync(20_000);
  expect(p95(fast.handed, performance.now() - 10_000)).toBeLessThanOrEqual(80);
  expect(slow.handed.length).toBeGreaterThan(30);
  expect(slow.handed.at(-1)!.quality!.index).toBeGreaterThan(0);
  // alone, it would have the best
  fast.subscription.unsubscribe();
  fast.stop();
  await vi.advanceTimersByTimeAsync(6000);
  expect(slow.handed.at(-1)!.quality!.index).toBe(0);
});

test('where each has a core, none is restrained and none waits', async () => {
  const { open, gauge } = page(2);
  const { fast, slow } = fastAndSlow(open(fourTimes), open(fourTimes));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(gauge.most).toBe(2);
  expect(slow.handed.at(-1)!.quality!.index).toBe(0);
  expect(p95(fast.handed, performance.now() - 5000)).toBeLessThanOrEqual(80);
  // it waits for nobody: its age is that of a run, to the clock's millisecond
  expect(p95(slow.handed, 0)).toBeLessThan(fourTimes() * pace * (35 + 103) + 3);
});

test('on two cores three explainers of one thread take turns, two at once, and one of two threads gets both', async () => {
  const { open, gauge } = page(2);
  const singles = [1, 2, 3].map(() => subscribe(open(), 20, 200));
  const double = subscribe(
    open(() => 1, { threads: 2 }),
    50,
    400,
  );
  const began = performance.now();
  await vi.advanceTimersByTimeAsync(15_000);
  expect(gauge.most).toBe(2);
  for (const { handed } of singles) {
    expect(p95(handed, began + 2000)).toBeLessThanOrEqual(200);
    expect(longestGap(handed, began + 2000)).toBeLessThanOrEqual(500);
  }
  expect(p95(double.handed, began + 2000)).toBeLessThanOrEqual(400);
  expect(longestGap(double.handed, began + 2000)).toBeLessThanOrEqual(600);
});

test('a stream without a budget is served beside greedy ones that have one', async () => {
  const { open } = page(1);
  const greedy = [1, 2].map(() =>
    subscribe(
      open(() => 2),
      5,
      100,
    ),
  );
  const plain = subscribe(
    open(() => 2),
    40,
  );
  await vi.advanceTimersByTimeAsync(20_000);
  expect(plain.handed.every(({ quality }) => quality === undefined)).toBe(true);
  expect(longestGap(plain.handed, 0)).toBeLessThanOrEqual(1200);
  expect(plain.handed.length).toBeGreaterThan(15);
  expect(Math.min(...greedy.map(({ handed }) => handed.length))).toBeGreaterThan(100);
});

test('an explainer that never answers costs the others two seconds, and its place is free when it is disposed of', async () => {
  let answers = true;
  const { open, gauge } = page(1);
  const stuck = open(() => 1, { answers: () => answers });
  const [hung, waits] = [subscribe(stuck, 40, 150), subscribe(stuck, 40, 150)];
  const other = subscribe(open(), 40, 150);
  await vi.advanceTimersByTimeAsync(5000);
  answers = false;
  const since = performance.now();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(longestGap(other.handed, since - 1000)).toBeLessThanOrEqual(2200);
  expect(longestGap(other.handed, since + 3000)).toBeLessThanOrEqual(100);
  expect(p95(other.handed, since + 5000)).toBeLessThanOrEqual(150);
  // its own two streams have one place between them, in a worker that hangs
  expect(gauge.most).toBe(2);
  const [before] = [hung, waits].map(({ handed }) => handed.length);
  stuck.end();
  for (const { subscription, stop } of [hung, waits]) {
    subscription.unsubscribe();
    stop();
  }
  const count = other.handed.length;
  await vi.advanceTimersByTimeAsync(2000);
  expect(hung.handed.length).toBe(before);
  expect(other.handed.length - count).toBeGreaterThan(45);
});

test('a run that nobody waits for any more has the device until it is over', async () => {
  const { open, gauge } = page(1);
  const left = subscribe(
    open(() => 20),
    40,
  );
  const other = subscribe(open(), 40);
  await vi.advanceTimersByTimeAsync(100);
  left.subscription.unsubscribe();
  left.stop();
  await vi.advanceTimersByTimeAsync(5000);
  expect(gauge.most).toBe(1);
  expect(other.handed.length).toBeGreaterThan(100);
  expect(left.frames.every(({ closes }) => closes === 1)).toBe(true);
});

test('a frame that cannot be copied gives the device back', async () => {
  const { open } = page(1);
  const explainer = open();
  const image = {
    clone() {
      throw new TypeError('no copies');
    },
  } as unknown as VideoFrame;
  const { frames$, frames } = camera(40, { image });
  const warnings: unknown[] = [];
  const broken = { ...explainer, warn: (warning: unknown) => warnings.push(warning) };
  frames$.pipe(explain(broken, { keepFrame: true })).subscribe();
  const other = subscribe(open(), 40);
  await vi.advanceTimersByTimeAsync(4000);
  expect(warnings.length).toBeGreaterThan(90);
  expect(other.handed.length).toBeGreaterThan(90);
  expect(frames.slice(0, -2).every(({ closes }) => closes === 1)).toBe(true);
});

test('an explainer whose GPU is lost takes turns on the processor from then on', async () => {
  const { line, gauge, resource: gpu } = page(1);
  const cores: Resource = { units: 1, heldFor: 2000 };
  let device = gpu;
  const own = oneAtATime();
  const moving = fakeDevice(() => 1, { line, gauge, uses: () => [own, { resource: device, units: 1 }] });
  const onCpu: Gauge = { running: 0, most: 0 };
  const other = fakeDevice(() => 1, { line, gauge: onCpu, uses: () => [{ resource: cores, units: 1 }] });
  const [first, second] = [subscribe(moving, 40, 120), subscribe(other, 40, 120)];
  await vi.advanceTimersByTimeAsync(3000);
  const before = second.handed.length;
  expect(second.handed.at(-1)!.quality!.index).toBe(0);
  device = cores;
  await vi.advanceTimersByTimeAsync(5000);
  const waits = second.handed.slice(before + 25).filter(({ timing }) => timing.queue > 5).length;
  expect(waits).toBeGreaterThan(20);
  for (const { handed } of [first, second]) {
    expect(p95(handed, performance.now() - 3000)).toBeLessThanOrEqual(120);
    expect(longestGap(handed, 0)).toBeLessThan(400);
  }
});

test('streams that begin at any moment of each other and vary in their runs get their share', async () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const random = seeded(seed);
    const { open, gauge } = page(1);
    const count = 2 + (seed % 3);
    const noisy = () => 1 + 0.4 * random();
    const streams: ReturnType<typeof subscribe>[] = [];
    for (let index = 0; index < count; index++) {
      streams.push(subscribe(open(noisy), 40, 30 * count));
      await vi.advanceTimersByTimeAsync(Math.floor(100 * random()));
    }
    await vi.advanceTimersByTimeAsync(4000);
    const since = performance.now();
    await vi.advanceTimersByTimeAsync(10_000);
    const lately = streams.map(({ handed }) => handed.filter(({ at }) => at >= since));
    const counts = lately.map(({ length }) => length);
    expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThan(0.9);
    const rungs = lately.map((handed) =>
      quantile(
        handed.map(({ quality }) => quality!.index),
        0.5,
      ),
    );
    expect(Math.max(...rungs) - Math.min(...rungs)).toBeLessThanOrEqual(1);
    for (const handed of lately) {
      expect(p95(handed, 0)).toBeLessThanOrEqual(30 * count);
      expect(longestGap(handed, 0)).toBeLessThanOrEqual(250);
    }
    for (const { subscription, stop } of streams) {
      subscription.unsubscribe();
      stop();
    }
    expect(gauge.most).toBe(1);
  }
});
