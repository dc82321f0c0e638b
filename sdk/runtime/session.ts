import type { InferenceSession, Tensor } from 'onnxruntime-web/wasm';
import { WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { ArrayPool } from './array-pool.js';
import type { Device, FloatArray } from './explanation.js';
import { createReadback } from './gpu-readback.js';

/** What a session is opened with. */
export interface SessionOptions {
  /** where it runs */
  readonly device: Device;
  /** which of ONNX Runtime's builds it runs in; the one for WebGPU has the CPU as well */
  readonly build: Device;
  /** WebAssembly threads, ≥ 1 */
  readonly threads: number;
  /** folder of ONNX Runtime's .wasm and .mjs files, ending in '/' */
  readonly wasmPaths: string;
  /** float32 outputs, which WebGPU leaves on the GPU until they are asked for; other types it cannot */
  readonly floatOutputs: readonly string[];
}

/** One input tensor of a run; what is on the session's own GPU stays there. */
export type Feed =
  | { readonly type: 'float32'; readonly dims: readonly number[]; readonly data: Float32Array | GPUBuffer }
  | { readonly type: 'bool'; readonly dims: readonly number[]; readonly data: boolean };

/** An output that stays on the GPU, float32; its buffer may be longer, and is valid until the next run. */
export interface Held {
  readonly dims: readonly number[];
  readonly buffer: GPUBuffer;
}

/** Which outputs of a run are wanted, and where. */
export interface Wanted {
  /** copied out of the device */
  readonly read: readonly string[];
  /** what a GPU's outputs are copied into */
  readonly into: Pick<ArrayPool, 'take'>;
  /** left on the GPU for `use`, which has submitted its commands when it resolves; empty on the CPU */
  readonly held?: readonly string[];
  /** is given the held outputs by name */
  use?(held: Readonly<Record<string, Held>>): Promise<void>;
}

/** What one run gave. */
export interface RunResult {
  readonly outputs: Readonly<Record<string, FloatArray>>;
  /** milliseconds of the run, the device's work included */
  readonly inference: number;
  /** milliseconds of copying the outputs out */
  readonly readback: number;
}

/** A loaded graph. One run at a time: ONNX Runtime's WebGPU build hangs where two overlap. */
export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** where it runs, undefined on the CPU */
  readonly gpu: GPUDevice | undefined;
  /** the GPU's name, '' on the CPU or where the browser hides it */
  readonly adapter: string;
  /** resolves with the reason when the GPU is gone; never otherwise */
  readonly lost: Promise<string>;
  /** Rejects also when the GPU is lost meanwhile. */
  run(feeds: Readonly<Record<string, Feed>>, wanted: Wanted): Promise<RunResult>;
  release(): Promise<void>;
}

/** Sessions and tensors that are open now. */
export interface OpenCounts {
  tensors: number;
  sessions: number;
}

/** The two builds have the same interface; only what is needed is loaded. */
type Runtime = typeof import('onnxruntime-web/wasm');

/**
 * Loads a build of ONNX Runtime and the graph into it. `counts` is kept up to date.
 *
 * Throws WhylightError SESSION_FAILED with ONNX Runtime's own sentence.
 */
export async function openSession(model: Uint8Array, options: SessionOptions, counts: OpenCounts): Promise<Session> {
  const { device, build } = options;
  const onGpu = device === 'webgpu';
  try {
    const ort: Runtime =
      build === 'webgpu' ? await import('onnxruntime-web/webgpu') : await import('onnxruntime-web/wasm');
    ort.env.wasm.wasmPaths = options.wasmPaths;
    ort.env.wasm.numThreads = options.threads;
    // this already is a worker, and the proxy refuses tensors on the GPU
    ort.env.wasm.proxy = false;
    ort.env.logLevel = 'error';
    const session = await ort.InferenceSession.create(model, {
      executionProviders: [device],
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
      ...(onGpu
        ? { preferredOutputLocation: Object.fromEntries(options.floatOutputs.map((name) => [name, 'gpu-buffer'])) }
        : {}),
    });
    counts.sessions++;
    const gpu: GPUDevice | undefined = onGpu ? await ort.env.webgpu.device : undefined;
    return wrap(ort, session, gpu, counts);
  } catch (error) {
    throw new WhylightError(
      'SESSION_FAILED',
      `ONNX Runtime could not load the explanation graph on ${device}: ${sentence(error)}`,
      { details: { device }, cause: error },
    );
  }
}

