import type { InferenceSession, Tensor } from 'onnxruntime-common';

/** The part of ONNX Runtime that timing needs; each build of it has its own classes. */
export interface Runtime {
  readonly InferenceSession: {
    create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: {
    new (type: 'float32', data: Float32Array, dims: readonly number[]): Tensor;
    new (type: 'bool', data: Uint8Array, dims: readonly number[]): Tensor;
  };
}

/** An input by its shape, float32 unless it says bool; it is filled with a fixed pattern between 0 and 1, `target` with zeros. */
export interface Feed {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type?: 'bool';
  /** the value of a flag; default false */
  readonly filled?: boolean;
}

/** The tensors that feeds stand for. */
export function feedsOf(runtime: Runtime, feeds: readonly Feed[]): Record<string, Tensor> {
  return Object.fromEntries(
    feeds.map(({ name, dims, type, filled }) => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      if (type === 'bool') return [name, new runtime.Tensor('bool', new Uint8Array(size).fill(filled ? 1 : 0), dims)];
      const data = Float32Array.from({ length: size }, (_, i) =>
        name === 'target' ? 0 : 0.5 + 0.5 * Math.sin(i * 0.7),
      );
      return [name, new runtime.Tensor('float32', data, dims)];
    }),
  );
}

/** The middle of a list of numbers. */
export function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Milliseconds of runs before the counted ones: the browser optimises WebAssembly while it runs. */
const WARM_UP = 2000;

/** Opens a model and fills its inputs. */
async function openWith(
  runtime: Runtime,
  model: Uint8Array,
  feeds: readonly Feed[],
  provider: 'wasm' | 'webgpu',
): Promise<Opened> {
  const session = await runtime.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
  const inputs = feedsOf(runtime, feeds);
  return {
    async run() {
      const outputs = await session.run(inputs);
      await Promise.all(Object.values(outputs).map((output) => output.getData()));
      for (const output of Object.values(outputs)) output.dispose();
    },
    async close() {
      for (const input of Object.values(inputs)) input.dispose();
      await session.release();
    },
  };
}

/** Median milliseconds of `runs` runs after those of the warm-up, each read back to the CPU. */
export async function timeModel(
  runtime: Runtime,
  model: Uint8Array,
  feeds: readonly Feed[],
  provider: 'wasm' | 'webgpu',
  runs: number,
): Promise<number> {
  const { run, close } = await openWith(runtime, model, feeds, provider);
  const times: number[] = [];
  const begin = performance.now();
  while (times.length < runs) {
    const start = performance.now();
    await run();
    if (start - begin > WARM_UP) times.push(performance.now() - start);
  }
  await close();
  return median(times);
}

/** A model that is timed side by side with others. */
export interface Contestant {
  readonly name: string;
  readonly model: Uint8Array;
  readonly feeds: readonly Feed[];
}

/** A contestant that is ready to run. */
export interface Opened {
  run(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a contestant in Node, on WebAssembly with one thread. */
export async function openInNode({ model, feeds }: Contestant): Promise<Opened> {
  const ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = 1;
  return openWith(ort, model, feeds, 'wasm');
}

/**
 * Milliseconds of each by the processor's own clock, which does not run while others compute: the least of `runs` rounds in which
 * all run once, so that what disturbs one disturbs the others too. Closes them.
 */
export async function cpuTimes(opened: readonly Opened[], runs: number): Promise<number[]> {
  const least = opened.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round <= runs; round++) {
    for (const [k, { run }] of opened.entries()) {
      const start = process.cpuUsage();
      await run();
      const { user, system } = process.cpuUsage(start);
      if (round > 0) least[k] = Math.min(least[k]!, (user + system) / 1000);
    }
  }
  for (const { close } of opened) await close();
  return least;
}
