import type uPlot from 'uplot';
import { figure, setText } from '../dom.js';
import { runningPlot } from './running-plot.js';

const remembered = 120;

/** Milliseconds of one frame in the given stages, as a stacked running plot with the newest figures beside it. */
export function timingPanel(box: HTMLElement, stages: readonly string[]) {
  const plotBox = document.createElement('div');
  plotBox.className = 'plot';
  plotBox.setAttribute('aria-hidden', 'true');
  const table = document.createElement('dl');
  table.className = 'table';
  const figures = [...stages, 'total'].map((stage, index) => {
    const name = document.createElement('dt');
    const key = document.createElement('span');
    key.className = index < stages.length ? `key key-${index + 1}` : '';
    name.append(key, stage);
    const value = document.createElement('dd');
    value.className = 'number';
    table.append(name, value);
    return value;
  });
  box.append(plotBox, table);

  // newest last; uPlot paints in order, so the sum of all stages comes first and the lower sums are painted over it
  const frames: number[] = [];
  const sums: number[][] = stages.map(() => []);
  let count = 0;
  const plot = runningPlot(
    plotBox,
    ({ colour, axis }) => ({
      padding: [6, 2, 6, 0],
      scales: { x: { time: false }, y: { range: (_, __, high) => [0, Math.max(10, high * 1.1)] } },
      axes: [
        { ...axis, show: false },
        { ...axis, size: 36, values: (_, ticks) => ticks.map((tick) => `${tick}`) },
      ],
      series: [
        {},
        ...stages
          .map((stage, index): uPlot.Series => {
            const stroke = colour(`stage-${index + 1}`);
            return { label: stage, stroke, width: 1, fill: stroke, points: { show: false } };
          })
          .reverse(),
      ],
    }),
    () => [frames, ...[...sums].reverse()] as uPlot.AlignedData,
  );

  return {
    /** One value per stage, in milliseconds. */
    add(times: readonly number[]) {
      frames.push(count++);
      let sum = 0;
      for (const [index, time] of times.entries()) {
        sum += time;
        sums[index]!.push(sum);
        setText(figures[index]!, `${figure(time, 1)} ms`);
      }
      setText(figures[stages.length]!, `${figure(sum, 1)} ms`);
      if (frames.length > remembered) {
        frames.shift();
        for (const column of sums) column.shift();
      }
      plot.update();
    },
    /** Nothing is explained, or what comes next is of something else. */
    clear() {
      for (const value of figures) setText(value, '–');
      for (const column of [frames, ...sums]) column.length = 0;
      plot.update();
    },
  };
}
