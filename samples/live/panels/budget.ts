import uPlot from 'uplot';
import type { Explanation, HeldMemory, Metrics } from '../../../sdk/index.js';
import { bytes, figure, setText } from '../dom.js';
import { runningPlot } from './running-plot.js';

/** Seconds that the plot looks back. An age of more than four budgets leaves it: those that matter could not be told apart otherwise. */
const span = 30;

const rows = ['explained', 'because', 'relevance of', 'frames in → out', 'age p50 · p95', 'dropped', 'memory'] as const;

/** what of them is a line of the plot */
const keys = { explained: 'key-4', 'age p50 · p95': 'key-2' } as const;

/**
 * What a budget does: the age of every explanation with the budget as a line, the rung below it as a stair (best on top), and in
 * words which rung, why, how old the relevance is, and what was dropped.
 */
export function budgetPanel(box: HTMLElement) {
  const plotBox = document.createElement('div');
  plotBox.className = 'plot';
  plotBox.setAttribute('role', 'img');
  plotBox.setAttribute('aria-label', 'Age of the last explanations, the budget, and the rung in use');
  const table = document.createElement('dl');
  table.className = 'table wide';
  const values = new Map(
    rows.map((row) => {
      const name = document.createElement('dt');
      if (row in keys) {
        const key = document.createElement('span');
        key.className = `key ${keys[row as keyof typeof keys]}`;
        name.append(key);
      }
      name.append(row);
      const value = document.createElement('dd');
      value.textContent = '–';
      table.append(name, value);
      return [row, value];
    }),
  );
  const say = (row: (typeof rows)[number], text: string) => setText(values.get(row)!, text);
  box.append(plotBox, table);

  const times: number[] = [];
  const ages: number[] = [];
  const budgets: (number | null)[] = [];
  /** how far up the ladder, 1 is the best rung */
  const quality: (number | null)[] = [];
  let origin: number | undefined;
  const plot = runningPlot(
    plotBox,
    ({ colour, axis }) => ({
      padding: [6, 0, 6, 0],
      scales: {
        x: { time: false, range: (_, __, high) => [high - span, high] },
        y: { range: (_, __, high) => [0, Math.max(20, Math.min(high * 1.15, 4 * (budgets.at(-1) ?? high)))] },
        rung: { range: [-0.1, 1.1] },
      },
      axes: [
        { ...axis, show: false },
        { ...axis, size: 36, values: (_, ticks) => ticks.map((tick) => `${tick}`) },
      ],
      series: [
        {},
        {
          label: 'rung',
          scale: 'rung',
          stroke: colour('stage-4'),
          width: 2,
          paths: uPlot.paths.stepped!({ align: 1 }),
          points: { show: false },
        },
        { label: 'budget', stroke: colour('stage-3'), width: 1, dash: [5, 4], points: { show: false } },
        { label: 'age', stroke: colour('stage-2'), width: 1, points: { show: false } },
      ],
    }),
    () => [times, quality, budgets, ages] as uPlot.AlignedData,
  );

  return {
    add(explanation: Explanation) {
      const now = performance.now() / 1000;
      origin ??= now;
      times.push(now - origin);
      ages.push(explanation.age);
      const { quality: left } = explanation;
      budgets.push(left?.budgetMs ?? null);
      quality.push(left === undefined ? null : 1 - left.index / Math.max(1, left.rungs - 1));
      const old = times.findIndex((time) => time >= now - origin! - span);
      // in one go, not frame by frame
      if (old > 64) for (const list of [times, ages, budgets, quality]) list.splice(0, old);
      say(
        'explained',
        left === undefined ? 'LRP, without a budget' : `${left.rung} (${left.index + 1} of ${left.rungs})`,
      );
      say('because', left?.reason ?? 'nothing has to be left out');
      const own = left === undefined ? explanation.age : left.relevance?.age;
      const of =
        left?.relevance?.timestamp === explanation.timestamp || left === undefined ? 'this frame' : 'an earlier frame';
      say('relevance of', own === undefined ? 'no frame' : `${of}, ${figure(own, 0)} ms old`);
      plot.update();
    },
    metrics({ streams, memory }: Metrics) {
      const [stream] = streams;
      if (stream === undefined) return;
      const { fpsIn, fpsOut, age, dropped } = stream;
      say('frames in → out', `${figure(fpsIn, 1)} → ${figure(fpsOut, 1)} per second`);
      say('age p50 · p95', `${figure(age.p50, 0)} · ${figure(age.p95, 0)} ms`);
      say('dropped', `${dropped.source} at the source, ${dropped.superseded} for newer ones, ${dropped.stale} stale`);
      say('memory', heldText(memory));
    },
    /** Nothing is explained, or what comes next is of something else. */
    clear() {
      for (const row of rows) say(row, '–');
      for (const list of [times, ages, budgets, quality]) list.length = 0;
      plot.update();
    },
  };
}

function heldText({ workers, wasm, gpu, heap }: HeldMemory): string {
  const onGpu = gpu > 0 ? [`GPU ${bytes(gpu)}`] : [];
  const ofPage = heap === undefined ? [] : [`page ${bytes(heap)}`];
  return [`${workers} worker${workers === 1 ? '' : 's'}: ${bytes(wasm)}`, ...onGpu, ...ofPage].join(', ');
}
