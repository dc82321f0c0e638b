import type { Frame } from '../sources/frame.js';
import type { Explanation } from './explanation.js';
import type { ExplainReply, StartReply } from './protocol.js';
import { explainedTarget, softmax, topEntries } from './target.js';

/** Puts the worker's answer in the words of the model: labels, probabilities, what was explained. */
export function explanationOf(
  frame: Frame,
  reply: ExplainReply,
  weights: Float32Array,
  { report, metadata }: StartReply,
  handed: number,
  now: number,
): Explanation {
  const { labels } = metadata;
  const output = reply.outputs[report.explained.output]?.data ?? new Float32Array();
  const isLogits = report.explained.logits === report.explained.output;
  const logits = reply.logits ?? (isLogits ? output : undefined);
  const target = explainedTarget(weights, logits ?? output, labels);
  const { width, height, rotation } = frame;
  return {
    timestamp: frame.timestamp,
    captured: frame.captured,
    frame: { width, height, rotation },
    outputs: reply.outputs,
    topK: topEntries(isLogits ? softmax(output) : output, logits, labels),
    target,
    logit: logits === undefined ? Number.NaN : logits.reduce((sum, value, i) => sum + value * target.weights[i]!, 0),
    relevance: reply.relevance,
    ...(reply.conservation === undefined ? {} : { conservation: { steps: report.steps, ...reply.conservation } }),
    ...(reply.drawing === undefined ? {} : { drawing: reply.drawing }),
    fit: reply.fit,
    timing: { ...reply.timing, total: now - handed },
    age: now - frame.captured,
    device: reply.device,
    dropped: frame.dropped,
  };
}
