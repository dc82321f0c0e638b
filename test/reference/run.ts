import * as ort from 'onnxruntime-web/wasm';

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

/** A tensor to feed: float32 from numbers, bool from booleans, int64 from bigints. */
export interface Feed {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number> | readonly boolean[] | BigInt64Array;
}

/** A tensor that came out; booleans and integers as numbers. */
export interface Result {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** A model that can be run again and again in ONNX Runtime (WebAssembly, one thread). */
export interface RunnableModel {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, Feed>>): Promise<Record<string, Result>>;
  release(): Promise<void>;
}

export async function openModel(
  bytes: Uint8Array,
  options: ort.InferenceSession.SessionOptions = {},
): Promise<RunnableModel> {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3, ...options });
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(feeds) {
      const tensors = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, tensorOf(feed)]));
      const outputs = await session.run(tensors);
      return Object.fromEntries(
        Object.entries(outputs).map(([name, output]) => {
          const result = { dims: output.dims, data: Float64Array.from(output.data as ArrayLike<number>, Number) };
          output.dispose();
          return [name, result];
        }),
      );
    },
    release: () => session.release(),
  };
}

/** Runs a model once and releases it. */
export async function runModel(
  bytes: Uint8Array,
  feeds: Readonly<Record<string, Feed>>,
): Promise<Record<string, Result>> {
  const model = await openModel(bytes);
  try {
    return await model.run(feeds);
  } finally {
    await model.release();
  }
}

function tensorOf({ dims, data }: Feed): ort.Tensor {
  if (data instanceof BigInt64Array) return new ort.Tensor('int64', data, dims);
  if (typeof data[0] === 'boolean') return new ort.Tensor('bool', Array.from(data as readonly boolean[]), dims);
  return new ort.Tensor('float32', Float32Array.from(data as ArrayLike<number>), dims);
}
