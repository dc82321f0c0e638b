import { describe, expect, test } from 'vitest';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { BiasPolicy, CompositeRules, TiePolicy } from '../../../sdk/lrp/composite.js';
import type { CompileOptions, LoweringTarget } from '../../../sdk/lrp/report.js';
import { count, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { kindOf, type Network } from '../../reference/layers.js';
import { onnxOf, terminalOutput } from '../../reference/network.js';
import {
  audio,
  denselyConnected,
  inception,
  mobile,
  residual,
  smallNetworks,
  withoutPositiveBias,
} from '../../reference/networks.js';
import { evaluate, explain, type OracleOptions } from '../../reference/oracle.js';
import { nonNegative, seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { openModel, runModel } from '../../reference/run.js';
import {
  byName,
  compiledRun,
  compositeOf,
  type Rules,
  tolerance,
  wellConditioned,
  worstDeviation,
} from './agreement.js';

const named = Object.entries(smallNetworks);
const weightedNames = (network: Network): string[] =>
  network.layers.filter(({ op }) => kindOf[op] === 'weighted').map(({ name }) => name);

function logitDims(network: Network): readonly number[] {
  const zeros = network.inputs.map(({ name, dims }) => [name, dense(new Float64Array(count(dims)), dims)]);
  return evaluate(network, Object.fromEntries(zeros)).get(network.logits)!.dims;
}

/** A large enough stabilizer that sums of both signs (residual merges, normalizations) stay well-conditioned in float32. */
const stabilizer = 0.02;

/** One rule for convolutions, one for fully connected layers, one for the first layer. */
function thesisRules(network: Network, convolution: LayerRule, first = convolution): Rules {
  const names = weightedNames(network);
  const rules = network.layers
    .filter(({ name }) => names.includes(name))
    .map(({ name, op }) => [
      name,
      name === names[0] ? first : op.startsWith('Conv') ? convolution : { rule: 'epsilon', epsilon: 0.05 },
    ]);
  return Object.fromEntries(rules) as Rules;
}

/** A rule for every layer with weights, drawn at random. */
function randomRules(network: Network, random: () => number): Rules {
  const choices: readonly LayerRule[] = [
    { rule: 'epsilon', epsilon: 0.1 },
    { rule: 'alpha-beta', alpha: 2, beta: -1 },
    { rule: 'alpha-beta', alpha: 1.25, beta: -0.25, bias: 'ignore' },
    { rule: 'z-plus' },
    { rule: 'z-plus', bias: 'distribute' },
    { rule: 'gamma', gamma: 0.5 },
    { rule: 'flat' },
    { rule: 'w-square', bias: 'ignore' },
    { rule: 'z-box', low: -8, high: 8 },
    { rule: 'gradient' },
  ];
  return Object.fromEntries(
    weightedNames(network).map((name) => [name, choices[Math.floor(random() * choices.length)]!]),
  );
}

async function agrees(
  network: Network,
  rules: Rules,
  settings: OracleOptions,
  seed: number,
  options: CompileOptions = {},
  draw = signed,
): Promise<void> {
  const drawn = wellConditioned(network, seeded(seed), logitDims(network), { ...settings, rule: byName(rules) }, draw);
  const composite = compositeOf(rules, settings);
  const outputs = await compiledRun(network, drawn.inputs, drawn.target, { composite, ...options });
  expect(worstDeviation(network, outputs, drawn.reference), JSON.stringify(rules)).toBeLessThan(tolerance);
}

describe('whole networks, composites of the thesis', () => {
  test.each(named)('%s', async (_, network) => {
    for (const bias of ['absorb', 'ignore', 'distribute'] satisfies BiasPolicy[]) {
      const settings = { stabilizer, bias };
      await agrees(network, thesisRules(network, { rule: 'epsilon', epsilon: 0.1 }), settings, 1);
      await agrees(network, thesisRules(network, { rule: 'z-plus' }), settings, 2);
      await agrees(
        network,
        thesisRules(network, { rule: 'alpha-beta', alpha: 2, beta: -1 }, { rule: 'flat' }),
        settings,
        3,
      );
      await agrees(
        network,
        thesisRules(network, { rule: 'gamma', gamma: 0.25 }, { rule: 'z-box', low: -1, high: 1 }),
        settings,
        4,
      );
    }
  });
});

describe('whole networks, random composites', () => {
  test.each(named)('%s', async (_, network) => {
    const random = seeded(271828);
    for (let attempt = 0; attempt < 8; attempt++) {
      const ties = attempt % 2 === 0 ? 'split' : 'first';
      const target = (['any', 'wasm', 'webgpu'] satisfies LoweringTarget[])[attempt % 3]!;
      await agrees(network, randomRules(network, random), { stabilizer, ties }, attempt, { target });
    }
  });
});

describe('equivalent forms', () => {
  const rules = (network: Network): Rules =>
    thesisRules(network, { rule: 'alpha-beta', alpha: 2, beta: -1 }, { rule: 'epsilon', epsilon: 0.1 });
  test.each(named)('of every lowering target, %s', async (_, network) => {
    for (const target of ['any', 'wasm', 'webgpu'] satisfies LoweringTarget[]) {
      for (const ties of ['split', 'first'] satisfies TiePolicy[]) {
        await agrees(network, rules(network), { stabilizer, ties }, 31, { target });
      }
    }
  });
  test.each(named)('for an input known to be ≥ 0, %s', async (_, network) => {
    const first: readonly LayerRule[] = [
      { rule: 'alpha-beta', alpha: 2, beta: -1 },
      { rule: 'z-plus' },
      { rule: 'gamma', gamma: 1 },
    ];
    for (const rule of first) {
      const options = { inputRanges: { x: [0, 1] } } as const;
      await agrees(network, thesisRules(network, { rule: 'z-plus' }, rule), { stabilizer }, 41, options, nonNegative);
    }
  });
});

describe('presets and methods', () => {
  const presets = ['epsilon', 'epsilon-plus', 'epsilon-plus-flat', 'epsilon-alpha2-beta1', 'epsilon-alpha2-beta1-flat'];
  const methods = ['gradient', 'gradient-x-input', 'deconvnet', 'guided-backprop', 'excitation-backprop'];
  test.each([...presets, ...methods])('%s gives finite relevance that is not all zero', async (preset) => {
    const x = signed(seeded(61), mobile.inputs[0]!.dims);
    const outputs = await compiledRun(mobile, { x }, dense([1, 0, 0], [1, 3]), { composite: preset });
    const { data } = outputs['relevance/x']!;
    expect(data.every(Number.isFinite)).toBe(true);
    expect(data.some((r) => r !== 0)).toBe(true);
  });
  test('gradient-x-input is the product of the two', async () => {
    const x = signed(seeded(62), inception.inputs[0]!.dims);
    const target = dense([0, 1, 0, 0], [1, 4]);
    const outputs = await compiledRun(inception, { x }, target, { composite: 'gradient-x-input' });
    const { relevance } = explain(inception, { x }, target, { init: 'one', rule: () => ({ rule: 'gradient' }) });
    const expected = relevance.get('x')!.data.map((gradient, i) => gradient * x.data[i]!);
    expect(deviation(outputs['relevance/x']!.data, expected)).toBeLessThan(tolerance);
  });
  test('epsilon-plus-flat says what its name says', async () => {
    const rules = Object.fromEntries(
      Object.entries(thesisRules(audio, { rule: 'z-plus' }, { rule: 'flat' })).map(([name, rule]) => [
        name,
        rule.rule === 'epsilon' ? { ...rule, epsilon: 0.01 } : rule,
      ]),
    );
    const settings = { stabilizer: 1e-6 };
    const drawn = wellConditioned(audio, seeded(63), [2, 4], { ...settings, rule: byName(rules) });
    const outputs = await compiledRun(audio, drawn.inputs, drawn.target, { composite: 'epsilon-plus-flat' });
    expect(worstDeviation(audio, outputs, drawn.reference)).toBeLessThan(tolerance);
  });
});

describe('match', () => {
  const settings = { stabilizer };
  const drawnFor = (network: Network, rules: Rules) =>
    wellConditioned(network, seeded(5), logitDims(network), { ...settings, rule: byName(rules) });

  async function sameAs(network: Network, rules: Rules, entries: CompositeRules['rules']): Promise<void> {
    const drawn = drawnFor(network, rules);
    const outputs = await compiledRun(network, drawn.inputs, drawn.target, {
      composite: { ...settings, rules: entries },
    });
    expect(worstDeviation(network, outputs, drawn.reference)).toBeLessThan(tolerance);
  }

  test('op, first, last and the default epsilon', () =>
    sameAs(
      audio,
      { frames: { rule: 'flat' }, context: { rule: 'z-plus' }, logits: { rule: 'epsilon', epsilon: 0.5 } },
      [
        { match: { first: true }, rule: 'flat' },
        { match: { last: true }, rule: 'epsilon', epsilon: 0.5 },
        { match: { op: ['Conv', 'ConvTranspose'] }, rule: 'z-plus' },
      ],
    ));
  test('the first match wins', () =>
    sameAs(audio, { frames: { rule: 'flat' }, context: { rule: 'flat' } }, [
      { match: { op: 'Conv' }, rule: 'flat' },
      { match: { first: true }, rule: 'z-plus' },
    ]));
  test('names with a star', () =>
    sameAs(residual, { block1a: { rule: 'z-plus' }, block1b: { rule: 'z-plus' }, block2b: { rule: 'flat' } }, [
      { match: { name: 'block1*' }, rule: 'z-plus' },
      { match: { name: ['*2b', 'nothing'] }, rule: 'flat' },
    ]));
  test('depth counts layers with weights on the longest path', () =>
    // stem is 0, one, reduce, five and pooled_one are 1, three is 2, logits is 3
    sameAs(
      inception,
      {
        one: { rule: 'z-plus' },
        reduce: { rule: 'z-plus' },
        five: { rule: 'z-plus' },
        pooled_one: { rule: 'z-plus' },
        three: { rule: 'z-plus' },
        stem: { rule: 'flat' },
      },
      [
        { match: { depth: [1, 2] }, rule: 'z-plus' },
        { match: { depth: [0, 0] }, rule: 'flat' },
      ],
    ));
  test('all fields have to hold', () =>
    sameAs(inception, { one: { rule: 'z-plus' } }, [
      { match: { op: 'Conv', depth: [1, 3], name: 'one' }, rule: 'z-plus' },
    ]));
});

/** Rules under which nothing is lost, but where an output with relevance has no positive contribution at all. */
const conserving: readonly LayerRule[] = [
  { rule: 'z-plus' },
  { rule: 'gamma', gamma: 0.5 },
  { rule: 'epsilon', epsilon: 1e-9 },
];

function conservingSettings(network: Network, convolution: LayerRule, bias: BiasPolicy) {
  const rules = thesisRules(network, convolution);
  const exact = Object.fromEntries(
    Object.entries(rules).map(([name, rule]) => [name, rule.rule === 'epsilon' ? { ...rule, epsilon: 1e-9 } : rule]),
  );
  const settings: OracleOptions = { stabilizer: 1e-9, bias };
  return { composite: compositeOf(exact, settings), options: { ...settings, rule: byName(exact) } };
}

/** An input for which the oracle conserves the logit of class 1 of the first sample, so that a loss is the compiler's. */
function conservingInput(network: Network, options: OracleOptions, random: () => number) {
  const [samples, classes] = logitDims(network) as [number, number];
  const target = dense(new Float64Array(samples * classes), [samples, classes]);
  // an all-zero target would explain the strongest class: the other samples get a weight too small to count
  for (let sample = 0; sample < samples; sample++) target.data[sample * classes + 1] = sample === 0 ? 1 : 1e-12;
  // what the rule loses beside the biases shows when they are ignored
  const ignoring = { ...options, bias: 'ignore' as const };
  for (let attempt = 0; attempt < 100; attempt++) {
    const x = signed(random, network.inputs[0]!.dims);
    const reference = explain(network, { x }, target, options.bias === 'absorb' ? ignoring : options);
    const logit = reference.values.get(network.logits)!.data[1]!;
    const conserved = Math.abs(sum(reference.relevance.get('x')!.data) - logit) < 3e-4 * Math.abs(logit);
    if (conserved && reference.condition < 1e4) return { x, target, logit };
  }
  throw new Error(`no input among 100 is conserved by the oracle`);
}

describe('conservation', () => {
  test.each(named)('ΣR is the explained logit, %s', async (_, original) => {
    const network = withoutPositiveBias(original);
    const random = seeded(99);
    for (const convolution of conserving) {
      for (const bias of ['ignore', 'distribute'] as const) {
        const { composite, options } = conservingSettings(network, convolution, bias);
        const { x, target, logit } = conservingInput(network, options, random);
        const outputs = await compiledRun(network, { x }, target, { composite });
        const total = sum(outputs['relevance/x']!.data);
        const title = `${convolution.rule}, ${bias}: ${total} for ${logit}`;
        expect(Math.abs(total - logit), title).toBeLessThan(1e-3 * Math.abs(logit));
      }
    }
  });
});

describe('target', () => {
  const rules = thesisRules(audio, { rule: 'z-plus' });
  const settings = { stabilizer, rule: byName(rules) };
  const composite = compositeOf(rules, { stabilizer });
  const { inputs } = wellConditioned(audio, seeded(21), logitDims(audio), settings);
  const targets: Readonly<Record<string, readonly number[]>> = {
    'one class each': [0, 1, 0, 0, 0, 0, 0, 1],
    'several classes': [1, 1, 0, 0, 0, 1, 1, 1],
    'a contrast': [1, -1, 0, 0, 0, 0, -1, 1],
    'all zeros: the strongest of each sample': [0, 0, 0, 0, 0, 0, 0, 0],
    'zeros for one sample only': [0, 0, 0, 0, 0, 0, 1, 0],
  };
  test.each(Object.entries(targets))('%s', async (_, weights) => {
    const target = dense(weights, [2, 4]);
    const outputs = await compiledRun(audio, inputs, target, { composite });
    expect(worstDeviation(audio, outputs, explain(audio, inputs, target, settings))).toBeLessThan(tolerance);
  });
  test('relevance is linear in the target', async () => {
    const { model, report } = compileExplanation(onnxOf(audio), { composite });
    expect(report.explained.shape).toEqual([2, 4]);
    const session = await openModel(model);
    const relevanceOf = async (weights: number[]): Promise<Float64Array> =>
      (await session.run({ ...inputs, target: dense(weights, [2, 4]) }))['relevance/x']!.data;
    const [plus, minus, both] = [
      await relevanceOf([1, 0, 0, 0, 1, 0, 0, 0]),
      await relevanceOf([0, 0, 1, 0, 0, 0, 1, 0]),
      await relevanceOf([1, 0, -1, 0, 1, 0, -1, 0]),
    ];
    await session.release();
    expect(
      deviation(
        both,
        plus.map((r, i) => r - minus[i]!),
      ),
    ).toBeLessThan(1e-5);
  });
});

describe("the model's own outputs", () => {
  test.each(named)('are unchanged, %s', async (_, network) => {
    const x = signed(seeded(4), network.inputs[0]!.dims);
    const before = await runModel(onnxOf(network), { x });
    const target = dense(new Float64Array(count(logitDims(network))), logitDims(network));
    const after = await compiledRun(network, { x }, target, {});
    expect(after.logits!.dims).toEqual(before.logits!.dims);
    expect(deviation(after.logits!.data, before.logits!.data)).toBeLessThan(1e-5);
  });

  test.each(['Softmax', 'LogSoftmax', 'Sigmoid'] as const)(
    'keep a terminal %s, under which relevance starts',
    async (terminal) => {
      const network: Network = { ...audio, terminal };
      const x = signed(seeded(4), network.inputs[0]!.dims);
      const target = dense([1, 0, 0, 0, 0, 0, 1, 0], [2, 4]);
      const composite = compositeOf(thesisRules(audio, { rule: 'z-plus' }), { stabilizer });
      const before = await runModel(onnxOf(network), { x });
      const after = await compiledRun(network, { x }, target, { composite });
      const plain = await compiledRun(audio, { x }, target, { composite });
      expect(deviation(after[terminalOutput]!.data, before[terminalOutput]!.data)).toBeLessThan(1e-5);
      expect(deviation(after['relevance/x']!.data, plain['relevance/x']!.data)).toBeLessThan(1e-6);
    },
  );

  test('another output than the first can be explained', async () => {
    const network: Network = { ...audio, otherOutputs: ['hidden'] };
    const rules = thesisRules(audio, { rule: 'z-plus' });
    const composite = compositeOf(rules, { stabilizer });
    const drawn = wellConditioned(audio, seeded(8), [2, 4], { stabilizer, rule: byName(rules) });
    const outputs = await compiledRun(network, drawn.inputs, drawn.target, { composite, output: 'logits' });
    expect(worstDeviation(network, outputs, drawn.reference)).toBeLessThan(tolerance);
    expect(deviation(outputs.hidden!.data, drawn.reference.values.get('hidden')!.data)).toBeLessThan(1e-5);
  });
});

describe('taps', () => {
  test.each([
    ['residual', residual, ['stem_relu', 'add1', 'block2a_relu', 'add2_relu', 'pooled']],
    ['inception', inception, ['stem_relu', 'pool', 'three', 'joined']],
    ['densely connected', denselyConnected, ['pool', 'joined1', 'norm2', 'relu3']],
    ['mobile', mobile, ['stem_relu6', 'depthwise_relu6', 'add']],
  ] as const)('%s', async (_, network, taps) => {
    const rules = thesisRules(network, { rule: 'z-plus' });
    const drawn = wellConditioned(network, seeded(6), logitDims(network), { stabilizer, rule: byName(rules) });
    const composite = compositeOf(rules, { stabilizer });
    const outputs = await compiledRun(network, drawn.inputs, drawn.target, { composite, taps });
    for (const tap of taps) {
      const expected = drawn.reference.relevance.get(tap)!;
      expect(outputs[`relevance/${tap}`]?.dims, tap).toEqual(expected.dims);
      expect(deviation(outputs[`relevance/${tap}`]!.data, expected.data), tap).toBeLessThan(tolerance);
    }
  });
});

describe('gated', () => {
  test.each(named)('%s', async (_, network) => {
    const composite = compositeOf(thesisRules(network, { rule: 'z-plus' }), { stabilizer });
    const x = signed(seeded(17), network.inputs[0]!.dims);
    const target = signed(seeded(18), logitDims(network));
    const always = await compiledRun(network, { x }, target, { composite });
    const { model } = compileExplanation(onnxOf(network), { composite, gated: true });
    const session = await openModel(model);
    try {
      expect(session.inputNames).toContain('explain');
      const open = await session.run({ x, target, explain: { dims: [], data: [true] } });
      const shut = await session.run({ x, target, explain: { dims: [], data: [false] } });
      expect(deviation(open['relevance/x']!.data, always['relevance/x']!.data)).toBeLessThan(1e-6);
      expect(deviation(open.logits!.data, always.logits!.data)).toBeLessThan(1e-6);
      expect(deviation(shut.logits!.data, always.logits!.data)).toBeLessThan(1e-6);
      expect(shut['relevance/x']!.data.length).toBeLessThan(x.data.length);
    } finally {
      await session.release();
    }
  });
});

describe('audit', () => {
  test.each(named)('conserved and absorbed relevance add up to the logit, %s', async (_, original) => {
    const network = withoutPositiveBias(original);
    const random = seeded(12);
    for (const convolution of conserving) {
      for (const bias of ['absorb', 'ignore'] as const) {
        const { composite, options } = conservingSettings(network, convolution, bias);
        const { x, target, logit } = conservingInput(network, options, random);
        const { model, report } = compileExplanation(onnxOf(network), { composite, audit: true });
        const outputs = await runModel(model, { x, target });
        const [alive, absorbed] = [outputs.conservation!, outputs.absorbed!];
        expect(alive.dims).toEqual([report.steps.length]);
        expect(absorbed.dims).toEqual([report.steps.length]);
        for (const [step, value] of alive.data.entries()) {
          const scale = Math.max(Math.abs(logit), Math.abs(value));
          const title = `${convolution.rule}, ${bias}, ${report.steps[step]}: ${value} + ${absorbed.data[step]} for ${logit}`;
          expect(Math.abs(value + absorbed.data[step]! - logit), title).toBeLessThan(1e-3 * scale);
          if (bias === 'ignore') expect(Math.abs(absorbed.data[step]!), title).toBeLessThan(1e-3 * scale);
        }
        const last = sum(outputs['relevance/x']!.data);
        expect(Math.abs(alive.data.at(-1)! - last)).toBeLessThan(1e-4 * Math.max(1, Math.abs(last)));
      }
    }
  });
});
