import type { InferenceSession, Tensor } from 'onnxruntime-common';

/** The part of ONNX Runtime that timing needs; each build of it has its own classes. */
export interface Runtime {
  readonly InferenceSession: {
    create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => Tensor;
}

/** A float32 input by its shape; it is filled with a fixed pattern between 0 and 1, `target` with zeros. */
export interface Feed {
  readonly name: string;
  readonly dims: readonly number[];
}

/** The middle of a list of numbers. */
export function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Milliseconds of runs before the counted ones: the browser optimises WebAssembly while it runs. */
const WARM_UP = 2000;

/** Median milliseconds of `runs` runs after those of the warm-up, each read back to the CPU. */
export async function timeModel(
  runtime: Runtime,
  model: Uint8Array,
  feeds: readonly Feed[],
  provider: 'wasm' | 'webgpu',
  runs: number,
): Promise<number> {
  const session = await runtime.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3,
  });
  const inputs = Object.fromEntries(
    feeds.map(({ name, dims }) => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      const data = Float32Array.from({ length: size }, (_, i) =>
        name === 'target' ? 0 : 0.5 + 0.5 * Math.sin(i * 0.7),
      );
      return [name, new runtime.Tensor('float32', data, dims)];
    }),
  );
  const times: number[] = [];
  const begin = performance.now();
  while (times.length < runs) {
    const start = performance.now();
    const outputs = await session.run(inputs);
    await Promise.all(Object.values(outputs).map((output) => output.getData()));
    if (start - begin > WARM_UP) times.push(performance.now() - start);
    for (const output of Object.values(outputs)) output.dispose();
  }
  for (const input of Object.values(inputs)) input.dispose();
  await session.release();
  return median(times);
}
