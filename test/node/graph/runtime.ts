import * as ort from 'onnxruntime-web/wasm';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { Model, StaticType, Tensor } from '../../../sdk/graph/graph.js';
import { sizeOf } from '../../../sdk/graph/graph.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

type Feeds = Readonly<Record<string, Tensor>>;

/** A random tensor in [-scale, scale], or of small integers. */
export function randomTensor({ type, dims }: StaticType, random: () => number, scale = 1): Tensor {
  const floating = type.startsWith('float');
  const values = Float64Array.from({ length: sizeOf(dims) }, () =>
    floating ? (random() * 2 - 1) * scale : Math.floor(random() * 4),
  );
  return tensorOf(type, dims, values);
}

/** Runs a model in ONNX Runtime (WebAssembly, one thread, graph as it is) and gives its outputs. */
export async function runModel(model: Model | Uint8Array, feeds: Feeds): Promise<Map<string, Tensor>> {
  const bytes = model instanceof Uint8Array ? model : encodeModel(model);
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: 'disabled', logSeverityLevel: 3 });
  try {
    const results = await session.run(
      Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, toOrt(feed)])),
    );
    return new Map(Object.entries(results).map(([name, result]) => [name, fromOrt(result)]));
  } finally {
    await session.release();
  }
}

function toOrt({ type, dims, bytes }: Tensor): ort.Tensor {
  const copy = bytes.slice().buffer;
  const data = {
    float32: () => new Float32Array(copy),
    float16: () => new Uint16Array(copy),
    int64: () => new BigInt64Array(copy),
    int32: () => new Int32Array(copy),
    uint8: () => new Uint8Array(copy),
    bool: () => new Uint8Array(copy),
  }[type as 'float32']();
  return new ort.Tensor(type as 'float32', data as Float32Array, dims);
}

function fromOrt({ type, dims, data }: ort.Tensor): Tensor {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return { type: type as Tensor['type'], dims: [...dims], bytes: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** Largest difference between two tensors, in units of the greatest expected value; Infinity where shapes or finiteness differ. */
export function difference(found: Tensor | undefined, expected: Tensor): number {
  if (found === undefined || found.dims.join() !== expected.dims.join()) return Number.POSITIVE_INFINITY;
  const [a, b] = [numbersOf(found), numbersOf(expected)];
  let greatest = 0;
  let most = 0;
  for (let i = 0; i < b.length; i++) {
    if (Object.is(a[i], b[i])) continue;
    if (!Number.isFinite(b[i]!) || !Number.isFinite(a[i]!)) return Number.POSITIVE_INFINITY;
    most = Math.max(most, Math.abs(a[i]! - b[i]!));
  }
  for (const value of b) if (Number.isFinite(value)) greatest = Math.max(greatest, Math.abs(value));
  return most === 0 ? 0 : most / Math.max(greatest, 1e-30);
}
