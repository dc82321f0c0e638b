import { WhylightError } from '../errors.js';
import { decodeModel } from '../graph/decode.js';
import { sizeOf } from '../graph/graph.js';
import type { CompiledExplanation, CompileOptions, CompileReport } from '../lrp/report.js';
import { type ArrayPool, createArrayPool } from './array-pool.js';
import { createCanvasPicture } from './canvas-picture.js';
import type { Device, DeviceChoice, FloatArray } from './explanation.js';
import { createGpuPicture } from './gpu-picture.js';
import { channelRanges, isFloat, type ResolvedMetadata, resolveMetadata } from './metadata.js';
import type { FitGeometry, Picture } from './preprocess.js';
import type { Progress, Sound, StartRequest } from './protocol.js';
import {
  type Feed,
  type Held,
  type OpenCounts,
  openSession,
  type RunResult,
  type Session,
  sentence,
} from './session.js';
import { createSoundInput } from './sound-input.js';
import { type CheckedRun, checkDevice, isRounding } from './startup-check.js';

/** The compiler, as sdk/lrp/compile.ts has it. */
export type Compile = (model: Uint8Array, options: CompileOptions) => CompiledExplanation;

/** What is wanted of one run. */
export interface RunRequest {
  /** the input that frames fill, on the CPU or on the engine's GPU */
  readonly image: Float32Array | GPUBuffer;
  /** one weight per element of the explained output */
  readonly target: Float32Array;
  /** false: forward only */
  readonly explain: boolean;
  /** false: nothing is copied out of a GPU on which `use` takes what there is */
  readonly numbers: boolean;
  /** what is copied out of a GPU is written over; default new arrays */
  readonly into?: Pick<ArrayPool, 'take'>;
  /** on a GPU, is given the picture's relevance where it lies, undefined where there is none */
  use?(relevance: Held | undefined): Promise<void>;
}

/** The compiled graph on one device. */
export interface Engine {
  readonly report: CompileReport;
  readonly choice: DeviceChoice;
  /** where it runs, undefined on the CPU */
  readonly gpu: GPUDevice | undefined;
  /** the GPU's name, '' where there is none */
  readonly adapter: string;
  /** resolves with the reason when the GPU is gone */
  readonly lost: Promise<string>;
  /**
   * Fits a picture, or a window of sound, into the model's input where the engine runs; an image stays open, and may be closed when it
   * resolves.
   */
  fit(content: Picture | Sound): Promise<{ readonly fit: FitGeometry; readonly image: Float32Array | GPUBuffer }>;
  /** One run. */
  run(request: RunRequest): Promise<RunResult>;
  release(): Promise<void>;
}

/** A model for which engines can be made, on one device after another. */
export interface EngineRoom {
  readonly metadata: ResolvedMetadata;
  /** the model leaves its input's height and width open */
  readonly resizable: boolean;
  /** names of the outputs that the model itself has */
  readonly modelOutputs: readonly string[];
  /** Chooses a device as `request.device` says. Throws WhylightError DEVICE_UNAVAILABLE, SESSION_FAILED, or what the compiler throws. */
  choose(): Promise<Engine>;
  /**
   * The engine on WASM after the GPU's was lost: the one that the GPU was checked against, in the runtime that was loaded for the GPU.
   * Nothing has to be fetched, compiled or opened.
   */
  goOnOnCpu(lost: string): Engine;
  /** Releases what stands by. */
  release(): Promise<void>;
}

/** A device that was tried. */
export type Tried = DeviceChoice['tried'][number];

/** What relevance outputs of a compiled graph are called, before the tensor's name. */
export const relevancePrefix = 'relevance/';