/** ONNX Runtime's message, or whatever was thrown, as one line. */
export function sentence(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').trim();
}

function wrap(ort: Runtime, session: InferenceSession, gpu: GPUDevice | undefined, counts: OpenCounts): Session {
  const lost = new Promise<string>((resolve) => {
    gpu?.lost.then((info) => {
      // ONNX Runtime destroys the device itself with the last session
      if (info.reason !== 'destroyed') resolve(info.message || 'the GPU was reset');
    });
  });
  let abandon: ((reason: Error) => void) | undefined;
  void lost.then((reason) => abandon?.(new Error(reason)));
  const readback = gpu === undefined ? undefined : createReadback(gpu);
  let open = true;
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    gpu,
    adapter: gpu === undefined ? '' : adapterName(gpu.adapterInfo),
    lost,
    async run(feeds, { read, into, held = [], use }) {
      const tensors: Tensor[] = [];
      const own = (tensor: Tensor) => {
        tensors.push(tensor);
        counts.tensors++;
        return tensor;
      };
      try {
        const inputs = Object.fromEntries(
          Object.entries(feeds).map(([name, feed]) => [name, own(tensorOf(ort, feed))]),
        );
        const started = performance.now();
        // a run on a device that is lost may never end
        const results = await new Promise<InferenceSession.ReturnType>((resolve, reject) => {
          abandon = reject;
          session.run(inputs, [...new Set([...read, ...held])]).then(resolve, reject);
        });
        for (const result of Object.values(results)) own(result);
        await gpu?.queue.onSubmittedWorkDone();
        const ran = performance.now();
        const onGpu = (name: string): Held | undefined => {
          const result = results[name];
          if (result?.location !== 'gpu-buffer') return undefined;
          return { dims: result.dims, buffer: result.gpuBuffer as unknown as GPUBuffer };
        };
        const entries = (names: readonly string[]) =>
          names.flatMap((name) => {
            const found = onGpu(name);
            return found === undefined ? [] : [[name, found] as const];
          });
        await use?.(Object.fromEntries(entries(held)));
        const used = performance.now();
        const outputs: Record<string, FloatArray> = {};
        const copied = entries(read);
        const arrays = await readback?.read(
          copied.map(([, { dims, buffer }]) => ({ buffer, length: sizeOf(dims) })),
          into,
        );
        for (const [index, [name, { dims }]] of copied.entries()) outputs[name] = { dims, data: arrays![index]! };
        for (const name of read) {
          const result = results[name]!;
          outputs[name] ??= { dims: result.dims, data: floats(await result.getData(true)) };
        }
        return { outputs, inference: ran - started, readback: performance.now() - used };
      } finally {
        for (const tensor of tensors) {
          tensor.dispose();
          counts.tensors--;
        }
      }
    },
    async release() {
      if (!open) return;
      open = false;
      counts.sessions--;
      readback?.destroy();
      await session.release();
    },
  };
}

function tensorOf(ort: Runtime, { type, dims, data }: Feed): Tensor {
  if (type === 'bool') return new ort.Tensor('bool', [data], dims);
  if (data instanceof Float32Array) return new ort.Tensor('float32', data, dims);
  return ort.Tensor.fromGpuBuffer(data, { dataType: 'float32', dims });
}

function adapterName(info: GPUAdapterInfo): string {
  return info.description || [info.vendor, info.architecture].filter((part) => part !== '').join(' ');
}

/** Any numeric tensor as float32; a float32 one stays the array that it is. */
function floats(data: Awaited<ReturnType<Tensor['getData']>>): Float32Array {
  if (data instanceof Float32Array) return data;
  return Float32Array.from(data as Iterable<unknown> & ArrayLike<unknown>, Number);
}
