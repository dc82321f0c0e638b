import { WhylightError } from '../errors.js';
import type { OpenModel, TensorData, Tensors } from '../quantize/runtime.js';
import { sentence } from './session.js';

/** Where and how {@link wasmRuntime} runs. */
export interface WasmRuntimeOptions {
  /** WebAssembly threads, ≥ 1; default 1. More need a page that is cross-origin isolated. */
  readonly numThreads?: number;
  /** folder of ONNX Runtime's .wasm and .mjs files, ending in '/'; default where the package finds them itself */
  readonly wasmPaths?: string;
}

/**
 * Runs models with ONNX Runtime's WebAssembly on this very thread: in a worker, so that a page does not stand still, or in Node.
 * ONNX Runtime is loaded with the first model.
 *
 * Opening throws WhylightError SESSION_FAILED with ONNX Runtime's own sentence, and so does a run.
 */
export function wasmRuntime(options: WasmRuntimeOptions = {}): OpenModel {
  return async (model) => {
    const ort = await import('onnxruntime-web/wasm');
    const failed = (what: string, error: unknown): WhylightError =>
      new WhylightError('SESSION_FAILED', `ONNX Runtime could not ${what} the model: ${sentence(error)}`, {
        cause: error,
      });
    ort.env.logLevel = 'error';
    ort.env.wasm.numThreads = options.numThreads ?? 1;
    if (options.wasmPaths !== undefined) ort.env.wasm.wasmPaths = options.wasmPaths;
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ['wasm'],
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    }).catch((error: unknown) => {
      throw failed('load', error);
    });
    return {
      async run(inputs) {
        const feeds = Object.fromEntries(
          session.inputNames.flatMap((name) => {
            const value = inputs[name];
            return value === undefined
              ? []
              : [[name, new ort.Tensor(value.type ?? 'float32', value.data as Float32Array, value.dims)]];
          }),
        );
        try {
          const results = await session.run(feeds);
          const outputs: Tensors = Object.fromEntries(
            Object.entries(results).map(([name, { type, dims, data }]) => [name, { type, dims, data } as TensorData]),
          );
          for (const result of Object.values(results)) result.dispose();
          return outputs;
        } catch (error) {
          throw failed('run', error);
        } finally {
          for (const feed of Object.values(feeds)) feed.dispose();
        }
      },
      close: () => session.release(),
    };
  };
}
