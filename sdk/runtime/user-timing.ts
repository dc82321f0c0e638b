/** What is shown of a frame: the stages in the worker, and on the page the frame as a whole with its wait for the device. */
export type Shown = 'frame' | 'wait' | 'preprocess' | 'inference' | 'readback' | 'drawing';

/**
 * Shows a stage as a User Timing measure `whylight <stage>`, so that the browser's profiler has a track of them and a
 * PerformanceObserver hears of them. Both have seen the measure when it is made; it is taken out of the page's own timeline at
 * once, which would grow for as long as a stream lasts.
 *
 * `start` and `end` are milliseconds of `performance.now()`; `detail` is plain data.
 */
export function showStage(stage: Shown, start: number, end: number, detail: Readonly<Record<string, unknown>>): void {
  const name = `whylight ${stage}`;
  const devtools = { dataType: 'track-entry', track: 'Whylight' };
  performance.measure(name, { start: Math.max(0, start), end: Math.max(0, end), detail: { ...detail, devtools } });
  performance.clearMeasures(name);
}
