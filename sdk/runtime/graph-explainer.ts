import { WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import { AUDIT_OUTPUTS, EXPLAIN, TARGET } from '../lrp/explanation.js';
import type { CompiledExplanation, CompileReport } from '../lrp/report.js';
import type { OpenModel, Tensors } from '../quantize/runtime.js';
import { decisionOf } from './answer.js';
import { relevancePrefix, sortOutputs } from './device.js';
import type { Explanation, FloatArray } from './explanation.js';
import { type Target, targetWeights } from './target.js';

/** What a compiled graph is run on. */
export interface GraphFeeds {
  /** presentation time in microseconds, or whatever tells one from another */
  readonly timestamp: number;
  /** every input of the model by name, in the shape that it was compiled for; others are ignored */
  readonly inputs: Tensors;
}

/** What a model said about its inputs, and why. */
export type GraphExplanation = Pick<Explanation, 'timestamp' | 'outputs' | 'topK' | 'target' | 'logit' | 'relevance'>;

/** Settings of {@link openGraph}. */
export interface GraphOptions {
  /** one name per element of the explained output; default none */
  readonly labels?: readonly string[];
  /** where pictures have their channels; default NCHW */
  readonly layout?: 'NCHW' | 'NHWC';
}

/** A compiled graph that explains what it is fed. */
export interface GraphExplainer {
  /** what was compiled */
  readonly report: CompileReport;
  /** see {@link GraphOptions} */
  readonly metadata: { readonly labels: readonly string[]; readonly input: { readonly layout: 'NCHW' | 'NHWC' } };
  /**
   * Runs the graph; calls are answered in order. Rejects with WhylightError OPTION_INVALID (the target, or a missing input) or
   * SESSION_FAILED.
   */
  explainFrame(feeds: GraphFeeds, options?: { readonly target?: Target }): Promise<GraphExplanation>;
  /** Frees what the graph holds, after the calls before it. */
  close(): Promise<void>;
}

/**
 * Lets a compiled graph explain what it is fed, on this very thread: in Node, or in a worker of one's own. A page is better
 * served by `createExplainer`, which has a worker, devices and frames.
 *
 * @param open runs models, such as `wasmRuntime()`; it may throw SESSION_FAILED
 */
export async function openGraph(
  { model, report }: CompiledExplanation,
  open: OpenModel,
  options: GraphOptions = {},
): Promise<GraphExplainer> {
  const { labels = [], layout = 'NCHW' } = options;
  const { explained } = report;
  const opened = await open(model);
  // runs do not overlap
  let tail: Promise<unknown> = Promise.resolve();

  const run = async ({ timestamp, inputs }: GraphFeeds, target: Target): Promise<GraphExplanation> => {
    const missing = report.inputs.find(({ name }) => inputs[name] === undefined);
    if (missing !== undefined) {
      throw new WhylightError('OPTION_INVALID', `The model's input "${missing.name}" is missing in what it is fed.`, {
        details: { field: 'inputs', input: missing.name },
      });
    }
    const weights = targetWeights(target, labels, sizeOf(explained.shape));
    const outputs = floatsOf(
      await opened.run({
        ...inputs,
        [TARGET]: { dims: explained.shape, data: weights },
        // a gated graph is asked for its explanation, any other has no such input
        [EXPLAIN]: { type: 'bool', dims: [], data: Uint8Array.of(1) },
      }),
    );
    const own = Object.keys(outputs).filter(
      (name) => !name.startsWith(relevancePrefix) && !AUDIT_OUTPUTS.includes(name),
    );
    const sorted = sortOutputs(outputs, own, report);
    return {
      timestamp,
      outputs: sorted.outputs,
      relevance: sorted.relevance,
      ...decisionOf(sorted, weights, report, labels),
    };
  };

  return {
    report,
    metadata: { labels, input: { layout } },
    explainFrame(feeds, { target = 'strongest' } = {}) {
      const result = tail.then(() => run(feeds, target));
      tail = result.catch(() => undefined);
      return result;
    },
    async close() {
      await tail;
      await opened.close();
    },
  };
}

function floatsOf(tensors: Tensors): Record<string, FloatArray> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dims, data }]) => [
      name,
      { dims, data: data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number>, Number) },
    ]),
  );
}
