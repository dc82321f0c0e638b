/** A tensor that goes into a model or comes out of it. */
export interface TensorData {
  /** As ONNX Runtime names types; float32 where nothing is said. */
  readonly type?: 'float32' | 'float16' | 'float64' | 'int64' | 'int32' | 'uint8' | 'int8' | 'bool';
  /** Row-major shape, [] for a scalar. */
  readonly dims: readonly number[];
  /** Row-major; bool as 0 and 1, float16 as its bits. */
  readonly data: Float32Array | Uint16Array | Float64Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
}

/** Tensors by name. */
export type Tensors = Readonly<Record<string, TensorData>>;

/** A model that is loaded and can be run; runs do not overlap. */
export interface OpenedModel {
  /** Computes all outputs. */
  run(inputs: Tensors): Promise<Tensors>;
  /** Frees what the model holds. */
  close(): Promise<void>;
}

/** Loads an ONNX file, for running it on this machine: `wasmRuntime()` in a browser, a worker or Node. */
export type OpenModel = (model: Uint8Array) => Promise<OpenedModel>;
