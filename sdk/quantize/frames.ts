import { throwIfAborted, WhylightError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import type { Tensors } from './runtime.js';

/** One frame of calibration: every input of the model by name. */
export type CalibrationFrame = Tensors;

/** Frames one after the other, from an array, a generator, or whatever decodes them. */
export type CalibrationFrames = Iterable<CalibrationFrame> | AsyncIterable<CalibrationFrame>;

/** Throws CALIBRATION_INVALID naming the frame, and the input where a frame does not fit the model. */
function checkFrame(graph: Graph, frame: CalibrationFrame, index: number): void {
  const wrong = (input: string, what: string): WhylightError =>
    new WhylightError('CALIBRATION_INVALID', `Calibration frame ${index}: input "${input}" ${what}.`, {
      details: { frame: index, input },
    });
  for (const { name, type, dims } of graph.inputs) {
    const given = frame[name];
    if (given === undefined) throw wrong(name, 'is missing');
    const givenType = given.type ?? 'float32';
    if (givenType !== type) throw wrong(name, `is ${givenType}, the model takes ${type}`);
    if (given.dims.join() !== dims.join()) {
      throw wrong(name, `has the shape [${given.dims.join(', ')}], the model takes [${dims.join(', ')}]`);
    }
    if (given.data.length !== sizeOf(given.dims)) {
      throw wrong(name, `has ${given.data.length} values for the shape [${given.dims.join(', ')}]`);
    }
    if (given.data instanceof Float32Array && !given.data.every(Number.isFinite)) {
      throw wrong(name, 'has a value that is not finite');
    }
  }
}

/**
 * At most `limit` of the frames, each checked against the graph's inputs. The source is closed (its `return` is called) at the
 * limit and on every error.
 *
 * Throws CALIBRATION_INVALID and ABORTED.
 */
export async function* checkedFrames(
  graph: Graph,
  frames: CalibrationFrames,
  limit: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<CalibrationFrame> {
  let index = 0;
  throwIfAborted(signal, 'Quantization');
  for await (const frame of frames) {
    throwIfAborted(signal, 'Quantization');
    checkFrame(graph, frame, index);
    yield frame;
    index++;
    if (index >= limit) return;
  }
}
