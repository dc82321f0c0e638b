import type { Graph, Model, Node } from '../graph/graph.js';
import { biasOf, type LinearLayer, linearLayerOf } from '../graph/linear-layer.js';
import { numbersOf } from '../graph/tensors.js';
import { type Calibrated, excludedByName, nameOf } from './calibrate.js';
import { hasInt4Form } from './int4.js';
import type { ChannelStatistics, Observations } from './observe.js';
import type { ResolvedQuantizeOptions } from './options.js';
import { integerWeightsOf, type Plan, planOf } from './plan.js';
import { rangeOf } from './ranges.js';
import { leastErrorRounding } from './rounding.js';
import {
  activationSteps,
  leastScalesFor,
  type QuantizedWeights,
  quantizeWeights,
  type Range,
  type Steps,
} from './steps.js';
import { scaleAxisOf, writeWeights } from './weights.js';
import { type RoundedLayer, writeIntegers } from './write.js';

/** A quantized model, and what became of its layers. */
export interface Rewritten {
  readonly model: Model;
  /** Undefined where only weights are integers. */
  readonly plan: Plan | undefined;
  /** Nodes of the float model whose weights alone are integers; with a reason where more was asked for. */
  readonly weightsOnly: ReadonlyMap<Node, string | undefined>;
  /** Nodes with weights that stay in float32, and why. */
  readonly floats: ReadonlyMap<Node, string>;
}

/** What is decided once for all forms of a model. */
export interface Rewriter {
  /** Range and steps of every tensor that can become integers. */
  readonly ranges: ReadonlyMap<string, Range>;
  readonly steps: ReadonlyMap<string, Steps>;
  /** Writes the model with the named nodes computed in float32; each has its reason. Their weights are float32 too, or int8. */
  rewrite(floats: ReadonlyMap<string, string>, weights?: 'float32' | 'int8'): Rewritten;
}

/** Decides ranges and corrections from what calibration saw. */
export function rewriterOf(calibrated: Calibrated, options: ResolvedQuantizeOptions): Rewriter {
  const { model, plan, observations } = calibrated;
  const { graph } = model;
  const byName = excludedByName(options.exclude);
  const ranges = new Map<string, Range>();
  const steps = new Map<string, Steps>();
  for (const [tensor, source] of plan?.tensors ?? []) {
    const range =
      ranges.get(source) ?? within(rangeOf(observations.histograms.get(source)!, options), plan?.limits.get(source));
    ranges.set(tensor, range);
    steps.set(tensor, activationSteps(range));
  }
  const rounded =
    plan === undefined ? new Map<string, RoundedLayer>() : roundedLayers(plan, graph, steps, observations, options);
  return {
    ranges,
    steps,
    rewrite(floats, weights = 'float32') {
      const reasonOf = (node: Node): string | undefined => byName(node) ?? floats.get(nameOf(node));
      if (plan === undefined) return weightsAlone(model, reasonOf, options.scheme === 'int4-weights' ? 'int4' : 'int8');
      const plain = planOf(graph, reasonOf, options.integers);
      const chosen = weights === 'int8' ? withIntegerWeights(plain, (node) => floats.has(nameOf(node))) : plain;
      return {
        ...chosen,
        model: { ...model, graph: writeIntegers(graph, { plan: chosen, steps, rounded }) },
        plan: chosen,
      };
    },
  };
}

/** The plan with integer weights for the chosen ones among the layers that it leaves in float32. */
function withIntegerWeights(plan: Plan, isChosen: (node: Node) => boolean): Plan {
  const [chosen, floats] = [new Map(plan.weightsOnly), new Map<Node, string>()];
  for (const [node, reason] of plan.floats) (isChosen(node) ? chosen : floats).set(node, reason);
  return { ...plan, floats, weightsOnly: chosen };
}

function within(range: Range, limit: Range | undefined): Range {
  if (limit === undefined) return range;
  return { low: Math.max(range.low, limit.low), high: Math.min(range.high, limit.high) };
}

function weightsAlone(model: Model, reasonOf: (node: Node) => string | undefined, type: 'int8' | 'int4'): Rewritten {
  const floats = new Map<Node, string>();
  const weightsOnly = new Map<Node, string | undefined>();
  for (const node of model.graph.nodes) {
    const layer = linearLayerOf(node, (name) => model.graph.initializers.get(name));
    const reason = reasonOf(node);
    if (layer === undefined) continue;
    if (reason !== undefined) floats.set(node, reason);
    else if (type === 'int8' || hasInt4Form(layer)) weightsOnly.set(node, undefined);
    else weightsOnly.set(node, 'its weights are int8: blocks of 4 bit do not lie along what it sums');
  }
  const outputs = new Set([...weightsOnly.keys()].map((node) => node.outputs[0]!));
  const written = writeWeights(model, (node) => outputs.has(node.outputs[0]!), type);
  return { model: written, plan: undefined, weightsOnly, floats };
}

/** The integer weights of every layer that has any, and its bias with what they add to each output taken out. */
function roundedLayers(
  plan: Plan,
  graph: Graph,
  steps: ReadonlyMap<string, Steps>,
  { patches, channels }: Observations,
  { correctBias }: ResolvedQuantizeOptions,
): Map<string, RoundedLayer> {
  const all = new Map<string, RoundedLayer>();
  for (const layer of integerWeightsOf(plan, graph)) {
    const [output] = layer.node.outputs as readonly [string];
    const [input] = layer.node.inputs as readonly [string];
    const bias = biasOf(layer);
    const values = numbersOf(layer.weight).map((value) => layer.alpha * value);
    const step = steps.get(input)?.scale;
    const { count, at } = scaleAxisOf(layer);
    const nearest = quantizeWeights(values, count, at, step === undefined ? [] : leastScalesFor(bias, step));
    const seen = patches.get(output);
    const statistics = channels.get(input);
    const takesBias = correctBias && layer.node.op !== 'MatMul';
    const weights = seen === undefined ? nearest : leastErrorRounding(layer, values, nearest, seen, takesBias);
    // a product of matrices has no place for a bias
    const correction =
      statistics !== undefined && takesBias && layer.node.op !== 'ConvTranspose'
        ? correctionOf(layer, values, weights, statistics)
        : undefined;
    const corrected = bias.map((value, channel) => value + (correction?.[channel] ?? 0));
    const hasBias = layer.node.op !== 'MatMul' && (layer.bias !== undefined || correction !== undefined);
    all.set(output, { layer, weights, bias: hasBias ? corrected : undefined });
  }
  return all;
}

/**
 * What rounding the weights adds to each output channel on average over the calibration frames, with its sign turned: ΔW · E[x]
 * (Nagel et al. 2019). The border that padding adds is not counted apart.
 */
function correctionOf(
  { outputs, outputAt, inputAt }: LinearLayer,
  values: Float64Array,
  { integers, scales }: QuantizedWeights,
  { sums, count }: ChannelStatistics,
): Float64Array {
  const correction = new Float64Array(outputs);
  for (let at = 0; at < values.length; at++) {
    const output = outputAt(at);
    correction[output]! += ((values[at]! - integers[at]! * scales[output]!) * sums[inputAt(at)]!) / count;
  }
  return correction;
}
