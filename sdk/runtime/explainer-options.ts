import { WhylightError } from '../errors.js';
import type { Composite } from '../lrp/composite.js';
import { type WorkerOption, workerFactory } from '../worker-calls.js';
import type { RungOptions } from './budget/ladder.js';
import type { Device } from './explanation.js';
import { type ModelMetadata, validateMetadata } from './metadata.js';
import type { Progress } from './protocol.js';

/** Settings of {@link createExplainer}. */
export interface ExplainerOptions {
  /** the ONNX file: where it is, or its bytes */
  readonly model: URL | string | Blob | Uint8Array;
  /** what the model expects and means; default the .json next to a model that is given as a URL, if there is one */
  readonly metadata?: ModelMetadata | URL | string;
  /** default `epsilon-plus-flat` */
  readonly composite?: Composite;
  /** one name per element of the explained output; default the metadata's */
  readonly labels?: readonly string[];
  /** `auto` (the default) is WebGPU where there is one and it computes rightly, else WASM */
  readonly device?: 'auto' | Device;
  /** WebAssembly threads; default half of the cores, 4 at most; always 1 where the page is not cross-origin isolated */
  readonly numThreads?: number;
  /**
   * streams take turns with those of the page's other explainers that compute on the same device: the earliest deadline is next, on the GPU
   * one at a time, on the processor as many as have a core for each of their threads. false: they run whenever they like. Default true
   */
  readonly takesTurns?: boolean;
  /** what streams with a `budgetMs` may leave out, from best to cheapest; default made from the model's own costs by layer */
  readonly ladder?: readonly RungOptions[];
  /** inner tensors whose relevance is wanted as well */
  readonly taps?: readonly string[];
  /** adds {@link Explanation.conservation} to every explanation */
  readonly audit?: boolean;
  /** the worker's script or a way to make the worker; default `workers/explainer.js` next to this file */
  readonly worker?: WorkerOption;
  /** folder of ONNX Runtime's .wasm and .mjs files; default that of the worker's script */
  readonly wasmPaths?: URL | string;
  /** keep a downloaded model in the Cache API and take it from there the next time, without asking the server; default false */
  readonly cache?: boolean;
  /** expected SHA-256 of the model, 64 hexadecimal digits; a cached model with another one is fetched again */
  readonly sha256?: string;
  /** hears how far the start has come; also called by {@link Explainer.setComposite} */
  readonly onProgress?: (progress: Progress) => void;
  /** ends the start */
  readonly signal?: AbortSignal;
}

/** Throws OPTION_INVALID for a composite that wants more of every run than a picture. */
export function checkComposite(composite: Composite | undefined): void {
  if (typeof composite !== 'object' || !('method' in composite) || composite.baseline !== 'input') return;
  throw new WhylightError(
    'OPTION_INVALID',
    'An explainer of frames has no baseline to feed: give the composite\'s "baseline" in numbers.',
    { details: { option: 'composite' } },
  );
}

/** Throws WhylightError OPTION_INVALID, or METADATA_INVALID where the metadata is given as an object. */
export function checkOptions(options: ExplainerOptions): void {
  const wrong = (option: string, expected: string): never => {
    throw new WhylightError('OPTION_INVALID', `"${option}" must be ${expected}.`, { details: { option } });
  };
  const { model, device = 'auto', numThreads, labels, metadata } = options;
  if (!(typeof model === 'string' || model instanceof URL || model instanceof Blob || model instanceof Uint8Array)) {
    wrong('model', 'a URL, a Blob or a Uint8Array');
  }
  if (!['auto', 'webgpu', 'wasm'].includes(device)) wrong('device', 'auto, webgpu or wasm');
  if (numThreads !== undefined && !(Number.isInteger(numThreads) && numThreads > 0)) {
    wrong('numThreads', 'a positive integer');
  }
  if (labels !== undefined && !(Array.isArray(labels) && labels.every((label) => typeof label === 'string'))) {
    wrong('labels', 'a list of texts');
  }
  checkComposite(options.composite);
  if (typeof metadata === 'object' && !(metadata instanceof URL)) validateMetadata(metadata, 'The metadata');
}

/** How the explainer's worker is made. The pattern `new Worker(new URL(…, import.meta.url))` stays literal, for bundlers look for it. */
export function explainerWorker(worker: ExplainerOptions['worker']): () => Worker {
  return workerFactory(
    worker,
    () => new Worker(new URL('./workers/explainer.js', import.meta.url), { type: 'module', name: 'whylight' }),
  );
}

/** An absolute address that ends in '/', whatever the worker's own address is. */
export function folder(path: URL | string): string {
  const { href } = new URL(path, globalThis.location.href);
  return href.endsWith('/') ? href : `${href}/`;
}