/** Reads the model's inputs and outputs and checks the metadata against them. */
export async function openEngineRoom(
  compile: Compile,
  request: StartRequest,
  onProgress: (progress: Progress) => void,
  counts: OpenCounts,
): Promise<EngineRoom> {
  const wasmPaths = request.wasmPaths ?? new URL('./', globalThis.location.href).href;
  const threads = globalThis.crossOriginIsolated ? (request.numThreads ?? defaultThreads()) : 1;
  const { graph } = decodeModel(await bytesOf(request.model));
  const rounding = isRounding(graph);
  const metadata = resolveMetadata(request.metadata, graph.inputs);
  const { input } = metadata;
  const ranges = channelRanges(input);
  const resizable = isResizable(input, graph.inputs.find(({ name }) => name === input.name)?.dims ?? []);
  const modelOutputs = graph.outputs.map((output) => output.name);
  const floatOutputs = [
    ...graph.outputs.filter(({ type }) => isFloat(type)).map((output) => output.name),
    ...[input.name, ...request.taps].map((name) => relevancePrefix + name),
    'conservation',
    'absorbed',
  ];

  // Compiled for each device anew, from the file: keeping compiled graphs would keep the weights several times
  const compileFor = async (device: Device): Promise<CompiledExplanation> => {
    onProgress({ stage: 'compile' });
    return compile(await bytesOf(request.model), {
      target: device,
      types: 'float32',
      inputShapes: { [input.name]: input.shape },
      inputRanges: { [input.name]: input.kind === 'waveform' ? input.range : ranges },
      inputValues: metadata.inputValues,
      gated: true,
      audit: request.audit,
      ...(request.taps.length === 0 ? {} : { taps: request.taps }),
      ...(request.composite === undefined ? {} : { composite: request.composite }),
      ...(metadata.output === undefined ? {} : { output: metadata.output }),
    });
  };

  /**
   * The start-up check's engine on WASM, where the GPU's was chosen. Releasing it would give nothing back: WebAssembly's memory does
   * not shrink.
   */
  let standby: Engine | undefined;

  const open = async ({ model, report }: CompiledExplanation, build: Device, choice: DeviceChoice) => {
    const { device } = choice;
    const session = await openSession(model, { device, build, threads, wasmPaths, floatOutputs }, counts);
    return engineOf(session, report, choice, metadata, modelOutputs);
  };

  /** WASM, where `tried` did not work because of `why`. */
  const onCpu = (tried: readonly Tried[], why: string): DeviceChoice => {
    const single = globalThis.crossOriginIsolated ? '' : ' (the page is not cross-origin isolated)';
    const reason = `WASM with ${threads === 1 ? `one thread${single}` : `${threads} threads`}: ${why}`;
    const chosen: Tried = { device: 'wasm', outcome: 'chosen', reason };
    return { device: 'wasm', threads, reason, tried: [...tried, chosen] };
  };

  const openOnCpu = async (tried: readonly Tried[], why: string): Promise<Engine> => {
    const compiled = await compileFor('wasm');
    onProgress({ stage: 'session', device: 'wasm' });
    return open(compiled, 'wasm', onCpu(tried, why));
  };

  /** An engine on the GPU that has passed the start-up check, or why there is none. */
  const openOnGpu = async (): Promise<Engine | Tried> => {
    const missing = await withoutGpu(request.device);
    if (missing !== undefined) return { device: 'webgpu', outcome: 'unavailable', reason: missing };
    const opened: Engine[] = [];
    const kept = async (engine: Promise<Engine>) => {
      opened.push(await engine);
      return engine;
    };
    const giveUp = async (outcome: Tried['outcome'], reason: string): Promise<Tried> => {
      for (const engine of opened) await engine.release().catch(() => undefined);
      return { device: 'webgpu', outcome, reason };
    };
    try {
      const unchecked: DeviceChoice = { device: 'webgpu', threads, reason: '', tried: [] };
      const [forGpu, forCpu] = [await compileFor('webgpu'), await compileFor('wasm')];
      onProgress({ stage: 'session', device: 'webgpu' });
      const engine = await kept(open(forGpu, 'webgpu', unchecked));
      const reference = await kept(open(forCpu, 'webgpu', { ...unchecked, device: 'wasm' }));
      onProgress({ stage: 'check' });
      const runOf =
        (on: Engine): CheckedRun =>
        async (image, target) =>
          (await on.run({ image, target, explain: true, numbers: true })).outputs;
      const { output, shape } = forCpu.report.explained;
      const comparison = await checkDevice({
        reference: runOf(reference),
        device: runOf(engine),
        input: { size: sizeOf(input.shape), range: [Math.min(...ranges[0]), Math.max(...ranges[1])] },
        explained: { output, size: sizeOf(shape) },
        rounding,
      });
      if (!comparison.agree) return giveUp('differs', `WebGPU gives wrong values: ${comparison.sentence}`);
      standby = reference;
      const reason = `WebGPU: ${comparison.sentence}`;
      const choice: DeviceChoice = {
        device: 'webgpu',
        threads,
        reason,
        ...(engine.adapter === '' ? {} : { adapter: engine.adapter }),
        tried: [{ device: 'webgpu', outcome: 'chosen', reason }],
      };
      return { ...engine, choice };
    } catch (error) {
      const failed = await giveUp('failed', `WebGPU failed: ${sentence(error)}`);
      // what is wrong with the model or an option is wrong on every device
      if (error instanceof WhylightError && error.code !== 'SESSION_FAILED') throw error;
      return failed;
    }
  };

  return {
    metadata,
    resizable,
    modelOutputs,
    goOnOnCpu(lost) {
      const engine = standby!;
      standby = undefined;
      const tried: Tried = { device: 'webgpu', outcome: 'lost', reason: lost };
      return { ...engine, choice: onCpu([tried], `the GPU was lost, ${lost}`) };
    },
    release: async () => standby?.release(),
    async choose() {
      if (request.device === 'wasm') return openOnCpu([], 'it was asked for');
      const gpu = await openOnGpu();
      if ('run' in gpu) return gpu;
      if (request.device === 'auto') return openOnCpu([gpu], gpu.reason);
      throw new WhylightError('DEVICE_UNAVAILABLE', `The device "webgpu" cannot be used: ${gpu.reason}.`, {
        details: { device: 'webgpu', outcome: gpu.outcome },
      });
    },
  };
}

