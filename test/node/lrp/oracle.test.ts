import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeModel } from '../../../sdk/graph/decode.js';
import type { CompositeMethod, CompositeRules } from '../../../sdk/lrp/composite.js';
import { layerAlone, weightedCases } from '../../reference/cases.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { networkOf } from '../../reference/network-of.js';
import { readNpy } from '../../reference/npy.js';
import {
  activationCases,
  affineCases,
  maximumCases,
  moveCases,
  normCases,
  type OperatorCase,
} from '../../reference/operators.js';
import { evaluate, explain, type OracleOptions } from '../../reference/oracle.js';
import { seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { runModel } from '../../reference/run.js';
import { readCase, referenceFolder } from './reference-cases.js';

const operatorCases = [...activationCases, ...maximumCases, ...normCases, ...affineCases, ...moveCases];
const allCases: readonly OperatorCase[] = [
  ...operatorCases,
  ...weightedCases.map((weighted) => ({ title: weighted.title, network: layerAlone(weighted, false) })),
];

function drawn(network: Network, seed: number): Record<string, Dense> {
  const random = seeded(seed);
  return Object.fromEntries(network.inputs.map(({ name, dims }) => [name, signed(random, dims)]));
}

describe('the oracle calculates what ONNX Runtime calculates', () => {
  test.each(allCases.map((one) => [one.title, one] as const))('%s', async (_, { network, opset }) => {
    const inputs = drawn(network, 7);
    const outputs = await runModel(onnxOf(network, opset), inputs);
    const reference = evaluate(network, inputs).get(network.logits)!;
    expect(outputs[network.logits]!.dims).toEqual(reference.dims);
    expect(deviation(outputs[network.logits]!.data, reference.data)).toBeLessThan(1e-5);
  });
});

describe('the gradient rule is the derivative', () => {
  const gradient = (): LayerRule => ({ rule: 'gradient' });
  test.each(allCases.map((one) => [one.title, one] as const))('%s', (_, { network }) => {
    const inputs = drawn(network, 11);
    const logits = evaluate(network, inputs).get(network.logits)!;
    // without zeros: a sample whose weights are all zero would explain its strongest output
    const target = dense(
      signed(seeded(13), logits.dims).data.map((v) => (v < 0 ? v - 0.1 : v + 0.1)),
      logits.dims,
    );
    const { relevance } = explain(network, inputs, target, { init: 'one', rule: gradient });
    const explained = (changed: Record<string, Dense>): number => {
      const y = evaluate(network, changed).get(network.logits)!;
      return target.data.reduce((total, weight, i) => total + weight * y.data[i]!, 0);
    };
    for (const { name, dims } of network.inputs) {
      // an input that is exactly at a kink (a zero before a ReLU, a tie) has no derivative to compare with
      const x = dense(
        inputs[name]!.data.map((v, i) => v + 0.0137 + i * 1e-4),
        dims,
      );
      const moved = { ...inputs, [name]: x };
      const analytic = explain(network, moved, target, { init: 'one', rule: gradient }).relevance.get(name)!;
      expect(analytic.dims).toEqual(relevance.get(name)!.dims);
      const h = 1e-6;
      const numeric = x.data.map((_, i) => {
        const step = (by: number): Dense => ({ dims, data: x.data.map((v, k) => (k === i ? v + by : v)) });
        return (explained({ ...moved, [name]: step(h) }) - explained({ ...moved, [name]: step(-h) })) / (2 * h);
      });
      expect(deviation(numeric, analytic.data)).toBeLessThan(1e-6);
    }
  });
});

describe('rules by hand, on a layer of two inputs and two outputs', () => {
  // z_11 = 2·1 = 2, z_21 = −1·3 = −3; z_12 = 2·−2 = −4, z_22 = −1·−1 = 1; outputs 2 − 3 + 0.5 = −0.5 and −4 + 1 − 1 = −4
  const network: Network = {
    inputs: [{ name: 'x', dims: [1, 2] }],
    layers: [
      { name: 'y', inputs: ['x'], op: 'Gemm', weight: dense([1, -2, 3, -1], [2, 2]), bias: dense([0.5, -1], [2]) },
    ],
    logits: 'y',
  };
  const x = dense([2, -1], [1, 2]);
  const byHand = (rule: LayerRule, options: OracleOptions = {}): number[] => {
    const target = dense([1, 10], [1, 2]);
    const settings = { stabilizer: 0, init: 'one', rule: () => rule, ...options } as const;
    return [...explain(network, { x }, target, settings).relevance.get('x')!.data];
  };
  const close = (actual: number[], expected: number[]): void => {
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 12);
  };

  test('z', () => close(byHand({ rule: 'z' }), [2 / -0.5 + (10 * -4) / -4, -3 / -0.5 + 10 / -4]));
  test('z, bias ignored', () =>
    close(byHand({ rule: 'z' }, { bias: 'ignore' }), [2 / -1 + (10 * -4) / -3, -3 / -1 + 10 / -3]));
  test('z, bias distributed', () =>
    close(byHand({ rule: 'z' }, { bias: 'distribute' }), [
      2.25 / -0.5 + (10 * -4.5) / -4,
      -2.75 / -0.5 + (10 * 0.5) / -4,
    ]));
  test('epsilon', () =>
    close(byHand({ rule: 'epsilon', epsilon: 0.5 }), [2 / -1 + (10 * -4) / -4.5, -3 / -1 + 10 / -4.5]));
  test('alpha-beta', () =>
    close(byHand({ rule: 'alpha-beta', alpha: 2, beta: -1 }), [
      (2 * 2) / 2.5 - (10 * -4) / -5,
      (-1 * -3) / -3 + (2 * 10 * 1) / 1,
    ]));
  test('alpha-beta, bias ignored', () =>
    close(byHand({ rule: 'alpha-beta', alpha: 2, beta: -1 }, { bias: 'ignore' }), [
      (2 * 2) / 2 - (10 * -4) / -4,
      (-1 * -3) / -3 + (2 * 10 * 1) / 1,
    ]));
  test('alpha-beta, bias distributed', () =>
    close(byHand({ rule: 'alpha-beta', alpha: 2, beta: -1 }, { bias: 'distribute' }), [
      (2 * 2.25) / 2.5 - (10 * -4.5) / -5,
      (2 * 0.25) / 2.5 - -3 / -3 + (2 * 10 * 1) / 1 - (10 * -0.5) / -5,
    ]));
  test('z-plus', () => close(byHand({ rule: 'z-plus' }), [2 / 2.5, (10 * 1) / 1]));
  test('gamma: both outputs are negative, so negative messages are favoured', () =>
    close(byHand({ rule: 'gamma', gamma: 0.5 }), [
      2 / (2 - 4.5 + 0.5) + (10 * -6) / (-6 + 1 - 1.5),
      -4.5 / -2 + 10 / -6.5,
    ]));
  test('flat', () => close(byHand({ rule: 'flat' }), [5.5, 5.5]));
  test('w-square, bias ignored', () =>
    close(byHand({ rule: 'w-square' }, { bias: 'ignore' }), [1 / 10 + (10 * 4) / 5, 9 / 10 + 10 / 5]));
  test('z-box', () => {
    // messages of output 1: 2 + 3·1 = 5 and −3 + 3·3 = 6; of output 2: −4 + 4·2 = 4 and 1 + 4·1 = 5
    close(byHand({ rule: 'z-box', low: -3, high: 4 }), [5 / 11 + 40 / 9, 6 / 11 + 50 / 9]);
  });
  test('gradient', () => close(byHand({ rule: 'gradient' }), [1 - 20, 3 - 10]));
  test('the stabilizer has the sign of the denominator, and counts zero as positive', () => {
    const zero = dense([0, 0], [1, 2]);
    const settings = { stabilizer: 1, bias: 'ignore', init: 'one', rule: () => ({ rule: 'z' as const }) } as const;
    expect(sum(explain(network, { x: zero }, dense([1, 1], [1, 2]), settings).relevance.get('x')!.data)).toBe(0);
    close(byHand({ rule: 'z' }, { stabilizer: 1, bias: 'ignore' }), [2 / -2 + (10 * -4) / -4, -3 / -2 + 10 / -4]);
  });
});

