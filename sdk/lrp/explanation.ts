import { WhylightError } from '../errors.js';
import type { GraphBuilder } from '../graph/builder.js';
import type { Graph, Model } from '../graph/graph.js';
import { channelAxisOf, overChannels } from './axes.js';
import { emitBackward, explainedInputs, pathTo } from './backward.js';
import { classActivation } from './class-activation.js';
import type { RelevanceInit } from './composite.js';
import { deepLift } from './deeplift.js';
import { createEmitter, type Emitter, type Value } from './emitter.js';
import type { Method } from './method.js';
import { directReadings, forwardValue, integerReadings } from './readings.js';
import type { CompileOptions } from './report.js';
import type { ResolvedComposite } from './resolve.js';
import { sampled } from './sampled.js';
import type { Explanation, Scene } from './scene.js';
import { samplesOf, startRelevance } from './target.js';

/** Names of what a compiled graph has beside the model's own inputs and outputs. */
export const TARGET = 'target';
export const EXPLAIN = 'explain';
export const CONSERVATION = 'conservation';
export const ABSORBED = 'absorbed';
export const BALANCE = 'balance';

/** Outputs that tell of the explanation itself: neither the model's own nor relevance. */
export const AUDIT_OUTPUTS: readonly string[] = [CONSERVATION, ABSORBED, BALANCE];

/** The output of a compiled graph that holds the relevance of a tensor. */
export const relevanceOf = (tensor: string): string => `relevance/${tensor}`;

/** An explanation with the values that become outputs. */
export interface Emitted extends Explanation {
  readonly outputs: readonly { readonly name: string; readonly value: Value }[];
  /** Names that the forward pass is to read in place of others. */
  readonly renamed: ReadonlyMap<string, string>;
}

function checkTaps(path: ReadonlySet<string>, taps: readonly string[]): void {
  for (const tap of taps) {
    if (path.has(tap)) continue;
    const near = [...path].filter((name) => name.includes(tap) || tap.includes(name)).slice(0, 5);
    const end = near.length > 0 ? `; did you mean ${near.join(', ')}?` : ' of the canonical graph.';
    throw new WhylightError(
      'OPTION_INVALID',
      `Tap "${tap}" is not a tensor between the model's inputs and the explained output${end}`,
      { details: { field: 'taps' } },
    );
  }
}

/** What a method makes, place by place, of the relevance that has come back to an input. */
function transformed(emit: Emitter, relevance: Value, input: Value, method: Method | undefined): Value {
  if (method === undefined) return relevance;
  if (method.attribution === 'times-input') return emit.mul(relevance, input);
  const channelAxis = channelAxisOf(input.dims, method.channelAxis);
  const axes = channelAxis === undefined ? [] : [channelAxis];
  const whole = emit.expand(relevance, input.dims);
  const norm =
    method.attribution === 'channel-l2'
      ? emit.op(
          'Sqrt',
          [emit.reduce('Sum', emit.mul(whole, whole), axes)],
          input.dims.map((dim, axis) => (axis === channelAxis ? 1 : dim)),
        )
      : emit.reduce('Max', emit.op('Abs', [whole], whole.dims), axes);
  return overChannels(emit, norm, input.dims, channelAxis);
}

function explain(scene: Scene): Explanation {
  const { graph, readings, emit, logits, start, composite, options, inputs, taps } = scene;
  const { method } = composite;
  switch (method?.attribution) {
    case 'cam':
    case 'grad-cam':
    case 'guided-grad-cam':
      return classActivation(scene, method);
    case 'integrated-gradients':
    case 'smoothgrad':
    case 'occlusion':
      return sampled(scene, method);
    case 'deeplift-rescale':
      return deepLift(scene, method);
    default: {
      const back = emitBackward(
        graph,
        readings,
        emit,
        logits,
        start,
        new Set([...inputs, ...taps]),
        composite,
        options,
      );
      const relevance = [...back.relevance].map(([name, value]): [string, Value] => [
        name,
        inputs.includes(name) ? transformed(emit, value, forwardValue(graph, name), method) : value,
      ]);
      return { ...back, relevance: new Map(relevance) };
    }
  }
}

const INIT: Readonly<Record<NonNullable<CompileOptions['seed']>, RelevanceInit>> = {
  logits: 'logit',
  relevance: 'one',
};

/** Writes seed, backward pass and what is asked for beside it into `body`; constants go to `main`, which begins as `executed`. */
export function emitExplanation(
  model: Model,
  executed: Graph,
  main: GraphBuilder,
  body: GraphBuilder,
  logits: string,
  composite: ResolvedComposite,
  options: CompileOptions,
  batched: Scene['batched'],
): Emitted {
  const { graph } = model;
  const emit = createEmitter(main, body, model.opsets.get('')!, options.target ?? 'any');
  const readings = options.target === 'webgpu' ? directReadings(graph) : integerReadings(graph, executed, emit);
  const scores = forwardValue(graph, logits);
  const inputs = explainedInputs(graph);
  const taps = options.taps ?? [];
  checkTaps(pathTo(graph, logits), taps);
  const init = options.seed === undefined ? composite.init : INIT[options.seed];
  const samples = samplesOf(
    scores.dims,
    inputs.map((name) => forwardValue(graph, name).dims),
  );
  const start = startRelevance(emit, scores, { name: TARGET, dims: scores.dims, constant: false }, init, samples);
  const explanation = explain({
    graph,
    readings,
    emit,
    main,
    body,
    logits,
    batched,
    start,
    composite,
    options,
    inputs,
    taps,
  });
  const outputs = [...new Set([...inputs, ...taps])].map((name) => {
    const { dims } = forwardValue(graph, name);
    const relevance = explanation.relevance.get(name) ?? emit.filled(0, dims);
    return { name: relevanceOf(name), value: emit.expand(relevance, dims) };
  });
  const { audit } = explanation;
  const audited =
    audit === undefined
      ? []
      : [
          { name: CONSERVATION, value: audit.conservation },
          { name: ABSORBED, value: audit.absorbed },
          { name: BALANCE, value: audit.balance },
        ];
  const renamed = options.target === 'wasm' ? readings.folded() : new Map<string, string>();
  return { ...explanation, outputs: [...outputs, ...audited], renamed };
}
