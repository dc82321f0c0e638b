import { describe, expect, test } from 'vitest';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite, CompositeRules } from '../../../sdk/lrp/composite.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { kindOf, type Layer, type Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { denselyConnected, residual } from '../../reference/networks.js';
import { seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { runModel } from '../../reference/run.js';
import { byName, compiledRun, tolerance, wellConditioned, worstDeviation } from './agreement.js';

const random = seeded(542);
const weights = (...dims: number[]): Dense => signed(random, dims);

/** Six convolutions with a pool after every second one: the lowest layers have the most places and cost the most. */
const stack: Network = {
  inputs: [{ name: 'x', dims: [1, 3, 16, 16] }],
  layers: [
    ...[3, 6, 6, 8, 8, 8].flatMap((channels, k): Layer[] => {
      const filters = [6, 6, 8, 8, 8, 8][k]!;
      const before = k === 0 ? 'x' : k % 2 === 0 ? `pool${k - 1}` : `relu${k - 1}`;
      return [
        {
          name: `conv${k}`,
          inputs: [before],
          op: 'Conv',
          weight: weights(filters, channels, 3, 3),
          pads: [1, 1, 1, 1],
        },
        { name: `relu${k}`, inputs: [`conv${k}`], op: 'Relu' },
        ...(k % 2 === 0
          ? []
          : [
              {
                name: `pool${k}`,
                inputs: [`relu${k}`],
                op: k === 1 ? 'MaxPool' : 'AveragePool',
                kernel: [2, 2],
                strides: [2, 2],
              } as Layer,
            ]),
      ];
    }),
    { name: 'flat', inputs: ['pool5'], op: 'Flatten', axis: 1 },
    { name: 'logits', inputs: ['flat'], op: 'Gemm', weight: weights(32, 4) },
  ],
  logits: 'logits',
};

const stabilizer = 1e-6;
const rules: CompositeRules['rules'] = [{ match: {}, rule: 'z-plus' }];
const compiled = (composite: Composite, network = stack) => compileExplanation(onnxOf(network), { composite }).report;

describe('flatBelow', () => {
  test('gives flat to every layer with weights at or below a depth, and to no other', () => {
    const report = compiled({ rules, flatBelow: 2 });
    const ruleOf = Object.fromEntries(report.layers.map((layer) => [layer.name, layer.rule]));
    expect(['conv0', 'conv1', 'conv2'].map((name) => ruleOf[name])).toEqual(['flat', 'flat', 'flat']);
    expect(['conv3', 'conv4', 'conv5', 'logits'].map((name) => ruleOf[name])).toEqual(new Array(4).fill('z-plus'));
    // it stands behind conv3, which is not flat, and before a layer that is not either
    expect(ruleOf.pool3).toBe('norm');
    expect(compiled({ rules, flatBelow: 4 }).layers.find(({ name }) => name === 'pool3')?.rule).toBe('flat');
  });

  test('takes the name of a layer, in a network with branches its longest path', () => {
    expect(compiled({ rules, flatBelow: 'conv2' })).toEqual(compiled({ rules, flatBelow: 2 }));
    const report = compiled({ rules: [], flatBelow: 'block1b' }, residual);
    const flat = report.layers.filter(({ rule }) => rule === 'flat').map(({ name }) => name);
    expect(flat).toEqual(['stem', 'block1a', 'block1b']);
  });

  test('comes before the rules of a preset', () => {
    const report = compiled({ method: 'epsilon-alpha2-beta1', flatBelow: 1 });
    const convolutions = report.layers.filter(({ operator }) => operator === 'Conv').map(({ rule }) => rule);
    expect(convolutions).toEqual(['flat', 'flat', ...new Array(4).fill('alpha-beta')]);
  });

  test.each([
    ['pools', stack, 'conv4', ['conv0', 'conv1', 'conv2', 'conv3', 'conv4', 'pool3']],
    ['residual sums', residual, 'projection', ['stem', 'block1a', 'block1b', 'add1', 'block2a', 'projection']],
    ['a normalization', denselyConnected, 'grow1', ['stem', 'grow1']],
  ] as const)(
    'agrees with the dense oracle over %s, which are flat below it too',
    async (_, network, flatBelow, below) => {
      const flat: readonly string[] = below;
      const oracle = Object.fromEntries(
        network.layers.flatMap(({ name, op }): [string, LayerRule][] => {
          if (flat.includes(name)) {
            // a count of inputs needs no stabilizer; in layers with weights it is documented
            return [[name, kindOf[op] === 'weighted' ? { rule: 'flat' } : { rule: 'flat', stabilizer: 0 }]];
          }
          if (name === 'norm1') return [[name, { rule: 'pass' }]];
          return kindOf[op] === 'weighted' ? [[name, { rule: 'z-plus' }]] : [];
        }),
      );
      const settings = { stabilizer: 0.02, rule: byName(oracle) };
      const drawn = wellConditioned(network, seeded(4), [1, 4], settings);
      const composite = { stabilizer: 0.02, rules, flatBelow };
      const outputs = await compiledRun(network, drawn.inputs, drawn.target, { composite });
      expect(worstDeviation(network, outputs, drawn.reference)).toBeLessThan(tolerance);
    },
  );

  test('the deeper it ends, the less it costs, down to next to nothing', () => {
    const costs = [undefined, 0, 1, 2, 3, 4, 5].map((flatBelow) => {
      const { forward, backward } = compiled({ rules, ...(flatBelow === undefined ? {} : { flatBelow }) });
      return backward / forward;
    });
    for (const [k, cost] of costs.slice(1).entries()) expect(cost).toBeLessThan(costs[k]!);
    // under the two lowest layers lie most of the places
    expect(costs[2]).toBeLessThan(costs[0]! / 2);
    expect(costs.at(-1)).toBeLessThan(0.05);
  });

  test.each([2, 'conv4'])('nothing below %s meets a kernel any more', (flatBelow) => {
    const { layers } = compiled({ rules, flatBelow });
    const flat = layers.filter(({ rule, depth }) => rule === 'flat' && depth !== undefined);
    expect(flat).toHaveLength(flatBelow === 2 ? 3 : 5);
    for (const { name, backward, inputShape } of flat) {
      // one window of ones over one map, whatever the number of channels
      expect(backward, name).toBe(9 * inputShape[2]! * inputShape[3]!);
    }
    for (const { name, rule, backward, forward } of layers.filter(({ rule }) => rule === 'z-plus')) {
      expect(backward, `${name} (${rule})`).toBeGreaterThanOrEqual(2 * forward);
    }
  });

  test('keeps the sum at every step, and shows larger structures', async () => {
    const x = signed(seeded(2), [1, 3, 16, 16]);
    const target = dense([0, 1, 0, 0], [1, 4]);
    const of = async (flatBelow: number) => {
      const composite = { stabilizer, rules, flatBelow };
      const { model } = compileExplanation(onnxOf(stack), { composite, audit: true });
      return runModel(model, { x, target });
    };
    const shallow = await of(0);
    const logit = shallow.logits!.data[1]!;
    for (const outputs of [shallow, await of(2), await of(5)]) {
      for (const value of outputs.conservation!.data) {
        expect(Math.abs(value - logit)).toBeLessThan(1e-3 * Math.abs(logit));
      }
      expect(Math.abs(sum(outputs['relevance/x']!.data) - logit)).toBeLessThan(1e-3 * Math.abs(logit));
    }
    expect(deviation((await of(2))['relevance/x']!.data, shallow['relevance/x']!.data)).toBeGreaterThan(0.05);
  });

  test.each(['LayerNormalization', 'InstanceNormalization', 'LRN'])('%s below it keeps the sum', async (op) => {
    const builder = createBuilder();
    builder.input('x', 'float32', [1, 4, 6, 6]);
    const constant = (dims: readonly number[]): string =>
      builder.floats(Float32Array.from(weights(...dims).data), dims);
    const convolved = (from: string): string => builder.node('Conv', [from, constant([4, 4, 3, 3])]);
    const parameters = op === 'LRN' ? [] : [constant([4]), constant([4])];
    const attributes = op === 'LRN' ? { size: int(3) } : {};
    const first = convolved('x');
    const normalized = builder.node(op, [first, ...parameters], attributes);
    const flat = builder.node('Flatten', [builder.node('Relu', [convolved(normalized)])]);
    builder.node('Gemm', [flat, constant([16, 3])], {}, { outputs: ['logits'] });
    builder.output('logits', 'float32', [1, 3]);
    const model = compileExplanation(encodeModel(modelOf(builder.graph)), { composite: { rules, flatBelow: 1 } }).model;
    const outputs = await runModel(model, { x: signed(seeded(1), [1, 4, 6, 6]), target: dense([0, 0, 1], [1, 3]) });
    const logit = outputs.logits!.data[2]!;
    expect(Math.abs(logit)).toBeGreaterThan(0.1);
    expect(Math.abs(sum(outputs['relevance/x']!.data) - logit)).toBeLessThan(1e-3 * Math.abs(logit));
  });
});