describe('relevance is conserved where the rule conserves it', () => {
  const rules: readonly LayerRule[] = [
    { rule: 'z' },
    { rule: 'alpha-beta', alpha: 2, beta: -1 },
    { rule: 'gamma', gamma: 0.5 },
    { rule: 'flat' },
    { rule: 'w-square' },
  ];
  const network = layerAlone(weightedCases[2]!, false);
  test.each(rules)('$rule', (rule) => {
    const inputs = drawn(network, 3);
    const y = evaluate(network, inputs).get('layer')!;
    const target = dense(
      y.data.map((_, i) => (i === 5 ? 1 : 0)),
      [1, y.data.length],
    );
    for (const bias of ['ignore', 'distribute'] as const) {
      const options = {
        stabilizer: 0,
        bias,
        init: 'one',
        rule: (layer: Layer) => (layer.name === 'layer' ? rule : undefined),
      } as const;
      expect(sum(explain(network, inputs, target, options).relevance.get('x')!.data)).toBeCloseTo(1, 9);
    }
  });
});

/**
 * Where the dense oracle takes over: below these tensors the reference networks are too wide for matrices. '' is the input itself.
 */
const parts = [
  {
    network: 'mlp_tanh',
    from: '',
    names: ['epsilon', 'epsilon_0.25', 'epsilon_alpha2_beta1_flat', 'gradient', 'deconvnet'],
  },
  { network: 'maxpool_ties', from: '/4/Relu_output_0', names: ['epsilon_0.25', 'epsilon_plus'] },
  { network: 'resnet', from: '/layer2/Add_output_0', names: ['epsilon_0.25', 'epsilon_plus'] },
  { network: 'densenet', from: '/tpool/AveragePool_output_0', names: ['epsilon_0.25', 'epsilon_plus'] },
].flatMap(({ names, ...part }) => names.map((name) => ({ ...part, name })));

