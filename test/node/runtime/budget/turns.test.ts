import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { oneAtATime, shareOf } from '../../../../sdk/runtime/budget/devices.js';
import { createTurns, type Resource, type Turn, type Use } from '../../../../sdk/runtime/budget/turns.js';
import { seeded } from '../../../reference/random.js';

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => vi.useRealTimers());

const of = (units: number, heldFor = Number.POSITIVE_INFINITY): Resource => ({ units, heldFor });
const some = (resource: Resource, units = 1): Use => ({ resource, units });

/** Takes a turn that notes its name when it is granted. */
function noting(order: string[], turns: ReturnType<typeof createTurns>) {
  return (name: string, deadline: number, ...uses: readonly Use[]): Turn => {
    const turn = turns.take(deadline, uses);
    if (turn.granted === undefined) order.push(name);
    else void turn.granted.then(() => order.push(name));
    return turn;
  };
}

const settled = () => vi.advanceTimersByTimeAsync(0);

test('the earliest deadline is next, equal ones in order of arrival', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const device = some(of(1));
  const named = { first: 9, late: 5, early: 1, equal: 5 };
  const turns = Object.entries(named).map(([name, deadline]) => take(name, deadline, device));
  for (const index of [0, 2, 1, 3]) {
    await settled();
    turns[index]!.end();
  }
  expect(order).toEqual(['first', 'early', 'late', 'equal']);
});

test('on four cores runs of one and two threads go on together, and one of four is not overtaken for ever', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const cores = of(4);
  const one = take('one', 1, some(cores));
  const two = take('two', 2, some(cores, 2));
  // more threads than cores are all of the cores
  const all = take('all', 3, some(cores, 8));
  const later = take('later', 4, some(cores));
  expect(order).toEqual(['one', 'two']);
  two.end();
  await settled();
  // a core is free, but it is what the earlier one waits for
  expect(order).toEqual(['one', 'two']);
  one.end();
  await settled();
  expect(order).toEqual(['one', 'two', 'all']);
  all.end();
  await settled();
  expect(order).toEqual(['one', 'two', 'all', 'later']);
  later.end();
});

test('whoever waits for something else is passed by', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const [cores, worker, other] = [of(2), of(1), of(1)];
  const first = take('first', 1, some(worker), some(cores));
  take('the same worker', 2, some(worker), some(cores));
  take('another worker', 3, some(other), some(cores));
  expect(order).toEqual(['first', 'another worker']);
  first.end();
  await settled();
  expect(order).toEqual(['first', 'another worker', 'the same worker']);
});

test('two who need the same two things do not pass a third one by for ever', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const [a, b] = [of(1), of(1)];
  let holdsA = take('a', 1, some(a));
  let holdsB = take('b', 2, some(b));
  const both = take('both', 3, some(a), some(b));
  for (let round = 0; round < 3 && !order.includes('both'); round++) {
    const next = take('a again', 10 + round, some(a));
    holdsA.end();
    holdsA = next;
    await settled();
    const after = take('b again', 10 + round, some(b));
    holdsB.end();
    holdsB = after;
    await settled();
  }
  expect(order).toEqual(['a', 'b', 'both']);
  both.end();
  await settled();
  expect(order.slice(3)).toEqual(['a again', 'b again']);
});

test('one that never gives the device back loses it after its time, once', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const device = some(of(1, 2000));
  const hung = take('hung', 1, device);
  const second = take('second', 2, device);
  const third = take('third', 3, device);
  await vi.advanceTimersByTimeAsync(1999);
  expect(order).toEqual(['hung']);
  await vi.advanceTimersByTimeAsync(1);
  expect(order).toEqual(['hung', 'second']);
  // what was taken from it is not given back a second time
  hung.end();
  await settled();
  expect(order).toEqual(['hung', 'second']);
  second.end();
  await settled();
  expect(order).toEqual(['hung', 'second', 'third']);
  third.end();
  expect(vi.getTimerCount()).toBe(0);
});

test('a place that is given up is passed by, and its wait ends', async () => {
  const order: string[] = [];
  const take = noting(order, createTurns());
  const device = some(of(1));
  const first = take('first', 1, device);
  const leaving = take('leaving', 2, device);
  take('third', 3, device);
  leaving.end();
  leaving.end();
  await leaving.granted;
  expect(order).toEqual(['first', 'leaving']);
  first.end();
  await settled();
  expect(order).toEqual(['first', 'leaving', 'third']);
});

test('random runs: never more than there is, always the earliest of those who could run, everyone in the end', async () => {
  const random = seeded(5);
  const turns = createTurns();
  const cores = of(4);
  const workers = Array.from({ length: 5 }, () => of(1));
  const running = new Set<{ worker: Resource; threads: number; end: () => void }>();
  const waiting = new Set<{ deadline: number; worker: Resource; threads: number }>();
  let [taken, most, granted, overtaken] = [0, 0, 0, 0];
  const begin = (deadline: number) => {
    const worker = workers[Math.floor(random() * workers.length)]!;
    const threads = 1 + Math.floor(random() * 4);
    const place = { deadline, worker, threads };
    waiting.add(place);
    const turn = turns.take(deadline, [some(worker), some(cores, threads)]);
    const run = () => {
      waiting.delete(place);
      granted++;
      taken += threads;
      most = Math.max(most, taken);
      const isBusy = (one: Resource) => [...running].some((other) => other.worker === one);
      expect(isBusy(worker)).toBe(false);
      // one that waited longer is passed by only for the sake of its worker
      for (const other of waiting) {
        if (other.deadline < deadline && other.worker !== worker && !isBusy(other.worker)) overtaken++;
      }
      const started = {
        worker,
        threads,
        end() {
          running.delete(started);
          taken -= threads;
          turn.end();
        },
      };
      running.add(started);
    };
    if (turn.granted === undefined) run();
    else void turn.granted.then(run);
  };
  for (let time = 0; time < 2000; time++) {
    begin(time + Math.floor(random() * 50));
    await settled();
    while (running.size > 0 && waiting.size > 10) {
      [...running][Math.floor(random() * running.size)]!.end();
      await settled();
    }
  }
  while (running.size > 0) {
    [...running][0]!.end();
    await settled();
  }
  expect([most, granted, waiting.size]).toEqual([4, 2000, 0]);
  expect(overtaken).toBe(0);
});

test('a run takes the GPU, or a core for each of its threads; an explainer runs one at a time for as long as it takes', () => {
  const gpu = shareOf({ device: 'webgpu', threads: 4 });
  expect(gpu.units).toBe(1);
  expect(gpu.resource).toMatchObject({ units: 1, heldFor: 2000 });
  expect(shareOf({ device: 'webgpu', threads: 1 }).resource).toBe(gpu.resource);
  const cpu = shareOf({ device: 'wasm', threads: 3 });
  expect(cpu.units).toBe(3);
  vi.stubGlobal('navigator', { hardwareConcurrency: 6 });
  expect(cpu.resource).toMatchObject({ units: 6, heldFor: 2000 });
  vi.unstubAllGlobals();
  expect(oneAtATime().resource).toEqual({ units: 1, heldFor: Number.POSITIVE_INFINITY });
  expect(oneAtATime().resource).not.toBe(oneAtATime().resource);
});
