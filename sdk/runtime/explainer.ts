import { type Observable, Subject } from 'rxjs';
import { abortError, WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { Composite } from '../lrp/composite.js';
import type { CompileReport } from '../lrp/report.js';
import type { MediaFrame } from '../sources/sound-window.js';
import { explanationOf } from './answer.js';
import { heldBySeveral } from './array-pool.js';
import { oneAtATime, shareOf } from './budget/devices.js';
import type { ExplainerStream, StreamOptions } from './budget/lane.js';
import type { HeldMemory, Metrics } from './budget/metrics.js';
import { createStreams } from './budget/streams.js';
import type { Use } from './budget/turns.js';
import { checkDrawOptions, type DrawOptions } from './drawing.js';
import { checkComposite, checkOptions, type ExplainerOptions, explainerWorker, folder } from './explainer-options.js';
import { type DeviceChoice, type Explanation, shownSize } from './explanation.js';
import { createGeneration, type Generation, type Opened } from './generation.js';
import { checkMatch, type ResolvedMetadata } from './metadata.js';
import { openMetadata, openModel } from './model-file.js';
import type { Progress, StartRequest, WorkerCounts } from './protocol.js';
import { type Target, targetWeights } from './target.js';
import { startWorker, type WorkerLink } from './worker-link.js';

/** Settings of {@link Explainer.explainFrame}. */
export interface ExplainFrameOptions {
  /** default `strongest` */
  readonly target?: Target;
  /** false: outputs only, without the backward pass; default true */
  readonly relevance?: boolean;
  /**
   * draws the frame with its relevance in the worker, on the GPU that computed it where there is one, as
   * {@link Explanation.drawing}; default not
   */
  readonly draw?: DrawOptions;
  /**
   * false, with `draw` on a GPU: nothing is read back from there, and the explanation has neither outputs nor relevance, only what
   * is drawn; default true
   */
  readonly numbers?: boolean;
}

/** A model that explains what it sees or hears, in a worker of its own. */
export interface Explainer {
  /** where it runs; changes when a GPU is lost */
  readonly device: DeviceChoice;
  /** the metadata with defaults filled in */
  readonly metadata: ResolvedMetadata;
  /** one name per element of the explained output, or none */
  readonly labels: readonly string[];
  /** what was compiled; changes with the composite */
  readonly report: CompileReport;
  /** what went wrong without stopping anything: a lost GPU (DEVICE_LOST, once, however many workers used it), a frame of a live stream (FRAME_FAILED) */
  readonly warnings$: Observable<WhylightError>;
  /** what is open now, for tests that look for leaks; the worker's counts are those of its last answer */
  readonly open: {
    /** frames handed over and not yet closed */
    readonly frames: number;
    /** ONNX Runtime tensors */
    readonly tensors: number;
    /** ONNX Runtime sessions; a worker that runs on a GPU has a second one on WASM, for when the GPU is lost */
    readonly sessions: number;
  };
  /**
   * Explains one frame, a picture or a window of sound as the model takes it. It owns the frame from now on and closes it, whatever
   * happens. Calls are answered in order.
   *
   * Rejects with WhylightError OPTION_INVALID (the target), INPUT_MISMATCH (the model takes something else), FRAME_FAILED (this frame only), SESSION_FAILED, WORKER_FAILED or DISPOSED.
   */
  explainFrame(frame: MediaFrame, options?: ExplainFrameOptions): Promise<Explanation>;
  /** What the streams on this explainer are doing: at most four values a second, and none while no frames come. */
  readonly metrics$: Observable<Metrics>;
  /** what it holds at the moment, as {@link Explainer.metrics$} tells while frames come */
  readonly memory: HeldMemory;
  /** what one of its runs takes, of what it shares with others */
  uses(): readonly Use[];
  /**
   * Opens one of the streams that share this explainer, and its device with those of the page's other explainers; `explain` does so for
   * every subscription. To be closed.
   */
  openStream(options: StreamOptions): ExplainerStream;
  /** Puts a warning on {@link Explainer.warnings$}; `explain` does so for a failed frame of a live stream. */
  warn(warning: WhylightError): void;
  /**
   * Explains with other rules from the next frame after it has resolved; until then the old ones go on, also where it rejects.
   * The model is compiled again, but not fetched again. Calls are worked off in order.
   */
  setComposite(composite: Composite): Promise<void>;
  /** Ends the worker, and with it all of its memory. Pending calls reject with DISPOSED. Idempotent. */
  dispose(): Promise<void>;
  /** {@link Explainer.dispose}, for `await using` */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Fetches a model, compiles its explanation in a worker, and chooses a device for it.
 *
 * Rejects with a WhylightError: OPTION_INVALID, MODEL_FETCH, MODEL_INTEGRITY, METADATA_INVALID, ABORTED, WORKER_FAILED,
 * DEVICE_UNAVAILABLE, SESSION_FAILED, and whatever the compiler finds (MODEL_…, UNSUPPORTED_OPERATOR, COMPOSITE_INVALID).
 */
export async function createExplainer(options: ExplainerOptions): Promise<Explainer> {
  checkOptions(options);
  const { onProgress = () => undefined } = options;
  const signal = options.signal ?? new AbortController().signal;
  const stop = new AbortController();
  const linked = AbortSignal.any([signal, stop.signal]);
  const [model, metadata] = await Promise.all([
    openModel(options.model, {
      cache: options.cache ?? false,
      sha256: options.sha256,
      signal: linked,
      onProgress: (loaded, total) => onProgress({ stage: 'download', loaded, total }),
    }),
    openMetadata(options.metadata, options.model, linked),
  ]).catch((error: unknown) => {
    // when one of the two fails, the other need not go on
    stop.abort();
    throw signal.aborted ? abortError(signal) : error;
  });

  const warnings = new Subject<WhylightError>();
  const request: StartRequest = {
    model,
    metadata: options.labels === undefined ? metadata : { ...metadata, labels: options.labels },
    composite: options.composite,
    taps: options.taps ?? [],
    audit: options.audit ?? false,
    device: options.device ?? 'auto',
    numThreads: options.numThreads,
    wasmPaths: options.wasmPaths === undefined ? undefined : folder(options.wasmPaths),
  };
  let isToldOfLoss = false;
  const open = async (request: StartRequest, signal: AbortSignal, progress = onProgress): Promise<Opened> => {
    let device: DeviceChoice | undefined;
    const link = await startWorker(
      explainerWorker(options.worker),
      request,
      {
        progress,
        fellBack(choice, warning) {
          device = choice;
          // every rung has a worker of its own, and loses the same GPU
          if (!isToldOfLoss) warnings.next(warning);
          isToldOfLoss = true;
        },
      },
      signal,
    );
    progress({ stage: 'ready', device: link.started.choice.device });
    return {
      link,
      get device() {
        return device ?? link.started.choice;
      },
    };
  };
  return explainerOf(await open(request, signal), request, options, open, warnings);
}

function explainerOf(
  first: Opened,
  request: StartRequest,
  { ladder, takesTurns = true }: Pick<ExplainerOptions, 'ladder' | 'takesTurns'>,
  open: (request: StartRequest, signal: AbortSignal, progress?: (progress: Progress) => void) => Promise<Opened>,
  warnings: Subject<WhylightError>,
): Explainer {
  const disposed = () => new WhylightError('DISPOSED', 'The explainer was disposed.');
  const disposing = new AbortController();
  /** all workers that live: of the current composite, and of those before that still have frames */
  const links = new Set<WorkerLink>();
  let frames = 0;
  let changes: Promise<void> = Promise.resolve();
  let ended: Promise<void> | undefined;

  const explainOn = async (link: WorkerLink, frame: MediaFrame, options: ExplainFrameOptions): Promise<Explanation> => {
    const handed = performance.now();
    const { report, metadata } = link.started;
    let closed = false;
    frames++;
    const close = () => {
      if (closed) return;
      closed = true;
      frames--;
      frame.close();
    };
    try {
      if (ended !== undefined) throw disposed();
      const target = targetWeights(options.target ?? 'strongest', metadata.labels, sizeOf(report.explained.shape));
      checkMatch(frame, metadata.input);
      const { timestamp } = frame;
      const { relevance = true, numbers = true, draw } = options;
      if (draw !== undefined) checkDrawOptions(draw, metadata.input);
      // of a window that is closed nothing is left
      const shown = shownSize(frame);
      const content = 'samples' in frame ? { samples: frame.samples } : { image: frame.image, ...shown };
      const answer = link.explain({ content, timestamp, target, relevance, numbers, draw });
      // the image, or a copy of the samples, is on its way; closing what is left of the frame tells its source to go on
      close();
      const reply = await answer;
      const release = heldBySeveral(() => link.giveBack(reply))();
      return explanationOf(frame, shown, reply, target, link.started, handed, performance.now(), release);
    } catch (error) {
      if (error instanceof WhylightError) throw error;
      throw new WhylightError('FRAME_FAILED', `The frame at ${frame.timestamp} µs could not be sent to the worker.`, {
        details: { timestamp: frame.timestamp },
        cause: error,
      });
    } finally {
      close();
    }
  };

  const generationOf = (opened: Opened, composite: Composite | undefined): Generation =>
    createGeneration(opened, {
      request: { ...request, composite },
      ladder,
      links,
      open: (request, signal) => open(request, AbortSignal.any([signal, disposing.signal]), unheard),
      explain: explainOn,
      warn: (warning) => warnings.next(warning),
    });
  let current = generationOf(first, request.composite);

  const changeComposite = async (composite: Composite): Promise<void> => {
    if (ended !== undefined) throw disposed();
    checkComposite(composite);
    // a GPU that was lost or is wrong is not tried again
    const chosen = current.device;
    const device = chosen.device === 'wasm' ? 'wasm' : request.device;
    const opened = await open({ ...request, composite, device }, disposing.signal).catch((error: unknown) => {
      throw ended === undefined ? error : disposed();
    });
    // the reason for WASM is still what the first start found, not that it was asked for this time
    const next =
      chosen.device === 'wasm'
        ? { link: opened.link, device: { ...opened.device, reason: chosen.reason, tried: chosen.tried } }
        : opened;
    const before = current;
    const generation = generationOf(next, composite);
    // streams with a budget go on with the old rules until the new ones have been timed
    if (streams.hasBudget) await generation.graphs.calibrate();
    current = generation;
    // frames that it still has are explained by the rules they came in under
    await before.end(new WhylightError('WORKER_FAILED', 'The worker with the former composite has ended.'));
  };

  const countsOf = (counted: keyof WorkerCounts): number =>
    [...links].reduce((sum, { counts }) => sum + counts[counted], 0);
  const memory = (): HeldMemory => ({
    heap: (performance as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize,
    wasm: countsOf('wasm'),
    gpu: countsOf('gpu'),
    workers: links.size,
    frames,
    tensors: countsOf('tensors'),
  });
  const own = oneAtATime();
  const uses = () => (takesTurns ? [own, shareOf(current.device)] : [own]);
  const streams = createStreams({ graphs: () => current.graphs, memory, uses });

  const dispose = async (): Promise<void> => {
    disposing.abort();
    for (const link of links) link.abandon(disposed());
    streams.end();
    await changes;
    await current.end(disposed());
    warnings.complete();
  };

  const explainer: Explainer = {
    get device() {
      return current.device;
    },
    get metadata() {
      return current.link.started.metadata;
    },
    get labels() {
      return current.link.started.metadata.labels;
    },
    get report() {
      return current.link.started.report;
    },
    warnings$: warnings.asObservable(),
    metrics$: streams.metrics$,
    get memory() {
      return memory();
    },
    get open() {
      return { frames, tensors: countsOf('tensors'), sessions: countsOf('sessions') };
    },
    explainFrame: (frame, options = {}) => explainOn(current.link, frame, options),
    uses,
    openStream: streams.open,
    warn: (warning) => warnings.next(warning),
    setComposite(composite) {
      const change = changes.then(() => changeComposite(composite));
      changes = change.catch(() => undefined);
      return change;
    },
    dispose() {
      if (ended === undefined) forgotten.unregister(links);
      ended ??= dispose();
      return ended;
    },
    [Symbol.asyncDispose]() {
      return explainer.dispose();
    },
  };
  forgotten.register(explainer, links, links);
  return explainer;
}

const unheard = (): void => undefined;

/** A worker lives on when nobody can reach its explainer any more; nothing in here refers to the explainer itself. */
const forgotten = new FinalizationRegistry<ReadonlySet<WorkerLink>>((links) => {
  console.warn(
    'An Explainer was garbage collected without dispose(); call it, or declare the explainer with `await using`.',
  );
  const reason = new WhylightError('DISPOSED', 'The explainer was garbage collected.');
  for (const link of links) void link.end(reason);
});
