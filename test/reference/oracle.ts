import type { CompositeOptions, TiePolicy } from '../../sdk/lrp/composite.js';
import { activate } from './activations.js';
import { count, type Dense, type Matrix, matrix } from './dense.js';
import { forward, reducedGroups } from './forward.js';
import { affineMap } from './jacobian.js';
import { kindOf, type Layer, type LayerKind, type Network, outputsOf } from './layers.js';
import { type Condition, type LayerRule, propagate } from './rules.js';
import { windowsOver } from './windows.js';

/** How the oracle explains; the defaults are the compiler's documented ones. */
export interface OracleOptions extends CompositeOptions {
  /** the rule of one layer; undefined means its kind's own default */
  readonly rule?: (layer: Layer) => LayerRule | undefined;
}

/** Everything that an explanation in float64 yields, by tensor name. */
export interface DenseExplanation {
  readonly values: ReadonlyMap<string, Dense>;
  readonly relevance: ReadonlyMap<string, Dense>;
  /** worst Σ|terms| / |denominator| over the layers: float32 loses about log10 of it in digits */
  readonly condition: number;
}

/** What a layer gets when no rule is named for it. */
export const defaultRule: Record<LayerKind, LayerRule> = {
  weighted: { rule: 'epsilon' },
  activation: { rule: 'pass' },
  winner: { rule: 'pass' },
  norm: { rule: 'norm' },
  batchNorm: { rule: 'norm' },
  scale: { rule: 'pass' },
  move: { rule: 'pass' },
};

/** Values of all tensors of the network, in float64. */
export function evaluate(network: Network, inputs: Readonly<Record<string, Dense>>): Map<string, Dense> {
  const values = new Map<string, Dense>();
  for (const { name } of network.inputs) values.set(name, inputs[name]!);
  for (const layer of network.layers) {
    const outputs = forward(
      layer,
      layer.inputs.map((name) => values.get(name)!),
    );
    for (const [index, name] of outputsOf(layer).entries()) values.set(name, outputs[index]!);
  }
  return values;
}

/** Relevance of all tensors of the network, starting at logits ⊙ target (or at the target, `init: 'one'`). */
export function explain(
  network: Network,
  inputs: Readonly<Record<string, Dense>>,
  target: Dense,
  options: OracleOptions = {},
): DenseExplanation {
  const values = evaluate(network, inputs);
  const condition: Condition = { worst: 1 };
  const relevance = new Map<string, Dense>();
  for (const [name, value] of values)
    relevance.set(name, { dims: value.dims, data: new Float64Array(value.data.length) });
  const logits = values.get(network.logits)!;
  const weights = orStrongest(target, logits);
  const seed = relevance.get(network.logits)!.data;
  for (const [i, weight] of weights.data.entries())
    seed[i] = options.init === 'one' ? weight : weight * logits.data[i]!;

  for (const layer of [...network.layers].reverse()) {
    const joined = (names: readonly string[], from: ReadonlyMap<string, Dense>): Float64Array =>
      Float64Array.from(names.flatMap((name) => [...from.get(name)!.data]));
    const arriving = joined(outputsOf(layer), relevance);
    const leaving = explainLayer(
      layer,
      layer.inputs.map((name) => values.get(name)!),
      arriving,
      { ...options, rounding: roundingOf(network, layer, values, arriving, options) },
      condition,
    );
    let start = 0;
    for (const name of layer.inputs) {
      // relevance that arrives over several consumers is summed
      const total = relevance.get(name)!.data;
      for (let i = 0; i < total.length; i++) total[i] = total[i]! + leaving[start + i]!;
      start += total.length;
    }
  }
  return { values, relevance, condition: condition.worst };
}

/**
 * δ = what the layers after a convolution see of its output z, less z: where quantization alone takes z in, at once or behind a ReLU or
 * Clip. It is one more bias under `absorb` for the rules that divide by z, for alpha-beta only behind zero point 0. Relevance must be 0
 * wherever the value is.
 */
function roundingOf(
  network: Network,
  layer: Layer,
  values: ReadonlyMap<string, Dense>,
  arriving: Float64Array,
  options: OracleOptions,
): Float64Array | undefined {
  const rule = options.rule?.(layer) ?? defaultRule[kindOf[layer.op]];
  if (!layer.op.startsWith('Conv') || (rule.bias ?? options.bias ?? 'absorb') !== 'absorb') return undefined;
  const isSided = rule.rule === 'alpha-beta' && rule.beta !== 0;
  if (!isSided && rule.rule !== 'epsilon' && rule.rule !== 'z') return undefined;
  let last = layer;
  do {
    const readers = network.layers.filter((reader) => reader.inputs.includes(last.name));
    if (readers.length !== 1) return undefined;
    last = readers[0]!;
  } while (last.op === 'Relu' || last.op === 'Clip');
  if (last.op !== 'Quantize' || (isSided && (last.zero ?? 0) !== 0)) return undefined;
  const seen = values.get(last.name)!.data;
  if (seen.some((value, j) => value === 0 && arriving[j] !== 0)) return undefined;
  const z = values.get(layer.name)!.data;
  return seen.map((value, j) => value - z[j]!);
}

