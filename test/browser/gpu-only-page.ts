import * as ort from 'onnxruntime-web/webgpu';

/** What a compiled graph gave on one device, by output. */
export type Outputs = Readonly<Record<string, number[]>>;

/** An input: float32 filled with a fixed pattern of both signs, `target` with zeros, a bool with true. */
export interface Feed {
  readonly name: string;
  readonly dims: number[];
  readonly type?: 'float32' | 'bool';
}

declare global {
  interface Window {
    /**
     * Runs a graph on the GPU with the CPU forbidden (creation then fails where a node has no kernel there), or on the CPU. Without
     * feeds the session is created and released.
     */
    runGraph: (bytes: readonly number[], feeds: readonly Feed[], provider: 'webgpu' | 'wasm') => Promise<Outputs>;
  }
}

ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
ort.env.wasm.numThreads = 1;

function tensorOf({ name, dims, type }: Feed): ort.Tensor {
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (type === 'bool') return new ort.Tensor('bool', new Uint8Array(size).fill(1), dims);
  const data = Float32Array.from({ length: size }, (_, i) => (name === 'target' ? 0 : Math.sin(i * 0.73)));
  return new ort.Tensor('float32', data, dims);
}

window.runGraph = async (bytes, feeds, provider) => {
  const session = await ort.InferenceSession.create(Uint8Array.from(bytes), {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(provider === 'webgpu' ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {}),
  });
  const outputs: Record<string, number[]> = {};
  if (feeds.length > 0) {
    const inputs = Object.fromEntries(feeds.map((feed) => [feed.name, tensorOf(feed)]));
    for (const [name, tensor] of Object.entries(await session.run(inputs))) {
      outputs[name] = Array.from((await tensor.getData()) as Float32Array, Number);
      tensor.dispose();
    }
    for (const tensor of Object.values(inputs)) tensor.dispose();
  }
  await session.release();
  return outputs;
};
