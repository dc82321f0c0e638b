import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { float, type Graph, int, ints, sizeOf } from '../../../sdk/graph/graph.js';
import { type LinearLayer, linearLayerOf } from '../../../sdk/graph/linear-layer.js';
import { numbersOf } from '../../../sdk/graph/tensors.js';
import { type Patches, patchesOf } from '../../../sdk/quantize/patches.js';
import { leastErrorRounding } from '../../../sdk/quantize/rounding.js';
import { type QuantizedWeights, quantizeWeights } from '../../../sdk/quantize/steps.js';
import { type Dense, dense } from '../../reference/dense.js';
import { forward } from '../../reference/forward.js';
import type { Operation } from '../../reference/layers.js';
import { seeded, signed } from '../../reference/random.js';

type Weighted = Extract<Operation, { op: 'Conv' | 'Gemm' }>;

/** A layer of the oracle, and the shape of what it reads. */
interface Case {
  readonly operation: Weighted;
  readonly dims: readonly number[];
}

const random = seeded(21);
const cases: Readonly<Record<string, Case>> = {
  'a convolution with uneven pads, strides and dilations': {
    operation: {
      ...{ op: 'Conv', weight: signed(random, [5, 4, 3, 2]) },
      ...{ strides: [2, 1], pads: [1, 0, 2, 1], dilations: [1, 2] },
    },
    dims: [2, 4, 7, 6],
  },
  'a convolution in groups': {
    operation: { op: 'Conv', weight: signed(random, [6, 2, 3, 3]), group: 3, pads: [1, 1, 1, 1] },
    dims: [1, 6, 5, 5],
  },
  'a depthwise convolution along time': {
    operation: { op: 'Conv', weight: signed(random, [8, 1, 5]), group: 8, pads: [2, 2] },
    dims: [1, 8, 40],
  },
  'a product by a matrix': { operation: { op: 'Gemm', weight: signed(random, [12, 7]) }, dims: [30, 12] },
  'a product by a transposed matrix': {
    operation: { op: 'Gemm', weight: signed(random, [7, 12]), transB: true },
    dims: [30, 12],
  },
};

/** The same layer as ONNX, for what is tested. */
function layerOf({ operation, dims }: Case): { readonly graph: Graph; readonly layer: LinearLayer } {
  const builder = createBuilder();
  const x = builder.input('x', 'float32', dims);
  const { weight } = operation;
  const w = builder.initializer('w', floatTensor(Float32Array.from(weight.data), weight.dims));
  const attributes =
    operation.op === 'Gemm'
      ? { transB: int(operation.transB === true ? 1 : 0), alpha: float(1) }
      : {
          kernel_shape: ints(weight.dims.slice(2)),
          group: int(operation.group ?? 1),
          strides: ints(operation.strides ?? weight.dims.slice(2).map(() => 1)),
          dilations: ints(operation.dilations ?? weight.dims.slice(2).map(() => 1)),
          pads: ints(operation.pads ?? weight.dims.slice(2).flatMap(() => [0, 0])),
        };
  builder.node(operation.op, [x, w], attributes, { outputs: ['y'] });
  const output = forward({ ...operation, name: 'y', inputs: ['x'] }, [signed(random, dims)])[0]!;
  builder.output('y', 'float32', output.dims);
  const { graph } = canonicalize(modelOf(builder.graph)).model;
  const [node] = graph.nodes;
  return { graph, layer: linearLayerOf(node!, (name) => graph.initializers.get(name))! };
}

const outputOf = (operation: Weighted, x: Dense, weights?: ArrayLike<number>): Dense => {
  const weight = weights === undefined ? operation.weight : dense(weights, operation.weight.dims);
  return forward({ ...operation, weight, name: 'y', inputs: ['x'] }, [x])[0]!;
};

/** Values of one channel of an output: along dimension 1. */
function channel({ dims, data }: Dense, index: number): number[] {
  const inner = sizeOf(dims.slice(2));
  return [...data].filter((_, at) => Math.floor(at / inner) % dims[1]! === index);
}

/** Weights of one output in the order of its patches, and those patches. */
function rowOf(layer: LinearLayer, { groups }: Patches, output: number) {
  const values = numbersOf(layer.weight);
  const row = [...values].filter((_, at) => layer.outputAt(at) === output);
  const parts = groups[Math.floor((output * groups.length) / layer.outputs)]!;
  return { row, parts };
}

