import { afterAll, beforeAll, expect, test } from 'vitest';
import { openChromium, type PageOptions, type TestBrowser, type TestPage } from './chromium.js';
import { side, smallModel } from './explainer-model.js';
import { labels, openExplainerPage } from './explainer-page.js';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

const open = (options: PageOptions = {}, from = browser): Promise<TestPage> => openExplainerPage(from, options);
const largest = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
const difference = (a: readonly number[], b: readonly number[]) =>
  largest(a.map((value, index) => value - b[index]!)) / largest(a);

test('WebGPU and WASM give the same relevance, and both tell how they were chosen', async () => {
  const { page, complaints, output, close } = await open();
  const result = await page.evaluate(async () => {
    const seen = [];
    for (const device of ['webgpu', 'wasm'] as const) {
      const stages: string[] = [];
      const explainer = await window.start({
        device,
        onProgress: (progress) => {
          if (stages.at(-1) !== progress.stage) stages.push(progress.stage);
        },
      });
      const answer = await window.see(explainer);
      seen.push({ stages, choice: explainer.device, ...answer, open: explainer.open, memory: explainer.memory });
      await explainer.dispose();
    }
    return seen;
  });
  const [gpu, cpu] = result;
  expect(gpu?.device, output().join('\n')).toBe('webgpu');
  expect(cpu?.device).toBe('wasm');
  expect(gpu?.choice.reason).toMatch(/differs from WASM by .* of the largest output/);
  expect(gpu?.choice.adapter).toMatch(/swiftshader/i);
  expect(cpu?.choice.threads).toBeGreaterThanOrEqual(1);
  expect(gpu?.stages).toEqual(['download', 'compile', 'session', 'check', 'ready']);
  expect(cpu?.stages).toEqual(['download', 'compile', 'session', 'ready']);
  expect(gpu!.memory.gpu).toBeGreaterThan(4 * 3 * side * side);
  expect(cpu!.memory.gpu).toBe(0);
  for (const { memory } of result) {
    expect(memory).toMatchObject({ workers: 1, frames: 0, tensors: 0 });
    expect(Math.min(memory.heap!, memory.wasm)).toBeGreaterThan(1e6);
  }
  expect(cpu?.dims).toEqual([1, 3, side, side]);
  expect(largest(cpu!.relevance)).toBeGreaterThan(0);
  expect(difference(cpu!.relevance, gpu!.relevance)).toBeLessThan(1e-3);
  expect(difference(cpu!.logits, gpu!.logits)).toBeLessThan(1e-3);
  // the one on WASM that the GPU was checked against stands by
  expect(result.map(({ open }) => open.sessions)).toEqual([2, 1]);
  for (const { logit, logits, top, target, open } of result) {
    expect(logit).toBeCloseTo(Math.max(...logits), 4);
    expect(labels[logits.indexOf(Math.max(...logits))]).toBe(top.label);
    expect(target).toEqual([top.label]);
    expect(open).toMatchObject({ frames: 0, tensors: 0 });
  }
  expect(complaints()).toEqual([]);
  await close();
});

test('targets: a class, a group, a contrast; relevance can be left out', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(async () => {
    const explainer = await window.start({ device: 'wasm' });
    const one = await window.see(explainer, { target: 'cat' });
    const group = await window.see(explainer, { target: [0, 'cat'] });
    const contrast = await window.see(explainer, { target: Float32Array.of(1, 0, -1, 0, 0) });
    const none = await window.see(explainer, { relevance: false });
    const frame = await window.picture(64, 64);
    const label = await window.failure(explainer.explainFrame(frame, { target: 'cow' }));
    const index = await window.failure(explainer.explainFrame(await window.picture(8, 8), { target: 5 }));
    return { one, group, contrast, none, label, index, closes: frame.closes, open: explainer.open };
  });
  const [ant, , cat] = result.one.logits;
  expect(result.one.target).toEqual(['cat']);
  expect(result.one.logit).toBeCloseTo(cat!, 5);
  expect(result.group.logit).toBeCloseTo(ant! + cat!, 5);
  expect(result.contrast.logit).toBeCloseTo(ant! - cat!, 5);
  expect(result.contrast.target).toEqual(['ant', 'cat']);
  expect(result.none.relevance).toEqual([]);
  expect(result.none.logits).toEqual(result.one.logits);
  expect(result.label).toMatchObject({ code: 'OPTION_INVALID', own: true });
  expect(result.label.message).toContain('cow');
  expect(result.index.code).toBe('OPTION_INVALID');
  expect(result.closes).toBe(1);
  expect(result.open.frames).toBe(0);
  await close();
});

