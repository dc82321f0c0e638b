import { transfer } from 'comlink';
import { serializeError, WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { CompileReport } from '../lrp/report.js';
import { buffersOf, createArrayPool } from './array-pool.js';
import { type Compile, type Engine, type EngineRoom, openEngineRoom, sortOutputs } from './device.js';
import type { CreateDrawer, Drawer, DrawOptions } from './drawing.js';
import type { FloatArray } from './explanation.js';
import { gpuBytes } from './gpu-memory.js';
import { channelRanges, pictureInput, type ResolvedMetadata } from './metadata.js';
import type { Picture } from './preprocess.js';
import type {
  Calibration,
  ExplainerWorker,
  ExplainReply,
  ExplainRequest,
  StartRequest,
  WorkerCounts,
  WorkerEvents,
} from './protocol.js';
import { type Held, type OpenCounts, sentence } from './session.js';
import { checkInput } from './startup-check.js';
import { showStage } from './user-timing.js';
import { wasmBytes } from './wasm-memory.js';

/** What a started worker holds. */
interface Running {
  readonly room: EngineRoom;
  readonly engine: Engine;
  explain(request: ExplainRequest, queue: number): Promise<ExplainReply>;
  calibrate(): Promise<Calibration>;
  release(): Promise<void>;
}

/** A graph is timed so often, but no further round begins after so many milliseconds. */
const calibrationRounds = 5;
const calibrationLimit = 300;

/** Runs tasks one after the other. */
type Line = <T>(task: () => Promise<T>) => Promise<T>;

/**
 * The worker's side of an explainer: compiles the model, chooses a device and checks it, draws frames and runs them one by
 * one. One start per worker; another composite is another worker.
 */
export function createExplainerWorker(compile: Compile, createDrawer: CreateDrawer): ExplainerWorker {
  const counts: OpenCounts = { tensors: 0, sessions: 0 };
  let running: Running | undefined;
  // ONNX Runtime hangs where two runs overlap, so everything that touches a session stands in this line
  let tail: Promise<unknown> = Promise.resolve();
  const inLine: Line = (task) => {
    const result = tail.then(task);
    tail = result.catch(() => undefined);
    return result;
  };
  return {
    start: (request, events) =>
      inLine(async () => {
        running = await start(compile, createDrawer, request, events, counts, inLine);
        const { choice, report } = running.engine;
        const { metadata, resizable } = running.room;
        return { choice, report, metadata, resizable, counts: held(counts) };
      }),
    explain(request) {
      const arrived = performance.now();
      return inLine(async () => {
        if (running === undefined) {
          closeContent(request);
          throw new WhylightError('WORKER_FAILED', 'A frame arrived at a worker that was not started.');
        }
        const reply = await running.explain(request, performance.now() - arrived);
        const { drawing } = reply;
        return transfer(reply, [...buffersOf(reply), ...(drawing === undefined ? [] : [drawing])]);
      });
    },
    calibrate: () =>
      inLine(async () => {
        if (running === undefined) throw new WhylightError('WORKER_FAILED', 'A worker that was not started was timed.');
        return running.calibrate();
      }),
    end: () =>
      inLine(async () => {
        await running?.release().catch(() => undefined);
        running = undefined;
        return { ...counts };
      }),
  };
}

async function start(
  compile: Compile,
  createDrawer: CreateDrawer,
  request: StartRequest,
  events: WorkerEvents,
  counts: OpenCounts,
  inLine: Line,
): Promise<Running> {
  const room = await openEngineRoom(compile, request, (progress) => events.progress(progress), counts);
  let engine = await room.choose();
  /** made for the engine when a drawing is asked for first */
  let drawer: Drawer | undefined;
  const pool = createArrayPool();
  checkLabels(room.metadata, engine.report);

  const fallBack = async (from: Engine, reason: string): Promise<void> => {
    if (engine !== from) return;
    drawer?.destroy();
    drawer = undefined;
    // on a lost device release may throw or do nothing; the worker's end frees what it leaves
    await from.release().catch(() => undefined);
    engine = room.goOnOnCpu(reason);
    const warning = new WhylightError('DEVICE_LOST', `The GPU was lost (${reason}); it goes on with WASM.`, {
      details: { device: 'webgpu', next: 'wasm' },
    });
    events.fellBack(engine.choice, serializeError(warning, 'DEVICE_LOST'), held(counts));
  };
  const first = engine;
  // a GPU that is lost between two frames is replaced before the next one comes
  void first.lost.then((reason) => inLine(() => fallBack(first, reason))).catch(() => undefined);

  const fitted = async (on: Engine, request: ExplainRequest) => {
    try {
      return await on.fit(request.content);
    } catch (error) {
      // a picture that no canvas can draw either is at fault itself
      if (on.gpu === undefined || !isDrawable(request)) {
        throw new WhylightError('FRAME_FAILED', `The frame could not be drawn: ${sentence(error)}`, { cause: error });
      }
      throw error;
    }
  };

  /** One frame on one engine. */
  const explainOn = async (on: Engine, request: ExplainRequest, queue: number): Promise<ExplainReply> => {
    const { content, target, relevance: explain, numbers, draw, timestamp } = request;
    const started = performance.now();
    const { fit, image } = await fitted(on, request);
    const fittedIn = performance.now();
    let drawing: ImageBitmap | undefined;
    let drawn = 0;
    const paint = async (relevance: GPUBuffer | FloatArray | undefined, options: DrawOptions): Promise<void> => {
      const began = performance.now();
      drawer ??= createDrawer(on.gpu ?? (on === first ? 'browser' : 'memory'), pictureInput(room.metadata));
      drawing = await drawer.draw({ picture: content as Picture, fit, relevance, timestamp }, options);
      drawn = performance.now() - began;
    };
    const use = draw && on.gpu && ((held: Held | undefined) => paint(held?.buffer, draw));
    try {
      const ran = await on.run({ image, target, explain, numbers, into: pool, ...(use && { use }) });
      const sorted = sortOutputs(ran.outputs, room.modelOutputs, on.report);
      if (draw && drawing === undefined) await paint(sorted.relevance[room.metadata.input.name], draw);
      const ranUntil = fittedIn + ran.inference;
      const detail = { timestamp, relevance: explain };
      showStage('preprocess', started, fittedIn, detail);
      showStage('inference', fittedIn, ranUntil, detail);
      showStage('readback', ranUntil, ranUntil + ran.readback, detail);
      if (draw) showStage('drawing', performance.now() - drawn, performance.now(), detail);
      const timing = { queue, preprocess: fittedIn - started, inference: ran.inference, readback: ran.readback };
      return {
        ...sorted,
        fit,
        drawing,
        timing: { ...timing, drawing: drawn },
        device: on.choice.device,
        counts: held(counts),
      };
    } catch (error) {
      drawing?.close();
      throw error;
    }
  };

  const attempt = async (request: ExplainRequest, queue: number): Promise<ExplainReply> => {
    const current = engine;
    try {
      return await explainOn(current, request, queue);
    } catch (error) {
      if (error instanceof WhylightError) throw error;
      if (current.choice.device === 'wasm') {
        throw new WhylightError('SESSION_FAILED', `ONNX Runtime could not run the graph: ${sentence(error)}`, {
          details: { device: 'wasm' },
          cause: error,
        });
      }
      // a GPU that fails or is lost meanwhile costs time, but no frame
      await fallBack(current, sentence(error));
      return attempt(request, queue);
    }
  };

  return {
    room,
    get engine() {
      return engine;
    },
    explain(request, queue) {
      pool.add(request.spare);
      return attempt(request, queue).finally(() => closeContent(request));
    },
    async calibrate() {
      const { input } = room.metadata;
      const [lows, highs] = channelRanges(input);
      const image = checkInput(sizeOf(input.shape), Math.min(...lows), Math.max(...highs));
      const target = new Float32Array(sizeOf(engine.report.explained.shape));
      let best = { forward: Number.POSITIVE_INFINITY, explained: Number.POSITIVE_INFINITY };
      const until = performance.now() + calibrationLimit;
      // in turns, so that a load that comes meanwhile makes both slower
      for (let round = 0; round === 0 || (round < calibrationRounds && performance.now() < until); round++) {
        const { inference: forward } = await engine.run({ image, target, explain: false, numbers: true });
        const { inference: explained } = await engine.run({ image, target, explain: true, numbers: true });
        // the first runs of a graph are slower than any other; they count only on a device where a second round would take too long
        const before = round === 1 ? { forward, explained } : best;
        best = {
          forward: Math.min(before.forward, forward),
          explained: Math.min(before.explained, explained),
        };
      }
      return best;
    },
    async release() {
      drawer?.destroy();
      await room.release();
      await engine.release();
    },
  };
}

/** What this worker holds at the moment. */
function held(counts: OpenCounts): WorkerCounts {
  return { ...counts, wasm: wasmBytes(), gpu: gpuBytes() };
}

function closeContent({ content }: ExplainRequest): void {
  if ('image' in content) content.image.close();
}

function isDrawable({ content }: ExplainRequest): boolean {
  try {
    if ('image' in content) new OffscreenCanvas(1, 1).getContext('2d')?.drawImage(content.image, 0, 0);
    return true;
  } catch {
    return false;
  }
}

function checkLabels(metadata: ResolvedMetadata, report: CompileReport): void {
  const size = sizeOf(report.explained.shape);
  const { labels } = metadata;
  if (labels.length === 0 || labels.length === size) return;
  throw new WhylightError(
    'METADATA_INVALID',
    `There are ${labels.length} labels for the ${size} elements of the output "${report.explained.output}".`,
    { details: { field: 'labels', labels: labels.length, outputs: size } },
  );
}