describe.skipIf(!existsSync(referenceFolder))('the oracle agrees with other implementations', () => {
  const networks = new Map<string, Network>();
  test.each(parts)('$network $name', ({ network: folderName, name, from }) => {
    const { composite, folder, layers } = readCase(folderName, name);
    const network = opened(`${referenceFolder}/${folderName}/model.onnx`);
    const targets = readNpy(`${folder}/../targets.npy`);
    const { name: inputName, dims } = network.inputs[0]!;
    const samples = readNpy(`${folder}/../input.npy`);
    const input = dense(samples.data.subarray(0, samples.data.length / samples.dims[0]!), [1, ...dims.slice(1)]);
    const values = evaluate(network, { [inputName]: input });
    const logits = values.get(network.logits)!;
    const target = dense(
      logits.data.map((_, c) => (c === targets.data[0] ? 1 : 0)),
      logits.dims,
    );
    const start = from === '' ? inputName : from;
    const value = values.get(start)!;
    const upper = from === '' ? network : above(network, from, value.dims);
    const { relevance } = explain(upper, { [start]: value }, target, {
      stabilizer: 1e-6,
      ties: 'first',
      init: composite.init ?? 'logit',
      rule: (layer) => ruleIn(composite, layer, inputName),
    });
    const file = readNpy(`${folder}/${from === '' ? 'relevance.npy' : 'layers.npy'}`).data;
    const tensors = from === '' ? [{ tensor: inputName, offset: 0 }] : layers!.tensors;
    let compared = 0;
    for (const { tensor, offset } of tensors) {
      const ours = relevance.get(tensor);
      if (ours === undefined) continue;
      compared++;
      expect(deviation(ours.data, file.subarray(offset, offset + ours.data.length))).toBeLessThan(1e-4);
    }
    expect(compared).toBeGreaterThan(0);
  });

  /** The matrices of a network's layers are kept with it, so its cases share one. */
  function opened(path: string): Network {
    const network = networks.get(path) ?? networkOf(decodeModel(new Uint8Array(readFileSync(path))));
    networks.set(path, network);
    return network;
  }

  /** The part of a network that starts at one of its tensors. */
  function above(network: Network, tensor: string, dims: readonly number[]): Network {
    const reached = new Set([tensor]);
    const layers = network.layers.filter(({ name, inputs }) => {
      const depends = inputs.some((source) => reached.has(source));
      if (depends) reached.add(name);
      return depends;
    });
    return { ...network, inputs: [{ name: tensor, dims }], layers };
  }

  function ruleIn(composite: CompositeRules | CompositeMethod, layer: Layer, input: string): LayerRule | undefined {
    if ('method' in composite) return { rule: 'gradient' };
    return composite.rules.find(({ match }) =>
      match.first ? layer.inputs[0] === input : match.op?.includes(layer.op),
    );
  }
});