/** The target; for a sample whose weights are all zero, a one at its largest logit. */
function orStrongest(target: Dense, logits: Dense): Dense {
  const outputs = count(logits.dims.slice(1));
  const data = target.data.slice();
  for (let sample = 0; sample < data.length; sample += outputs) {
    if (data.subarray(sample, sample + outputs).some((weight) => weight !== 0)) continue;
    const row = logits.data.subarray(sample, sample + outputs);
    data[sample + row.indexOf(Math.max(...row))] = 1;
  }
  return { dims: target.dims, data };
}

function explainLayer(
  layer: Layer,
  inputs: readonly Dense[],
  arriving: Float64Array,
  options: OracleOptions & { readonly rounding?: Float64Array | undefined },
  condition: Condition,
): Float64Array {
  const kind = kindOf[layer.op];
  const rule = options.rule?.(layer) ?? defaultRule[kind];
  const x = Float64Array.from(inputs.flatMap((input) => [...input.data]));
  switch (kind) {
    case 'activation':
      return Float64Array.from(arriving, (r, i) => throughActivation(layer, rule, x[i]!, r));
    case 'winner':
      return times(winnerShares(layer, inputs[0]!, rule.ties ?? options.ties ?? 'split'), arriving);
    case 'scale':
      return rule.rule === 'pass' ? arriving : linear();
    case 'batchNorm':
      // a bias that is ignored, or given to the one input there is, leaves thesis 2.54 nothing to divide: it becomes 2.37
      if (rule.rule === 'norm' && (rule.bias ?? options.bias ?? 'absorb') !== 'absorb') return arriving;
      return rule.rule === 'pass' ? arriving : linear();
    case 'move':
      return linear({ rule: 'gradient' });
    default:
      return linear();
  }

  function linear(linearRule = rule): Float64Array {
    const map = affineMap(
      layer,
      inputs.map((input) => input.dims),
    );
    const settings = {
      stabilizer: rule.stabilizer ?? options.stabilizer ?? 1e-6,
      bias: rule.bias ?? options.bias ?? 'absorb',
      rounding: options.rounding,
      range: boxOf(rule, inputs[0]!.dims),
    } as const;
    return propagate(map, x, arriving, linearRule, settings, condition);
  }
}

/** The range of input element i, where it is given per channel (axis 1) or once for all. */
function boxOf(rule: LayerRule, dims: readonly number[]): (i: number) => readonly [number, number] {
  const inner = count(dims.slice(2));
  const channels = dims[1] ?? 1;
  const pick = (bound: number | readonly number[] | undefined, i: number): number => {
    if (bound === undefined) throw new RangeError('z-box needs low and high');
    return typeof bound === 'number' ? bound : bound[Math.floor(i / inner) % channels]!;
  };
  return (i) => [pick(rule.low, i), pick(rule.high, i)];
}

/** Thesis 2.37 passes; deconvnet and guided backprop change ReLU only, all other activations keep their derivative. */
function throughActivation(layer: Layer, rule: LayerRule, x: number, r: number): number {
  if (kindOf[layer.op] !== 'activation') throw new RangeError(`${layer.name} is no activation`);
  const { derivative } = activate(layer as Parameters<typeof activate>[0], x);
  switch (rule.rule) {
    case 'pass':
      return r;
    case 'gradient':
      return derivative * r;
    case 'deconvnet':
      return layer.op === 'Relu' ? Math.max(r, 0) : derivative * r;
    case 'guided':
      return layer.op === 'Relu' ? derivative * Math.max(r, 0) : derivative * r;
    default:
      throw new RangeError(`${layer.name}: no activation rule ${rule.rule}`);
  }
}

/** Shares [outputs × inputs] of a maximum: all to the winner of each window, thesis 2.33–2.35; padding never wins. */
function winnerShares(layer: Layer, x: Dense, ties: TiePolicy): Matrix {
  const groups = competitors(layer, x.dims);
  const shares = matrix(groups.length, x.data.length);
  for (const [j, group] of groups.entries()) {
    const maximum = Math.max(...group.map((i) => x.data[i]!));
    const winners = group.filter((i) => x.data[i] === maximum);
    const sharing = ties === 'first' ? winners.slice(0, 1) : winners;
    for (const i of sharing) shares.data[j * shares.columns + i] = 1 / sharing.length;
  }
  return shares;
}

/** For each output of a maximum the input elements that it is taken over, in row-major order of the window. */
export function competitors(layer: Layer, dims: readonly number[]): number[][] {
  if (layer.op === 'GlobalMaxPool') return reducedGroups(dims, dims.map((_, axis) => axis).slice(2));
  if (layer.op === 'ReduceMax') return reducedGroups(dims, layer.axes);
  if (layer.op !== 'MaxPool') throw new RangeError(`${layer.name} takes no maximum`);
  const space = dims.slice(2);
  const { elements } = windowsOver(space, layer.kernel, layer, layer.ceil);
  const images = Array.from({ length: dims[0]! * dims[1]! }, (_, image) => image * count(space));
  return images.flatMap((start) =>
    elements.map((window) => window.filter((position) => position >= 0).map((position) => start + position)),
  );
}

function times(shares: Matrix, arriving: Float64Array): Float64Array {
  const result = new Float64Array(shares.columns);
  for (let j = 0; j < shares.rows; j++) {
    for (let i = 0; i < shares.columns; i++)
      result[i] = result[i]! + shares.data[j * shares.columns + i]! * arriving[j]!;
  }
  return result;
}