/** Whether a model leaves the height and the width of its pictures open. */
function isResizable(input: ResolvedMetadata['input'], dims: readonly (number | string)[]): boolean {
  if (input.kind !== 'picture') return false;
  const [height, width] = input.layout === 'NCHW' ? dims.slice(2) : dims.slice(1);
  return typeof height === 'string' && typeof width === 'string';
}

/** How frames get into the model's input: pictures drawn where it runs, samples as they are. */
function inputOf(
  input: ResolvedMetadata['input'],
  gpu: GPUDevice | undefined,
): Pick<Engine, 'fit'> & { readonly destroy?: () => void } {
  if (input.kind === 'waveform') {
    const hear = createSoundInput(input);
    return { fit: async (content) => hear(content as Sound) };
  }
  if (gpu === undefined) {
    const draw = createCanvasPicture(input);
    return { fit: async (content) => draw(content as Picture) };
  }
  const picture = createGpuPicture(gpu, input);
  return {
    fit: async (content) => ({ fit: await picture.draw(content as Picture), image: picture.buffer }),
    destroy: () => picture.destroy(),
  };
}

function engineOf(
  session: Session,
  report: CompileReport,
  choice: DeviceChoice,
  metadata: ResolvedMetadata,
  modelOutputs: readonly string[],
): Engine {
  const forward = [...new Set([...modelOutputs, report.explained.logits])].filter((name) =>
    session.outputs.includes(name),
  );
  const relevance = relevancePrefix + metadata.input.name;
  const { gpu } = session;
  const { fit, destroy } = inputOf(metadata.input, gpu);
  return {
    report,
    choice,
    gpu,
    adapter: session.adapter,
    lost: session.lost,
    fit,
    run({ image, target, explain, numbers, into = createArrayPool(), use }) {
      const feeds: Record<string, Feed> = {
        [metadata.input.name]: { type: 'float32', dims: metadata.input.shape, data: image },
        target: { type: 'float32', dims: report.explained.shape, data: target },
      };
      if (session.inputs.includes('explain')) feeds.explain = { type: 'bool', dims: [], data: explain };
      const wanted = explain ? session.outputs : forward;
      // on the CPU there is nothing to be spared: outputs are where they are read
      if (gpu === undefined || use === undefined) return session.run(feeds, { read: wanted, into });
      const held = explain ? [relevance] : forward;
      return session.run(feeds, { read: numbers ? wanted : [], into, held, use: (buffers) => use(buffers[relevance]) });
    },
    release() {
      destroy?.();
      return session.release();
    },
  };
}

/** The outputs of a run by what they are; names of relevance lose their prefix. */
export function sortOutputs(
  all: Readonly<Record<string, FloatArray>>,
  modelOutputs: readonly string[],
  report: CompileReport,
): {
  readonly outputs: Readonly<Record<string, FloatArray>>;
  readonly logits: Float32Array | undefined;
  readonly relevance: Readonly<Record<string, FloatArray>>;
  readonly conservation: { readonly sums: Float32Array; readonly absorbed: Float32Array } | undefined;
} {
  const entries = Object.entries(all);
  const sums = all.conservation?.data;
  return {
    outputs: Object.fromEntries(entries.filter(([name]) => modelOutputs.includes(name))),
    logits: all[report.explained.logits]?.data,
    relevance: Object.fromEntries(
      entries
        .filter(([name]) => name.startsWith(relevancePrefix))
        .map(([name, value]) => [name.slice(relevancePrefix.length), value]),
    ),
    conservation:
      sums === undefined ? undefined : { sums, absorbed: all.absorbed?.data ?? new Float32Array(sums.length) },
  };
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}

/**
 * Why WebGPU is not to be used here, undefined where it is. A GPU that the browser emulates on the CPU is ten times slower than
 * WASM; it is taken only where it is asked for, as tests do.
 */
async function withoutGpu(asked: StartRequest['device']): Promise<string | undefined> {
  const gpu: GPU | undefined = globalThis.navigator.gpu;
  if (gpu === undefined) return 'the browser has no WebGPU';
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (adapter === null) return 'the browser finds no GPU';
  return adapter.info.isFallbackAdapter && asked === 'auto' ? 'the browser only emulates a GPU in software' : undefined;
}

/** What ONNX Runtime itself would take: half of the cores, four at most. */
function defaultThreads(): number {
  return Math.min(4, Math.max(1, Math.ceil(navigator.hardwareConcurrency / 2)));
}
