import type { GraphBuilder } from '../graph/builder.js';
import type { Graph } from '../graph/graph.js';
import type { Backward } from './backward.js';
import type { Emitter, Value } from './emitter.js';
import type { Readings } from './readings.js';
import type { CompileOptions } from './report.js';
import type { ResolvedComposite } from './resolve.js';

/** What a method has to make an explanation from. */
export interface Scene {
  /** the canonical forward graph */
  readonly graph: Graph;
  readonly readings: Readings;
  readonly emit: Emitter;
  /** where nodes are written that no emitter writes: those that depend on constants alone, and all others */
  readonly main: GraphBuilder;
  readonly body: GraphBuilder;
  readonly logits: string;
  /** the canonical graph of the same model for a batch of `size`; undefined where the model has a batch size of its own */
  readonly batched: (size: number) => Graph | undefined;
  /** relevance at the logits */
  readonly start: Value;
  readonly composite: ResolvedComposite;
  readonly options: CompileOptions;
  readonly inputs: readonly string[];
  readonly taps: readonly string[];
}

/** Relevance by tensor: of every input that relevance reached, and of the taps. */
export type Explanation = Pick<Backward, 'relevance' | 'explained' | 'audit'>;
