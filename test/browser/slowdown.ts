import { fork } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** How long a process was left to run and was stopped while it was slowed, in milliseconds. */
export interface SlowedTime {
  /** what was asked for */
  readonly rate: number;
  readonly ran: number;
  readonly stopped: number;
  /** when it was at full speed for a tenth of a second or more, since who slows it was given no core; milliseconds since the epoch */
  readonly lapses: readonly number[];
}

/** A page's process, which runs its main thread and all of its workers. */
export interface PageProcess {
  readonly id: number;
  /** Lets it run at 1/`rate` of its speed from now on, workers included; 1 is full speed. Gives the time since it was last called. */
  slow(rate: number): Promise<SlowedTime>;
  /** Stops it for so many milliseconds, as a system does that is suspended; the page state `frozen` of DevTools leaves streams running. */
  freeze(milliseconds: number): Promise<void>;
}

/**
 * Finds the process of a page, which DevTools does not tell: the one that computes when the page does. It runs at full speed again when
 * it is told so, and also when the calling process ends, however it ends.
 */
export async function processOf(browser: Browser, page: Page): Promise<PageProcess> {
  const id = await busiestProcess(browser, page);
  let release = async (): Promise<SlowedTime> => ({ rate: 1, ran: 0, stopped: 0, lapses: [] });
  const full = release;
  return {
    id,
    async slow(rate) {
      const time = await release();
      release = rate === 1 ? full : await slowProcess(id, rate);
      return time;
    },
    async freeze(milliseconds) {
      process.kill(id, 'SIGSTOP');
      try {
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
      } finally {
        process.kill(id, 'SIGCONT');
      }
    },
  };
}

async function slowProcess(id: number, rate: number): Promise<() => Promise<SlowedTime>> {
  const child = fork(join(root, 'test/browser/slow-process.mjs'), [String(id), String(rate)], { execArgv: [] });
  await once(child, 'message');
  // also where the process ends while it is slow, and the child with it
  const told = once(child, 'message');
  return async () => {
    if (child.connected) child.send('end');
    const [time] = (await told) as [Omit<SlowedTime, 'rate'>];
    return { rate, ...time };
  };
}

async function busiestProcess(browser: Browser, page: Page): Promise<number> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const before = await cpuTimes(browser);
    await page.evaluate(() => {
      for (const began = performance.now(); performance.now() - began < 200; );
    });
    const after = await cpuTimes(browser);
    const [first, second] = [...after]
      .filter(([, { type }]) => type === 'renderer')
      .map(([id, { seconds }]) => ({ id, seconds: seconds - (before.get(id)?.seconds ?? 0) }))
      .sort((a, b) => b.seconds - a.seconds);
    if (first!.seconds >= 0.05 && first!.seconds > 2 * (second?.seconds ?? 0)) return first!.id;
  }
  throw new Error('No process of the browser was the one that computes when the page does.');
}

/** Seconds of processor time that each of the browser's processes has used, by the system's id of it. */
export async function cpuTimes(browser: Browser): Promise<ReadonlyMap<number, { type: string; seconds: number }>> {
  const devtools = await browser.newBrowserCDPSession();
  const { processInfo } = await devtools.send('SystemInfo.getProcessInfo');
  await devtools.detach();
  return new Map(processInfo.map(({ id, type, cpuTime }) => [id, { type, seconds: cpuTime }]));
}
