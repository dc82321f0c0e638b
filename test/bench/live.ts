import { openChromium } from '../browser/chromium.js';

/** Times of one stage over a clip, in milliseconds. */
export interface StageTimes {
  readonly device: string;
  readonly stage: string;
  readonly p50: number;
  readonly p95: number;
  readonly frames: number;
}

/**
 * What the live page spends on a frame of the bundled clip, stage by stage: the same model, composite and clip, explained
 * frame by frame in a worker of real Chromium.
 */
export async function liveStages(): Promise<readonly StageTimes[]> {
  const browser = await openChromium();
  try {
    const { page } = await browser.open();
    const rows: StageTimes[] = [];
    // WebGPU is a software one on many test machines: seconds per frame
    for (const [device, frames] of [
      ['wasm', 100],
      ['webgpu', 15],
    ] as const) {
      const timings = await page.evaluate(
        async ([name, count]) => {
          const { createExplainer, explain, videoFile } = window.whylight;
          const explainer = await createExplainer({
            model: new URL('/samples/models/glyphs/glyphs.onnx', location.href),
            composite: 'epsilon-plus-flat',
            worker: '/dist/workers/explainer.js',
            device: name,
            audit: true,
          });
          const source = await videoFile(new URL('/samples/media/glyphs.mp4', location.href));
          const list: Record<string, number>[] = [];
          await new Promise<void>((resolve, reject) => {
            const subscription = explain(explainer)(source.frames$).subscribe({
              next: ({ timing }) => {
                list.push({ ...timing });
                if (list.length === count) {
                  subscription.unsubscribe();
                  resolve();
                }
              },
              error: reject,
              complete: resolve,
            });
          });
          await source.close();
          await explainer.dispose();
          // the first frames pay for shaders and caches
          return list.slice(5);
        },
        [device, frames] as const,
      );
      for (const stage of Object.keys(timings[0] ?? {})) {
        const sorted = timings.map((timing) => timing[stage]!).sort((a, b) => a - b);
        const at = (share: number): number => Number(sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(2));
        rows.push({ device, stage, p50: at(0.5), p95: at(0.95), frames: sorted.length });
      }
    }
    return rows;
  } finally {
    await browser.close();
  }
}
