import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompositeRules } from '../../../sdk/lrp/composite.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import type { Dense } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { type DenseExplanation, explain, type OracleOptions } from '../../reference/oracle.js';
import { signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { type Result, runModel } from '../../reference/run.js';

/** Largest max|R − R_ref| / max|R_ref| that counts as agreement. */
export const tolerance = 1e-4;

/**
 * Largest Σ|terms| / |denominator| of a test's data: float32 loses log10 of it of its seven digits, and the tolerance has four.
 * Data beyond it is redrawn, by the oracle's word alone.
 */
const largestCondition = 300;

export type Rules = Readonly<Record<string, LayerRule>>;

/** The composite that says the same as the oracle's rules by layer name. */
export function compositeOf(rules: Rules, options: OracleOptions = {}): CompositeRules {
  const { rule: _, ...settings } = options;
  return {
    ...settings,
    rules: Object.entries(rules).map(([name, rule]) => ({ match: { name }, ...rule })),
  };
}

export const byName =
  (rules: Rules) =>
  (layer: Layer): LayerRule | undefined =>
    rules[layer.name];

/** Draws inputs until the oracle finds every denominator well-conditioned, and explains them. */
export function wellConditioned(
  network: Network,
  random: () => number,
  targetDims: readonly number[],
  options: OracleOptions,
  draw: (random: () => number, dims: readonly number[]) => Dense = signed,
): { inputs: Record<string, Dense>; target: Dense; reference: DenseExplanation } {
  for (let attempt = 0; attempt < 400; attempt++) {
    const inputs = Object.fromEntries(network.inputs.map(({ name, dims }) => [name, draw(random, dims)]));
    const target = signed(random, targetDims);
    const reference = explain(network, inputs, target, options);
    if (reference.condition < largestCondition) return { inputs, target, reference };
  }
  throw new Error('no well-conditioned input among 400');
}

/** Compiles the network's explanation and runs it once. */
export async function compiledRun(
  network: Network,
  inputs: Readonly<Record<string, Dense>>,
  target: Dense,
  options: CompileOptions,
): Promise<Record<string, Result>> {
  const { model } = compileExplanation(onnxOf(network), options);
  return runModel(model, { ...inputs, target });
}

/** Worst deviation of the relevance of all inputs. */
export function worstDeviation(network: Network, outputs: Record<string, Result>, reference: DenseExplanation): number {
  const deviations = network.inputs.map(({ name }) => {
    const relevance = outputs[`relevance/${name}`];
    return relevance === undefined ? Number.NaN : deviation(relevance.data, reference.relevance.get(name)!.data);
  });
  return deviations.some(Number.isNaN) ? Number.NaN : Math.max(...deviations);
}
