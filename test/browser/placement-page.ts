import * as ort from 'onnxruntime-web/webgpu';

declare global {
  interface Window {
    /** Opens a graph on the GPU with the CPU forbidden: undefined where it can be, else what the runtime says. */
    opensOnGpu: (bytes: readonly number[]) => Promise<string | undefined>;
  }
}

ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
ort.env.wasm.numThreads = 1;

window.opensOnGpu = async (bytes) => {
  try {
    const session = await ort.InferenceSession.create(Uint8Array.from(bytes), {
      executionProviders: ['webgpu'],
      logSeverityLevel: 4,
      extra: { session: { disable_cpu_ep_fallback: '1' } },
    });
    await session.release();
    return undefined;
  } catch (error) {
    return String(error);
  }
};