test('an input that is no picture has the value that the metadata give it', async () => {
  const { page, close } = await open();
  const { plain, louder, none } = await page.evaluate(
    async (bytes) => {
      const model = Uint8Array.from(bytes);
      const start = (inputValues?: { gain: number }) =>
        window.start({
          model,
          composite: 'gradient',
          device: 'wasm',
          metadata: { input: { fit: 'stretch' }, ...(inputValues && { inputValues }) },
        });
      const plain = await window.see(await window.start({ composite: 'gradient', device: 'wasm' }));
      const louder = await window.see(await start({ gain: 3 }));
      return { plain, louder, none: await window.failure(start()) };
    },
    [...smallModel({ gain: true })],
  );
  const tripled = (values: readonly number[]) => values.map((value) => 3 * value);
  expect(difference(tripled(plain.logits), louder.logits)).toBeLessThan(1e-6);
  expect(difference(tripled(plain.relevance), louder.relevance)).toBeLessThan(1e-6);
  expect(none.code).toBe('MODEL_SHAPE');
  expect(none.message).toContain('"gain"');
  await close();
});

test('under a Softmax the logits are explained and the probabilities reported; the audit gives every step', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(
    async (bytes) => {
      const explainer = await window.start({
        model: Uint8Array.from(bytes),
        labels: ['ant', 'bee', 'cat', 'dog', 'eel'],
        device: 'wasm',
        audit: true,
      });
      const { topK, logit, conservation, outputs } = await explainer.explainFrame(await window.picture(64, 64));
      return {
        topK,
        logit,
        outputs: Object.keys(outputs),
        steps: conservation?.steps.length,
        sums: [...(conservation?.sums ?? [])],
      };
    },
    [...smallModel({ softmax: true })],
  );
  expect(result.topK.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 5);
  expect(result.logit).toBeCloseTo(result.topK[0]!.logit, 5);
  expect(result.logit).toBeCloseTo(result.sums[0]!, 4);
  expect(result.outputs).toContain('probabilities');
  expect(result.sums.length).toBe(result.steps);
  await close();
});

test('disposing brings every count back to 0, rejects what is pending, and a second start works', async () => {
  const { page, complaints, close } = await open();
  const result = await page.evaluate(async () => {
    const explainer = await window.start({ device: 'wasm' });
    const frames = await Promise.all([1, 2, 3].map(() => window.picture(64, 48)));
    const pending = frames.map((frame) => window.failure(explainer.explainFrame(frame)));
    await Promise.all([explainer.dispose(), explainer.dispose()]);
    const late = await window.picture(64, 48);
    const after = await window.failure(explainer.explainFrame(late));
    const codes = (await Promise.all(pending)).map(({ code }) => code);
    const closes = [...frames, late].map((frame) => frame.closes);
    const { open, memory } = explainer;
    const second = await window.start({ device: 'wasm' });
    return { codes, after, closes, open, memory, again: (await window.see(second)).relevance.length };
  });
  expect(result.codes).toEqual(['DISPOSED', 'DISPOSED', 'DISPOSED']);
  expect(result.after).toMatchObject({ code: 'DISPOSED', own: true });
  expect(result.closes).toEqual([1, 1, 1, 1]);
  expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 0 });
  expect(result.memory).toMatchObject({ wasm: 0, gpu: 0, workers: 0, frames: 0, tensors: 0 });
  expect(result.again).toBe(3 * side * side);
  expect(complaints()).toEqual([]);
  await close();
});

test('an explainer that is forgotten ends its worker, and says what to do', async () => {
  const own = await openChromium({ args: ['--js-flags=--expose-gc'] });
  const { page, output, close } = await open({}, own);
  await page.evaluate(async () => {
    const forget = async () => {
      await window.see(await window.start({ device: 'wasm' }));
    };
    await forget();
  });
  expect(page.workers().length).toBe(1);
  await expect
    .poll(
      async () => {
        await page.evaluate(() => (globalThis as unknown as { gc(): void }).gc());
        return page.workers().length;
      },
      { timeout: 20_000 },
    )
    .toBe(0);
  expect(output().join()).toContain('without dispose()');
  await close();
  await own.close();
});

