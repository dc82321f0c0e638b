import type { CompileReport } from '../lrp/report.js';
import type { MediaFrame } from '../sources/sound-window.js';
import type { Explanation } from './explanation.js';
import type { ExplainReply, StartReply } from './protocol.js';
import { explainedTarget, softmax, topEntries } from './target.js';

/** What a run gave: which output is strongest, and what was explained. */
export function decisionOf(
  { outputs, logits: given }: Pick<ExplainReply, 'outputs' | 'logits'>,
  weights: Float32Array,
  { explained }: Pick<CompileReport, 'explained'>,
  labels: readonly string[],
): Pick<Explanation, 'topK' | 'target' | 'logit'> {
  const output = outputs[explained.output]?.data ?? new Float32Array();
  const isLogits = explained.logits === explained.output;
  const logits = given ?? (isLogits ? output : undefined);
  const target = explainedTarget(weights, logits ?? output, labels);
  return {
    topK: topEntries(isLogits ? softmax(output) : output, logits, labels),
    target,
    logit: logits === undefined ? Number.NaN : product(logits, target.weights),
  };
}

function product(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += a[index]! * b[index]!;
  return sum;
}

/** Puts the worker's answer in the words of the model: labels, probabilities, what was explained. */
export function explanationOf(
  frame: Pick<MediaFrame, 'timestamp' | 'captured' | 'dropped'>,
  shown: Explanation['frame'],
  reply: ExplainReply,
  weights: Float32Array,
  { report, metadata }: StartReply,
  handed: number,
  now: number,
  release: () => void,
): Explanation {
  return {
    timestamp: frame.timestamp,
    captured: frame.captured,
    frame: shown,
    outputs: reply.outputs,
    ...decisionOf(reply, weights, report, metadata.labels),
    relevance: reply.relevance,
    ...(reply.conservation === undefined ? {} : { conservation: { steps: report.steps, ...reply.conservation } }),
    ...(reply.drawing === undefined ? {} : { drawing: reply.drawing }),
    fit: reply.fit,
    timing: { ...reply.timing, total: now - handed },
    age: now - frame.captured,
    device: reply.device,
    dropped: frame.dropped,
    release,
  };
}
