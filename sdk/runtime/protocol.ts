import type { SerializedError } from '../errors.js';
import type { Composite } from '../lrp/composite.js';
import type { CompileReport } from '../lrp/report.js';
import type { Arrays } from './array-pool.js';
import type { DrawOptions } from './drawing.js';
import type { Device, DeviceChoice } from './explanation.js';
import type { ModelMetadata, ResolvedMetadata } from './metadata.js';
import type { FitGeometry, Picture } from './preprocess.js';
import type { OpenCounts } from './session.js';

// What crosses the border between the page and the explainer worker. Everything here is plain data, an image that is
// transferred, or a Comlink proxy.

/** How far a start has come. */
export type Progress =
  | {
      /** the model is being fetched */
      readonly stage: 'download';
      /** bytes so far */
      readonly loaded: number;
      /** bytes, undefined where the server does not say */
      readonly total: number | undefined;
    }
  | {
      /** the explanation is being compiled */
      readonly stage: 'compile';
    }
  | {
      /** ONNX Runtime and the graph are being loaded */
      readonly stage: 'session';
      /** for this device */
      readonly device: Device;
    }
  | {
      /** one frame is being compared between GPU and CPU */
      readonly stage: 'check';
    }
  | {
      /** it runs */
      readonly stage: 'ready';
      /** on this device */
      readonly device: Device;
    };

/** Everything that a worker needs to make an explainer. */
export interface StartRequest {
  readonly model: Blob;
  readonly metadata: ModelMetadata;
  readonly composite: Composite | undefined;
  readonly taps: readonly string[];
  readonly audit: boolean;
  readonly device: 'auto' | Device;
  readonly numThreads: number | undefined;
  /** undefined: next to the worker's script */
  readonly wasmPaths: string | undefined;
}

/** What the worker made. */
export interface StartReply {
  readonly choice: DeviceChoice;
  readonly metadata: ResolvedMetadata;
  readonly report: CompileReport;
  /** the model leaves its input's height and width open */
  readonly resizable: boolean;
  readonly counts: WorkerCounts;
}

/** What a worker holds. */
export interface WorkerCounts extends OpenCounts {
  /** bytes of WebAssembly memory */
  readonly wasm: number;
  /** bytes of GPU buffers and textures */
  readonly gpu: number;
}

/** Milliseconds of one run of a graph, at best and measured in turns. */
export interface Calibration {
  readonly forward: number;
  /** forward and backward */
  readonly explained: number;
}

/** What the worker says without being asked; given to it as a Comlink proxy. */
export interface WorkerEvents {
  progress(progress: Progress): void;
  /** the device was lost and another one goes on, with what the worker holds now: it may not be asked for long */
  fellBack(choice: DeviceChoice, warning: SerializedError, counts: WorkerCounts): void;
}

/** The samples of a window of sound, −1…1. */
export interface Sound {
  readonly samples: Float32Array;
}

/** One picture, or one window of sound, to explain. */
export interface ExplainRequest {
  /** a picture's image is transferred, and the worker closes it; samples are copied */
  readonly content: Picture | Sound;
  /** one weight per output, all 0 for the strongest */
  readonly target: Float32Array;
  /** false: forward only */
  readonly relevance: boolean;
  /** false: where it is drawn on the GPU nothing is read back from there */
  readonly numbers: boolean;
  /** undefined: not drawn */
  readonly draw: DrawOptions | undefined;
  /** in microseconds */
  readonly timestamp: number;
  /** buffers of former replies, transferred, to be written over */
  readonly spare: readonly ArrayBuffer[];
}

/** What one run gave; its arrays are transferred: outputs are the model's own, logits those that are explained, where the graph gives them. */
export interface ExplainReply extends Arrays {
  readonly fit: FitGeometry;
  /** transferred; undefined where none was asked for */
  readonly drawing: ImageBitmap | undefined;
  /** milliseconds */
  readonly timing: {
    readonly queue: number;
    readonly preprocess: number;
    readonly inference: number;
    readonly readback: number;
    readonly drawing: number;
  };
  readonly device: Device;
  readonly counts: WorkerCounts;
}

/** The worker as the page sees it through Comlink. */
export interface ExplainerWorker {
  start(request: StartRequest, events: WorkerEvents): Promise<StartReply>;
  explain(request: ExplainRequest): Promise<ExplainReply>;
  /** times the graph on noise, with and without its backward pass */
  calibrate(): Promise<Calibration>;
  /** releases every session; the worker is then terminated by the page, which alone gives back WebAssembly's memory */
  end(): Promise<OpenCounts>;
}
