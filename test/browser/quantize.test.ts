import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CalibrationFrame, type OpenModel, quantize, wasmRuntime } from '../../sdk/quantize.js';
import { seeded } from '../reference/random.js';
import { openChromium, type TestBrowser } from './chromium.js';
import { side, smallModel } from './explainer-model.js';
import { openScripted } from './scripted-page.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium({ webgpu: false });
});
afterAll(() => browser.close());

const frameCount = 6;
const pictures = Array.from({ length: frameCount }, (_, index) => {
  const random = seeded(40 + index);
  return Array.from({ length: 3 * side * side }, () => Math.fround(random()));
});

test('a page under a strict policy makes the very file that Node makes, with progress, can be stopped, and closes every session', async () => {
  const { page, complaints, close } = await openScripted(browser, 'quantize-page');
  const model = smallModel();
  const made = await page.evaluate(
    async ([model, pictures, side]) => {
      const { quantize, wasmRuntime, WhylightError } = window.quantization;
      const counts = { opened: 0, closed: 0 };
      const runtime = wasmRuntime({ wasmPaths: new URL('/dist/workers/', location.href).href });
      const open: OpenModel = async (bytes) => {
        const opened = await runtime(bytes);
        counts.opened++;
        return {
          ...opened,
          async close() {
            counts.closed++;
            await opened.close();
          },
        };
      };
      const file = Uint8Array.from(model);
      const frames = pictures.map(
        (picture): CalibrationFrame => ({ picture: { dims: [1, 3, side, side], data: Float32Array.from(picture) } }),
      );
      const stages: string[] = [];
      const done = await quantize(file, frames, { open, onProgress: ({ stage }) => stages.push(stage) });

      const controller = new AbortController();
      const stopped = await quantize(file, frames, {
        open,
        signal: controller.signal,
        onProgress: () => controller.abort(),
      }).catch((error: unknown) => error);
      const refused = await quantize(file, [], { open }).catch((error: unknown) => error);
      const codeOf = (error: unknown) => (error instanceof WhylightError ? error.code : 'none');
      return {
        model: [...done.model],
        report: done.report,
        stages,
        codes: [codeOf(stopped), codeOf(refused)],
        counts,
      };
    },
    [[...model], pictures, side] as const,
  );
  const frames = pictures.map(
    (picture): CalibrationFrame => ({ picture: { dims: [1, 3, side, side], data: Float32Array.from(picture) } }),
  );
  const expected = await quantize(model, frames, { open: wasmRuntime() });
  expect(made.model).toEqual([...expected.model]);
  expect(made.report.outputs).toEqual(expected.report.outputs);
  expect(made.model.length).toBeLessThan(model.length);
  expect(made.stages.filter((stage) => stage === 'calibrate').length).toBeGreaterThanOrEqual(frameCount);
  expect(made.stages.at(-1)).toBe('measure');
  expect(made.codes).toEqual(['ABORTED', 'CALIBRATION_INVALID']);
  expect(made.counts.opened).toBeGreaterThan(0);
  expect(made.counts.closed).toBe(made.counts.opened);
  expect(complaints()).toEqual([]);
  await close();
});
