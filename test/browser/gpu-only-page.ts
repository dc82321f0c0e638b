import * as ort from 'onnxruntime-web/webgpu';

/** What a compiled graph gave on one device, by output. */
export type Outputs = Readonly<Record<string, number[]>>;

/**
 * An input: float32 filled with a fixed pattern between −scale and scale (default 1), `target` with zeros, a bool with true, an int64
 * with `scale`.
 */
export interface Feed {
  readonly name: string;
  readonly dims: number[];
  readonly type?: 'float32' | 'bool' | 'int64';
  readonly scale?: number;
}

/** Of an output or relevance: the largest difference between two runs, and the largest value. */
export interface Difference {
  readonly name: string;
  readonly difference: number;
  readonly largest: number;
}

declare global {
  interface Window {
    /**
     * Runs a graph on the GPU with the CPU forbidden (creation then fails where a node has no kernel there), or on the CPU. Without
     * feeds the session is created and released.
     */
    runGraph: (bytes: readonly number[], feeds: readonly Feed[], provider: 'webgpu' | 'wasm') => Promise<Outputs>;
    /** How what a file gives on the GPU, CPU forbidden, or on the CPU differs from what another gives on the CPU, where both give it. */
    compareFiles: (
      file: string,
      reference: string,
      feeds: readonly Feed[],
      provider: 'webgpu' | 'wasm',
    ) => Promise<readonly Difference[]>;
  }
}

ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
ort.env.wasm.numThreads = 1;

function tensorOf({ name, dims, type, scale = 1 }: Feed): ort.Tensor {
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (type === 'int64') return new ort.Tensor('int64', new BigInt64Array(size).fill(BigInt(scale)), dims);
  if (type === 'bool') return new ort.Tensor('bool', new Uint8Array(size).fill(1), dims);
  const data = Float32Array.from({ length: size }, (_, i) => (name === 'target' ? 0 : scale * Math.sin(i * 0.73)));
  return new ort.Tensor('float32', data, dims);
}

async function run(bytes: Uint8Array, feeds: readonly Feed[], provider: 'webgpu' | 'wasm') {
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(provider === 'webgpu' ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {}),
  });
  const outputs: Record<string, Float64Array> = {};
  if (feeds.length > 0) {
    const known = feeds.filter(({ name }) => session.inputNames.includes(name));
    const inputs = Object.fromEntries(known.map((feed) => [feed.name, tensorOf(feed)]));
    for (const [name, tensor] of Object.entries(await session.run(inputs))) {
      outputs[name] = Float64Array.from((await tensor.getData()) as Float32Array, Number);
      tensor.dispose();
    }
    for (const tensor of Object.values(inputs)) tensor.dispose();
  }
  await session.release();
  return outputs;
}

window.runGraph = async (bytes, feeds, provider) => {
  const outputs = await run(Uint8Array.from(bytes), feeds, provider);
  return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, [...values]]));
};

const fetched = async (file: string): Promise<Uint8Array> => new Uint8Array(await (await fetch(file)).arrayBuffer());

window.compareFiles = async (file, reference, feeds, provider) => {
  const found = await run(await fetched(file), feeds, provider);
  const expected = await run(await fetched(reference), feeds, 'wasm');
  return Object.entries(expected).flatMap(([name, values]) => {
    const other = found[name];
    if (other === undefined) return [];
    let [difference, largest] = [0, 0];
    for (const [index, value] of values.entries()) {
      largest = Math.max(largest, Math.abs(value));
      const apart = Math.abs(value - other[index]!);
      if (!(apart <= difference)) difference = apart;
    }
    return [{ name, difference, largest }];
  });
};