/** Inputs that vary together, as those of neighbouring pixels do, and are no longer negative. */
function smooth(seed: number, dims: readonly number[]): Dense {
  const next = seeded(seed);
  let last = 0;
  return dense(
    Float64Array.from({ length: sizeOf(dims) }, () => {
      last = 0.8 * last + next() - 0.45;
      return Math.fround(Math.max(0, last));
    }),
    dims,
  );
}

/** Squared error that integer weights make of an output for inputs that were not seen. */
function changesOf({ operation, dims }: Case, { outputAt }: LinearLayer): (weights: QuantizedWeights) => number {
  const unseen = smooth(99, dims);
  const exact = outputOf(operation, unseen).data;
  return ({ integers, scales }) => {
    const weights = Float64Array.from(integers, (integer, at) => integer * scales[outputAt(at)]!);
    const { data } = outputOf(operation, unseen, weights);
    return data.reduce((sum, value, at) => sum + (value - exact[at]!) ** 2, 0);
  };
}

describe.each(Object.entries(cases))('%s', (_, { operation, dims }) => {
  const { graph, layer } = layerOf({ operation, dims });

  it('has patches whose moments are those of its outputs', () => {
    const patches = patchesOf(graph, layer);
    const x = signed(random, dims);
    patches.take(Float32Array.from(x.data));
    const y = outputOf(operation, x);
    for (let output = 0; output < layer.outputs; output++) {
      const own = channel(y, output);
      const { row, parts } = rowOf(layer, patches, output);
      const [{ columns, sums, products, count }] = parts as [(typeof parts)[number]];
      expect(parts).toHaveLength(1);
      expect(columns).toBe(row.length);
      expect(count).toBe(own.length);
      // Σ y = w · Σ x, and Σ y² = wᵀ (Σ x xᵀ) w
      let [sum, square] = [0, 0];
      for (let a = 0; a < columns; a++) {
        sum += row[a]! * sums[a]!;
        for (let b = a; b < columns; b++) square += (a === b ? 1 : 2) * row[a]! * row[b]! * products[a * columns + b]!;
      }
      expect(sum).toBeCloseTo(
        own.reduce((total, value) => total + value, 0),
        6,
      );
      expect(square).toBeCloseTo(
        own.reduce((total, value) => total + value ** 2, 0),
        6,
      );
    }
  });

  it('changes less when its weights are rounded together, also for inputs that were not seen', () => {
    const patches = patchesOf(graph, layer);
    for (let seed = 1; seed <= 16; seed++) patches.take(Float32Array.from(smooth(seed, dims).data));
    const values = numbersOf(layer.weight);
    const nearest = quantizeWeights(values, layer.outputs, layer.outputAt);
    const changeOf = changesOf({ operation, dims }, layer);
    const together = leastErrorRounding(layer, values, nearest, patches, false);
    expect(together.scales).toEqual(nearest.scales);
    for (const [at, integer] of together.integers.entries()) {
      expect(Math.abs(integer)).toBeLessThanOrEqual(127);
      // it moves a weight by a few steps at most
      expect(Math.abs(integer - nearest.integers[at]!)).toBeLessThanOrEqual(4);
    }
    expect(changeOf(together)).toBeLessThan(changeOf(nearest));
  });
});

describe('rounding together', () => {
  it('takes long sums apart and changes them half as much, and stops when there are places enough', () => {
    const long: Case = { operation: { op: 'Gemm', weight: signed(random, [700, 5]) }, dims: [40, 700] };
    const { graph, layer } = layerOf(long);
    const patches = patchesOf(graph, layer);
    expect(patches.groups[0]!.map(({ columns }) => columns)).toEqual([233, 233, 234]);
    for (let seed = 1; seed <= 60; seed++) patches.take(Float32Array.from(smooth(seed, long.dims).data));
    expect(patches.groups[0]!.every(({ count }) => count === 2048)).toBe(true);
    const values = numbersOf(layer.weight);
    const nearest = quantizeWeights(values, layer.outputs, layer.outputAt);
    const changeOf = changesOf(long, layer);
    expect(changeOf(leastErrorRounding(layer, values, nearest, patches, false))).toBeLessThan(0.5 * changeOf(nearest));
  });

  it('leaves the nearest integers where nothing was seen, or nothing varies', () => {
    const { graph, layer } = layerOf(cases['a convolution in groups']!);
    const values = numbersOf(layer.weight);
    const nearest = quantizeWeights(values, layer.outputs, layer.outputAt);
    const patches = patchesOf(graph, layer);
    expect(leastErrorRounding(layer, values, nearest, patches, true)).toEqual(nearest);
    patches.take(new Float32Array(150));
    expect(leastErrorRounding(layer, values, nearest, patches, true)).toEqual(nearest);
  });
});
