import { transfer } from 'comlink';
import { serializeError, WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { CompileReport } from '../lrp/report.js';
import { createCanvasPicture, type Fitted } from './canvas-picture.js';
import { type Compile, type Engine, type EngineRoom, openEngineRoom, sortOutputs } from './device.js';
import type { ResolvedMetadata } from './metadata.js';
import type { ExplainerWorker, ExplainReply, ExplainRequest, StartRequest, WorkerEvents } from './protocol.js';
import { type OpenCounts, type RunResult, sentence } from './session.js';

/** What a started worker holds. */
interface Running {
  readonly room: EngineRoom;
  readonly engine: Engine;
  explain(request: ExplainRequest, queue: number): Promise<ExplainReply>;
  release(): Promise<void>;
}

/** Runs tasks one after the other. */
type Line = <T>(task: () => Promise<T>) => Promise<T>;

/**
 * The worker's side of an explainer: compiles the model, chooses a device and checks it, draws frames and runs them one by
 * one. One start per worker; another composite is another worker.
 */
export function createExplainerWorker(compile: Compile): ExplainerWorker {
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
        running = await start(compile, request, events, counts, inLine);
        const { choice, report } = running.engine;
        return { choice, report, metadata: running.room.metadata, counts: { ...counts } };
      }),
    explain(request) {
      const arrived = performance.now();
      return inLine(async () => {
        if (running === undefined) {
          request.image.close();
          throw new WhylightError('WORKER_FAILED', 'A frame arrived at a worker that was not started.');
        }
        const reply = await running.explain(request, performance.now() - arrived);
        return transfer(reply, buffersOf(reply));
      });
    },
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
  request: StartRequest,
  events: WorkerEvents,
  counts: OpenCounts,
  inLine: Line,
): Promise<Running> {
  const room = await openEngineRoom(compile, request, (progress) => events.progress(progress), counts);
  const fitPicture = createCanvasPicture(room.metadata.input);
  const draw = (request: ExplainRequest): Fitted => {
    try {
      return fitPicture(request);
    } catch (error) {
      throw new WhylightError('FRAME_FAILED', `The frame could not be drawn: ${sentence(error)}`, { cause: error });
    } finally {
      request.image.close();
    }
  };
  let engine = await room.choose();
  checkLabels(room.metadata, engine.report);

  const fallBack = async (from: Engine, reason: string): Promise<void> => {
    if (engine !== from) return;
    // on a lost device release may throw or do nothing; the worker's end frees what it leaves
    await from.release().catch(() => undefined);
    engine = await room.openOnCpu([{ device: 'webgpu', outcome: 'lost', reason }], `the GPU was lost, ${reason}`);
    const warning = new WhylightError('DEVICE_LOST', `The GPU was lost (${reason}); it goes on with WASM.`, {
      details: { device: 'webgpu', next: 'wasm' },
    });
    events.fellBack(engine.choice, serializeError(warning, 'DEVICE_LOST'));
  };
  const first = engine;
  // a GPU that is lost between two frames is replaced before the next one comes
  void first.lost.then((reason) => inLine(() => fallBack(first, reason))).catch(() => undefined);

  /** Runs the drawn picture; a GPU that fails or is lost meanwhile costs time, but no frame. */
  const run = async (image: Float32Array, target: Float32Array, explain: boolean): Promise<RunResult> => {
    const current = engine;
    try {
      return await current.run(image, target, explain);
    } catch (error) {
      if (current.choice.device === 'wasm') {
        throw new WhylightError('SESSION_FAILED', `ONNX Runtime could not run the graph: ${sentence(error)}`, {
          details: { device: 'wasm' },
          cause: error,
        });
      }
      await fallBack(current, sentence(error));
      return run(image, target, explain);
    }
  };

  return {
    room,
    get engine() {
      return engine;
    },
    async explain(request, queue) {
      const started = performance.now();
      const { fit, image } = draw(request);
      const preprocess = performance.now() - started;
      const { outputs, inference, readback } = await run(image, request.target, request.relevance);
      return {
        ...sortOutputs(outputs, room.modelOutputs, engine.report),
        fit,
        timing: { queue, preprocess, inference, readback },
        device: engine.choice.device,
        counts: { ...counts },
      };
    },
    release: () => engine.release(),
  };
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

/** Every array's buffer once: the logits are often one of the outputs as well. */
function buffersOf(reply: ExplainReply): Transferable[] {
  const arrays = [
    ...Object.values(reply.outputs).map((value) => value.data),
    ...Object.values(reply.relevance).map((value) => value.data),
    ...(reply.logits === undefined ? [] : [reply.logits]),
    ...(reply.conservation === undefined ? [] : [reply.conservation.sums, reply.conservation.absorbed]),
  ];
  return [...new Set(arrays.map((array) => array.buffer as ArrayBuffer))];
}
