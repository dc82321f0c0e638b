import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite, MethodOptions } from '../../../sdk/lrp/composite.js';
import { presets } from '../../../sdk/lrp/presets.js';
import type { Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { inception, residual } from '../../reference/networks.js';

/** Compiles, or says `COMPOSITE_INVALID`; any other end is the compiler's fault. */
function outcome(composite: unknown, network: Network = residual): 'compiled' | 'refused' {
  try {
    const { model, report } = compileExplanation(onnxOf(network), { composite: composite as Composite });
    expect(decodeModel(model).graph.outputs.map(({ name }) => name)).toContain('relevance/x');
    expect(report.layers.length).toBeGreaterThan(0);
    return 'compiled';
  } catch (error) {
    if (!(error instanceof WhylightError)) throw error;
    expect(error.code, error.message).toBe('COMPOSITE_INVALID');
    expect(error.message.length).toBeLessThan(2000);
    expect(error.details.field, error.message).toBeTypeOf('string');
    return 'refused';
  }
}

test('any JSON at all', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (composite) => {
      outcome(composite);
    }),
    { numRuns: 300 },
  );
});

/** Mostly what the field takes, sometimes anything. */
const or = (likely: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 8, arbitrary: likely }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) });
const number = fc.oneof(fc.constantFrom(0, 1, -1, 2, 0.25, 1e-9, 1e300, -0), fc.double());
const bound = fc.oneof(number, fc.array(number, { maxLength: 4 }));
const rules = [
  ...['z', 'epsilon', 'alpha-beta', 'z-plus', 'gamma', 'flat', 'w-square', 'z-box', 'gradient', 'pass', 'norm'],
  ...['deconvnet', 'guided'],
];
const match = fc.record(
  {
    op: or(fc.constantFrom('Conv', 'Gemm', 'Relu', 'Add', ['Conv', 'Gemm'], [])),
    name: or(fc.constantFrom('*', 'block*', 'stem', '(', '')),
    first: or(fc.boolean()),
    last: or(fc.boolean()),
    depth: or(fc.tuple(fc.integer({ min: -1, max: 4 }), fc.integer({ min: -1, max: 4 }))),
  },
  { requiredKeys: [] },
);
const policies = {
  stabilizer: or(number),
  bias: or(fc.constantFrom('absorb', 'ignore', 'distribute')),
  ties: or(fc.constantFrom('split', 'first')),
  gates: or(fc.constantFrom('signal', 'halves')),
};
const entry = fc.record(
  {
    match: or(match),
    rule: or(fc.constantFrom(...rules)),
    epsilon: or(number),
    alpha: or(fc.constantFrom(1, 2, 1.5)),
    beta: or(fc.constantFrom(0, -1, -0.5)),
    gamma: or(number),
    low: or(bound),
    high: or(bound),
    ...policies,
  },
  { requiredKeys: ['match', 'rule'] },
);
const options = {
  ...policies,
  init: or(fc.constantFrom('logit', 'one')),
  flatBelow: or(fc.constantFrom(0, 1, 9, 'stem', 'block1a', 'nothing')),
};
const composed = fc.record({ rules: or(fc.array(entry, { maxLength: 4 })), ...options }, { requiredKeys: ['rules'] });
const methodOptions: Readonly<Record<keyof MethodOptions, fc.Arbitrary<unknown>>> = {
  layer: or(fc.constantFrom('add1', 'pooled', 'logits', 'x', 'stem_relu')),
  channelAxis: or(fc.integer({ min: 0, max: 4 })),
  steps: or(fc.integer({ min: 0, max: 3 })),
  baseline: or(bound),
  noise: or(number),
  seed: or(fc.nat()),
  patches: or(fc.integer({ min: 0, max: 3 })),
};
const chosen = fc.constantFrom(...Object.entries(presets)).chain(([method, preset]) => {
  const own = (preset.options ?? []).map((option) => [option, methodOptions[option]]);
  const fields: Record<string, fc.Arbitrary<unknown>> = { method: or(fc.constant(method)), ...Object.fromEntries(own) };
  const others = fc.record({ ...options, ...methodOptions }, { requiredKeys: [] });
  const mostly = fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: others });
  return fc
    .tuple(fc.record(fields, { requiredKeys: ['method'] }), mostly)
    .map(([mine, more]) => ({ ...more, ...mine }));
});

test('a method that is no text is named as what it is', () => {
  expect(outcome({ method: { toString: false } }, residual)).toBe('refused');
});

test.each([
  ['rules', composed],
  ['methods with their options', chosen],
] as const)('what looks like %s', (_, composites) => {
  const seen = { compiled: 0, refused: 0 };
  fc.assert(
    fc.property(composites, fc.constantFrom(residual, inception), (composite, network) => {
      seen[outcome(composite, network)] += 1;
    }),
    { numRuns: 300 },
  );
  // a generator that only makes what is refused at the first field would prove nothing
  expect(seen.compiled).toBeGreaterThan(5);
  expect(seen.refused).toBeGreaterThan(5);
});
