import type { CDPSession, Page } from 'playwright-core';
import { quantile } from '../../sdk/runtime/budget/statistics.js';

/** Something that can be asked over the DevTools protocol: a page, or one of its workers. */
interface Target {
  readonly name: string;
  send(method: string, parameters?: object): Promise<unknown>;
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** microseconds, of complete events only */
  readonly dur?: number;
  readonly args?: { readonly name?: string };
}

interface SamplingProfile {
  readonly samples: readonly { readonly size: number }[];
}

/** A page and its workers, those that are still to come included. */
export interface Targets {
  readonly page: Page;
  readonly devtools: CDPSession;
  all(): readonly Target[];
}

/** Attaches to a page before any worker is started. */
export async function openTargets(page: Page): Promise<Targets> {
  const devtools = await page.context().newCDPSession(page);
  const workers = new Map<string, Target>();
  const answers = new Map<number, (result: unknown) => void>();
  let asked = 0;
  devtools.on('Target.attachedToTarget', ({ sessionId, targetInfo }) => {
    workers.set(sessionId, {
      name: new URL(targetInfo.url).pathname.split('/').at(-1)!,
      send: (method, params = {}) =>
        new Promise((resolve) => {
          const id = ++asked;
          answers.set(id, resolve);
          const message = JSON.stringify({ id, method, params });
          void devtools.send('Target.sendMessageToTarget', { sessionId, message });
        }),
    });
  });
  devtools.on('Target.detachedFromTarget', ({ sessionId }) => workers.delete(sessionId));
  devtools.on('Target.receivedMessageFromTarget', ({ message }) => {
    const { id, result } = JSON.parse(message) as { readonly id?: number; readonly result?: unknown };
    if (id === undefined) return;
    answers.get(id)?.(result);
    answers.delete(id);
  });
  // not flattened: so messages for workers go over the page's own session
  await devtools.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  await devtools.send('Performance.enable');
  const ofPage: Target = {
    name: 'page',
    send: (method, parameters) => devtools.send(method as never, parameters as never),
  };
  return { page, devtools, all: () => [ofPage, ...workers.values()] };
}

/** What frames cost the main thread. */
export interface MainThread {
  /** milliseconds of its tasks per frame, median of the seconds; longer where others compute beside it */
  readonly tasks: number;
  /** milliseconds per frame by the processor's clock, all of the thread's work included, median of the seconds */
  readonly cpu: number;
}

/** Measures a page that is left alone for so many seconds; `frames` tells how many frames have been done so far. */
export async function mainThread(
  { page, devtools }: Targets,
  frames: () => Promise<number>,
  seconds: number,
): Promise<MainThread> {
  const measure = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    const of = (name: string) => 1000 * metrics.find((metric) => metric.name === name)!.value;
    return { frames: await frames(), tasks: of('TaskDuration'), cpu: of('ThreadTime') };
  };
  const bySecond: MainThread[] = [];
  let before = await measure();
  for (let second = 0; second < seconds; second++) {
    await page.waitForTimeout(1000);
    const after = await measure();
    const count = after.frames - before.frames;
    // a device that takes longer than a second for one
    if (count === 0) continue;
    bySecond.push({ tasks: (after.tasks - before.tasks) / count, cpu: (after.cpu - before.cpu) / count });
    before = after;
  }
  return {
    tasks: quantile(
      bySecond.map(({ tasks }) => tasks),
      0.5,
    ),
    cpu: quantile(
      bySecond.map(({ cpu }) => cpu),
      0.5,
    ),
  };
}

/**
 * Bytes that every thread allocates per frame on its JavaScript heap, collected ones included, by the sampling heap profiler. What
 * typed arrays hold lies outside of the heap.
 */
export async function allocations(
  { page, all }: Targets,
  frames: () => Promise<number>,
  seconds: number,
): Promise<Readonly<Record<string, number>>> {
  const targets = all();
  for (const target of targets) {
    await target.send('HeapProfiler.startSampling', {
      samplingInterval: 4096,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
  }
  const before = await frames();
  await page.waitForTimeout(1000 * seconds);
  const count = (await frames()) - before;
  const heap: Record<string, number> = {};
  for (const target of targets) {
    const { profile } = (await target.send('HeapProfiler.stopSampling')) as { readonly profile: SamplingProfile };
    const bytes = profile.samples.reduce((sum, { size }) => sum + size, 0);
    heap[target.name] = (heap[target.name] ?? 0) + bytes / count;
  }
  return heap;
}

/** Milliseconds of the longest task on the page's main thread, from a trace. */
export async function longestTask({ page, devtools }: Targets, seconds: number): Promise<number> {
  const events: TraceEvent[] = [];
  const collect = ({ value }: { readonly value: readonly object[] }) => {
    events.push(...(value as readonly TraceEvent[]));
  };
  devtools.on('Tracing.dataCollected', collect);
  const complete = new Promise<void>((resolve) => {
    devtools.once('Tracing.tracingComplete', () => resolve());
  });
  await devtools.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['toplevel'] },
  });
  await page.waitForTimeout(1000 * seconds);
  await devtools.send('Tracing.end');
  await complete;
  devtools.off('Tracing.dataCollected', collect);
  const threads = events
    .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
    .map(({ pid, tid }) =>
      events.flatMap((event) =>
        event.pid === pid && event.tid === tid && event.ph === 'X' && event.name.endsWith('RunTask')
          ? [event.dur ?? 0]
          : [],
      ),
    );
  // the browser's other pages idle
  const sum = (tasks: readonly number[]) => tasks.reduce((a, b) => a + b, 0);
  const busiest = threads.sort((a, b) => sum(b) - sum(a))[0] ?? [];
  return Math.max(0, ...busiest) / 1000;
}