test('another composite takes over without a gap, and a wrong one changes nothing', async () => {
  const { page, close } = await open();
  const requests: string[] = [];
  page.on('request', (request) => requests.push(new URL(request.url()).pathname));
  const result = await page.evaluate(async () => {
    const explainer = await window.start({ device: 'auto' });
    const before = await window.see(explainer);
    const { reason } = explainer.device;
    const change = explainer.setComposite('epsilon');
    let during = 0;
    let changed = false;
    const done = change.then(() => {
      changed = true;
    });
    while (!changed) {
      await window.see(explainer);
      during++;
    }
    await done;
    const after = await window.see(explainer);
    const wrong = await window.failure(explainer.setComposite('no-such-preset'));
    const still = await window.see(explainer);
    return {
      before,
      during,
      after,
      wrong,
      still,
      reasons: [reason, explainer.device.reason],
      open: explainer.open,
      rules: explainer.report.layers.map((layer) => layer.rule),
    };
  });
  expect(requests.filter((path) => path === '/models/small.onnx').length).toBe(1);
  expect(result.during).toBeGreaterThan(1);
  expect(difference(result.before.relevance, result.after.relevance)).toBeGreaterThan(1e-2);
  expect(result.still.relevance).toEqual(result.after.relevance);
  expect(result.wrong).toMatchObject({ code: 'COMPOSITE_INVALID', own: true });
  expect(result.rules).not.toContain('flat');
  // why there is no GPU stays true, whatever the composite
  expect(result.reasons[1]).toBe(result.reasons[0]);
  expect(result.open).toEqual({ frames: 0, tensors: 0, sessions: 1 });
  await close();
});

test('without WebGPU auto takes WASM and says why; asked for, WebGPU is an error', async () => {
  const own = await openChromium({ webgpu: false });
  const { page, close } = await open({ isolated: false }, own);
  const result = await page.evaluate(async () => {
    const explainer = await window.start();
    const asked = await window.failure(window.start({ device: 'webgpu' }));
    return { choice: explainer.device, asked, seen: await window.see(explainer) };
  });
  expect(result.choice).toMatchObject({ device: 'wasm', threads: 1 });
  expect(result.choice.reason).toMatch(/no WebGPU|no GPU/);
  expect(result.choice.tried.map(({ device, outcome }) => `${device} ${outcome}`)).toEqual([
    'webgpu unavailable',
    'wasm chosen',
  ]);
  expect(result.asked).toMatchObject({ code: 'DEVICE_UNAVAILABLE', own: true });
  expect(result.seen.relevance.length).toBe(3 * side * side);
  await close();
  await own.close();
});

test('a GPU that is emulated in software is used only where it is asked for', async () => {
  const { page, close } = await open();
  const choice = await page.evaluate(async () => {
    const explainer = await window.start();
    const { device } = explainer;
    await explainer.dispose();
    return device;
  });
  expect(choice.device).toBe('wasm');
  expect(choice.tried[0]).toMatchObject({ device: 'webgpu', outcome: 'unavailable' });
  expect(choice.reason).toContain('emulates a GPU in software');
  await close();
});

test('threads where the page is isolated', async () => {
  const { page, complaints, close } = await open();
  const result = await page.evaluate(async () => {
    const explainer = await window.start({ device: 'wasm', numThreads: 2 });
    return { threads: explainer.device.threads, seen: await window.see(explainer) };
  });
  expect(result.threads).toBe(2);
  expect(result.seen.relevance.length).toBe(3 * side * side);
  expect(complaints()).toEqual([]);
  await close();
});

test('what a server can answer in place of a model', async () => {
  const { page, close } = await open();
  await page.route('**/models/page.onnx', (route) =>
    route.fulfill({ body: '<!doctype html>', contentType: 'text/html' }),
  );
  await page.route('**/models/slow.onnx', () => new Promise(() => undefined));
  const result = await page.evaluate(async (digest) => {
    const abort = new AbortController();
    const slow = window.failure(window.start({ model: '/models/slow.onnx', metadata: {}, signal: abort.signal }));
    setTimeout(() => abort.abort(), 50);
    return {
      slow: await slow,
      page: await window.failure(window.start({ model: '/models/page.onnx' })),
      missing: await window.failure(window.start({ model: '/models/missing.onnx' })),
      sha: await window.failure(window.start({ sha256: digest })),
      corrupt: await window.failure(window.start({ model: new TextEncoder().encode('not a model') })),
      metadata: await window.failure(window.start({ metadata: { input: { std: [0] } } })),
      labels: await window.failure(window.start({ labels: ['one'], device: 'wasm' })),
    };
  }, '0'.repeat(64));
  expect(Object.fromEntries(Object.entries(result).map(([name, { code }]) => [name, code]))).toEqual({
    slow: 'ABORTED',
    page: 'MODEL_FETCH',
    missing: 'MODEL_FETCH',
    sha: 'MODEL_INTEGRITY',
    corrupt: 'MODEL_CORRUPT',
    metadata: 'METADATA_INVALID',
    labels: 'METADATA_INVALID',
  });
  expect(Object.values(result).every(({ own }) => own)).toBe(true);
  expect(result.page.message).toContain('web page');
  expect(result.missing.message).toContain('404');
  await close();
});

