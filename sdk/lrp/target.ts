import { producersOf } from '../graph/canonical/draft.js';
import type { Graph } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import type { RelevanceInit } from './composite.js';
import type { Emitter, Value } from './emitter.js';

const TERMINAL = new Set(['Softmax', 'LogSoftmax', 'Sigmoid']);
const MOVES = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity', 'Transpose', 'Cast']);

/** The tensor that relevance starts at: the logits under a terminal Softmax, LogSoftmax or Sigmoid (thesis 2.3.1), else the output. */
export function logitsOf(graph: Graph, output: string): string {
  const producers = producersOf(graph.nodes);
  let name = output;
  for (;;) {
    const node = producers.get(name);
    if (node === undefined) return output;
    if (TERMINAL.has(node.op)) return node.inputs[0]!;
    if (!MOVES.has(node.op)) return output;
    name = node.inputs[0]!;
  }
}

/**
 * How many samples the logits of a batch speak of: as many as their first dimension says where an input has as many, else 1. A detector
 * may well give [boxes, classes] for one picture; its boxes are no samples, and a target that names one box leaves the others out.
 */
export function samplesOf(logits: readonly number[], inputs: readonly (readonly number[])[]): number {
  const [first] = logits;
  if (first === undefined || logits.length < 2) return 1;
  // pictures have the batch first, sequences [time, batch, features] behind the time
  return inputs.some((dims) => dims[0] === first || (dims.length === 3 && dims[1] === first)) ? first : 1;
}

/**
 * Relevance at the logits: logits ⊙ target (`logit`) or the target itself (`one`). A sample whose target is all zeros is given
 * its strongest output, picked in the graph; of equal ones the first.
 */
export function startRelevance(
  emit: Emitter,
  logits: Value,
  target: Value,
  init: RelevanceInit,
  samples: number,
): Value {
  const outputs = sizeOf(logits.dims) / samples;
  const flat = [samples, outputs];
  const scores = emit.reshape(logits, flat);
  const given = emit.reshape(target, flat);
  // computed, so that a map of a million outputs does not make the file larger by as many numbers
  const positions = emit.range(outputs, [1, outputs]);
  const isStrongest = emit.compare('Equal', scores, emit.reduce('Max', scores, [1]));
  const order = emit.where(isStrongest, positions, emit.scalar(outputs));
  const strongest = emit.indicator(emit.compare('Equal', order, emit.reduce('Min', order, [1])));
  const magnitude = emit.reduce('Max', emit.op('Abs', [given], flat), [1]);
  const unset = emit.compare('Equal', magnitude, emit.scalar(0));
  const weights = emit.where(unset, strongest, given);
  return emit.reshape(init === 'one' ? weights : emit.mul(scores, weights), logits.dims);
}
