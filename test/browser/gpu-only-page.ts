import * as ort from 'onnxruntime-web/webgpu';

/** What a compiled graph gave on one device, by output. */
export type Outputs = Readonly<Record<string, number[]>>;

/** A float32 input, filled with a fixed pattern of both signs; `target` with zeros. */
export interface Feed {
  readonly name: string;
  readonly dims: number[];
}

declare global {
  interface Window {
    /** Runs a graph on the GPU with the CPU forbidden (creation then fails where a node has no kernel there), or on the CPU. */
    runGraph: (bytes: readonly number[], feeds: readonly Feed[], provider: 'webgpu' | 'wasm') => Promise<Outputs>;
  }
}

ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
ort.env.wasm.numThreads = 1;

window.runGraph = async (bytes, feeds, provider) => {
  const session = await ort.InferenceSession.create(Uint8Array.from(bytes), {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(provider === 'webgpu' ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {}),
  });
  const inputs = Object.fromEntries(
    feeds.map(({ name, dims }) => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      const data = Float32Array.from({ length: size }, (_, i) => (name === 'target' ? 0 : Math.sin(i * 0.73)));
      return [name, new ort.Tensor('float32', data, dims)];
    }),
  );
  const results = await session.run(inputs);
  const outputs: Record<string, number[]> = {};
  for (const [name, tensor] of Object.entries(results)) {
    outputs[name] = [...((await tensor.getData()) as Float32Array)];
    tensor.dispose();
  }
  for (const tensor of Object.values(inputs)) tensor.dispose();
  await session.release();
  return outputs;
};
