import { cpus } from 'node:os';
import type { Browser, Page } from 'playwright-core';
import { cpuTimes } from './slowdown.js';

/** What this machine did for others than the browser and this test, from one moment to the next. */
export interface ForeignLoad {
  /** milliseconds on `performance.now()`'s clock of the page */
  readonly from: number;
  readonly to: number;
  /** cores that others had, or the host took away: 0 … the number of cores */
  readonly cores: number;
}

/** Milliseconds between two looks. */
const period = 250;

/** Watches what else the machine does until it is stopped: by the system's own count, not by anything that a stream measures. */
export async function watchForeignLoad(
  browser: Browser,
  page: Page,
): Promise<{ stop(): Promise<readonly ForeignLoad[]> }> {
  const origin = await page.evaluate(() => performance.timeOrigin);
  const loads: ForeignLoad[] = [];
  let isWanted = true;
  const watch = async () => {
    let before = await count(browser, origin);
    while (isWanted) {
      await new Promise((resolve) => setTimeout(resolve, period));
      const now = await count(browser, origin);
      const elapsed = now.at - before.at;
      const idle = now.idle - before.idle;
      const own = now.own - before.own;
      loads.push({ from: before.at, to: now.at, cores: Math.max(0, cpus().length - (idle + own) / elapsed) });
      before = now;
    }
  };
  const done = watch();
  return {
    async stop() {
      isWanted = false;
      await done;
      return loads;
    },
  };
}

/** Milliseconds that the cores had nothing to do, and that the browser and this process have used. */
async function count(browser: Browser, origin: number) {
  const times = await cpuTimes(browser);
  const { user, system } = process.cpuUsage();
  const browsers = [...times.values()].reduce((sum, { seconds }) => sum + 1000 * seconds, 0);
  return {
    at: performance.timeOrigin + performance.now() - origin,
    idle: cpus().reduce((sum, { times: { idle } }) => sum + idle, 0),
    own: browsers + (user + system) / 1000,
  };
}

/** When others took or gave back half a core or more, from one half second to the next. */
export function foreignSteps(loads: readonly ForeignLoad[]): readonly number[] {
  const mean = (some: readonly ForeignLoad[]) => some.reduce((sum, { cores }) => sum + cores, 0) / some.length;
  return loads.flatMap(({ from }, index) => {
    const before = loads.slice(Math.max(0, index - 2), index);
    return before.length > 0 && Math.abs(mean(loads.slice(index, index + 2)) - mean(before)) > 0.5 ? [from] : [];
  });
}