test('a worker that does not load is a WORKER_FAILED with advice, not silence', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(async () => ({
    missing: await window.failure(window.start({ worker: '/dist/workers/missing.js' })),
    foreign: await window.failure(window.start({ worker: 'https://example.invalid/explainer.js' })),
    page: await window.failure(window.start({ worker: '/blank.html' })),
    wasm: await window.failure(window.start({ device: 'wasm', wasmPaths: '/nowhere/' })),
  }));
  expect(result.missing).toMatchObject({ code: 'WORKER_FAILED', own: true });
  expect(result.missing.message).toContain('worker');
  expect(result.foreign.code).toBe('WORKER_FAILED');
  expect(result.page.code).toBe('WORKER_FAILED');
  expect(result.wasm.code).toBe('SESSION_FAILED');
  await close();
});

test('aborting while the worker starts ends it', async () => {
  const { page, close } = await open();
  const code = await page.evaluate(async () => {
    const abort = new AbortController();
    const started = window.start({
      signal: abort.signal,
      onProgress: ({ stage }) => {
        if (stage === 'session') abort.abort();
      },
    });
    return (await window.failure(started)).code;
  });
  expect(code).toBe('ABORTED');
  await close();
});

test('a cached model is not fetched twice', async () => {
  const { page, close } = await open();
  const requests: string[] = [];
  page.on('request', (request) => requests.push(new URL(request.url()).pathname));
  await page.evaluate(async () => {
    for (let time = 0; time < 2; time++) {
      await (await window.start({ device: 'wasm', cache: true })).dispose();
    }
  });
  expect(requests.filter((path) => path === '/models/small.onnx').length).toBe(1);
  await close();
});

test('the picture is drawn where the fit says, whatever its rotation', async () => {
  const { page, close } = await open();
  const result = await page.evaluate(
    async (bytes) => {
      const explainer = await window.start({
        model: Uint8Array.from(bytes),
        metadata: { input: { fit: 'letterbox' } },
        device: 'wasm',
      });
      const upright = await window.picture(96, 64);
      const { image } = await window.picture(96, 64);
      // the same picture as a camera that is held upside down would give it
      const canvas = new OffscreenCanvas(96, 64);
      const context = canvas.getContext('2d')!;
      context.setTransform(-1, 0, 0, -1, 96, 64);
      context.drawImage(image, 0, 0);
      const turned = {
        ...(await window.picture(96, 64)),
        image: await createImageBitmap(canvas),
        rotation: 180 as const,
      };
      // and lying on its side: what is shown upright after 90° was turned by 270° before
      const side = new OffscreenCanvas(64, 96);
      const sideContext = side.getContext('2d')!;
      sideContext.setTransform(0, -1, 1, 0, 0, 96);
      sideContext.drawImage(image, 0, 0);
      const lying = { ...(await window.picture(96, 64)), image: await createImageBitmap(side), rotation: 90 as const };
      const all = [];
      for (const frame of [upright, turned, lying]) {
        const { outputs, fit } = await explainer.explainFrame(frame);
        all.push({ logits: [...outputs.logits!.data], fit });
      }
      return all;
    },
    [...smallModel()],
  );
  const scale = side / 96;
  expect(result[0]?.fit).toEqual({ scaleX: scale, scaleY: scale, offsetX: 0, offsetY: (side - 64 * scale) / 2 });
  expect(difference(result[0]!.logits, result[1]!.logits)).toBeLessThan(2e-2);
  expect(difference(result[0]!.logits, result[2]!.logits)).toBeLessThan(2e-2);
  await close();
});
