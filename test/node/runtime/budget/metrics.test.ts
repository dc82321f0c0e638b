import { expect, test } from 'vitest';
import { createMeter, type Metrics } from '../../../../sdk/runtime/budget/metrics.js';
import type { Explanation } from '../../../../sdk/runtime/explanation.js';

const timing = { queue: 0, preprocess: 1, inference: 2, readback: 1, drawing: 0, total: 4 };
const memory = { heap: undefined, wasm: 0, gpu: 0, workers: 1, frames: 0, tensors: 0 };

/** The rate of arrival that is told where a source of 25 frames a second is asked for one every so many of them. */
function rateOf(every: number, frames: number): number {
  let now = 0;
  const meter = createMeter(
    () => memory,
    () => now,
  );
  let last: Metrics | undefined;
  meter.metrics$.subscribe((metrics) => {
    last = metrics;
  });
  const stream = meter.open();
  for (let frame = 0; frame < frames; frame++) {
    stream.arrived(now, frame === 0 ? 0 : every - 1);
    now += 40 * every;
    const answer = { timing, age: 40 * every } as Explanation;
    stream.handed(answer, { handed: now, source: 0, wait: 0, forward: 1, rendered: 0 });
  }
  return last!.streams[0]!.fpsIn;
}

test.each([
  ['all frames are taken', 1, 200],
  ['most are dropped', 10, 20],
  ['a run takes longer than metrics look back', 100, 4],
])('frames that came are counted where %s', (_, every, frames) => {
  expect(rateOf(every, frames)).toBeCloseTo(25, 5);
});
