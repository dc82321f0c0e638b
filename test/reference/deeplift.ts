import { activate } from './activations.js';
import { type Dense, dense } from './dense.js';
import { affineMap } from './jacobian.js';
import { kindOf, type Layer, type Network, outputsOf } from './layers.js';
import { competitors, evaluate } from './oracle.js';

/** Multipliers and contributions by tensor name, in float64. */
export interface DenseContributions {
  readonly multipliers: ReadonlyMap<string, Float64Array>;
  readonly contributions: ReadonlyMap<string, Dense>;
}

/**
 * DeepLIFT's Rescale rule over dense matrices (Shrikumar et al. 2017): m_i = Σ_j J_ji m_j through linear layers, m·Δy/Δx through
 * functions of one variable. A maximum gives what it gained over the reference to its winners, what it lost to the former ones.
 */
export function contribute(
  network: Network,
  inputs: Readonly<Record<string, Dense>>,
  references: Readonly<Record<string, Dense>>,
  target: Dense,
): DenseContributions {
  const [values, before] = [evaluate(network, inputs), evaluate(network, references)];
  const multipliers = new Map<string, Float64Array>();
  for (const [name, { data }] of values) multipliers.set(name, new Float64Array(data.length));
  multipliers.set(network.logits, Float64Array.from(target.data));
  for (const layer of [...network.layers].reverse()) {
    const arriving = Float64Array.from(outputsOf(layer).flatMap((name) => [...multipliers.get(name)!]));
    const leaving = throughLayer(
      layer,
      layer.inputs.map((name) => values.get(name)!),
      layer.inputs.map((name) => before.get(name)!),
      arriving,
    );
    let start = 0;
    for (const name of layer.inputs) {
      const total = multipliers.get(name)!;
      for (let i = 0; i < total.length; i++) total[i]! += leaving[start + i]!;
      start += total.length;
    }
  }
  const contributions = [...multipliers].map(([name, m]): [string, Dense] => {
    const { data, dims } = values.get(name)!;
    return [
      name,
      dense(
        m.map((multiplier, i) => multiplier * (data[i]! - before.get(name)!.data[i]!)),
        dims,
      ),
    ];
  });
  return { multipliers, contributions: new Map(contributions) };
}

function throughLayer(
  layer: Layer,
  inputs: readonly Dense[],
  references: readonly Dense[],
  arriving: Float64Array,
): Float64Array {
  const x = Float64Array.from(inputs.flatMap(({ data }) => [...data]));
  const x0 = Float64Array.from(references.flatMap(({ data }) => [...data]));
  const result = new Float64Array(x.length);
  switch (kindOf[layer.op]) {
    case 'activation': {
      const operation = layer as Parameters<typeof activate>[0];
      return arriving.map((m, i) => {
        const [now, then] = [activate(operation, x[i]!), activate(operation, x0[i]!)];
        const dx = x[i]! - x0[i]!;
        return m * (Math.abs(dx) < 1e-6 ? now.derivative : (now.value - then.value) / dx);
      });
    }
    case 'winner':
      for (const [j, group] of competitors(layer, inputs[0]!.dims).entries()) {
        const [now, then] = [x, x0].map((of) => Math.max(...group.map((i) => of[i]!))) as [number, number];
        // what wins now has gained at least as much as the maximum has; what won then has lost as much
        const of = now >= then ? x : x0;
        const winners = group.filter((i) => of[i] === Math.max(now, then));
        for (const i of winners) {
          const dx = x[i]! - x0[i]!;
          const share = arriving[j]! / winners.length;
          result[i]! += Math.abs(dx) < 1e-6 ? share : (share * (now - then)) / dx;
        }
      }
      return result;
    default: {
      const { jacobian } = affineMap(
        layer,
        inputs.map(({ dims }) => dims),
      );
      for (let j = 0; j < jacobian.rows; j++) {
        for (let i = 0; i < x.length; i++) result[i]! += jacobian.data[j * jacobian.columns + i]! * arriving[j]!;
      }
      return result;
    }
  }
}
