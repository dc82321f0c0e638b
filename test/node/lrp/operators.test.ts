import { describe, expect, test } from 'vitest';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite, TiePolicy } from '../../../sdk/lrp/composite.js';
import type { Dense } from '../../reference/dense.js';
import { filled } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import type { Layer } from '../../reference/layers.js';
import { kindOf } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import {
  activationCases,
  affineCases,
  maximumCases,
  moveCases,
  normCases,
  type OperatorCase,
} from '../../reference/operators.js';
import { evaluate, type OracleOptions } from '../../reference/oracle.js';
import { coarse, seeded, signed } from '../../reference/random.js';
import type { LayerRule } from '../../reference/rules.js';
import { runModel } from '../../reference/run.js';
import { tolerance, wellConditioned, worstDeviation } from './agreement.js';

type Draw = (random: () => number, dims: readonly number[]) => Dense;

/** Explains arbitrary relevance of the operator's output, compiled and dense; the model's own output has to be right, too. */
async function disagreement(
  { network, opset }: OperatorCase,
  composite: Composite,
  options: OracleOptions,
  draw: Draw = signed,
): Promise<number> {
  const zeros = Object.fromEntries(network.inputs.map(({ name, dims }) => [name, filled(dims, 0)]));
  const { dims } = evaluate(network, zeros).get('logits')!;
  const drawn = wellConditioned(network, seeded(dims[1]!), dims, { init: 'one', ...options }, draw);
  const { model } = compileExplanation(onnxOf(network, opset), { composite });
  const outputs = await runModel(model, { ...drawn.inputs, target: drawn.target });
  expect(deviation(outputs.logits!.data, drawn.reference.values.get('logits')!.data)).toBeLessThan(1e-5);
  for (const input of network.inputs) expect(outputs[`relevance/${input.name}`]?.dims).toEqual(input.dims);
  return worstDeviation(network, outputs, drawn.reference);
}

const titled = (cases: readonly OperatorCase[]): (readonly [string, OperatorCase])[] =>
  cases.map((one) => [one.title, one] as const);

const rest = { rules: [], init: 'one' } as const;

/** Rules of the gradient methods, as the oracle says them. */
const methodRules: Readonly<Record<string, (layer: Layer) => LayerRule>> = {
  gradient: () => ({ rule: 'gradient' }),
  deconvnet: (layer) => ({ rule: kindOf[layer.op] === 'activation' ? 'deconvnet' : 'gradient' }),
  'guided-backprop': (layer) => ({ rule: kindOf[layer.op] === 'activation' ? 'guided' : 'gradient' }),
};

describe('activations pass relevance, or take their derivative (thesis 2.37)', () => {
  const everyMethod = async (_: string, one: OperatorCase): Promise<void> => {
    expect(await disagreement(one, rest, {}), 'pass').toBeLessThan(tolerance);
    for (const [method, rule] of Object.entries(methodRules)) {
      expect(await disagreement(one, { method, init: 'one' }, { rule }), method).toBeLessThan(tolerance);
    }
  };
  test.each(titled(activationCases))('%s', everyMethod);
});

describe('a maximum gives all to the winner (thesis 2.33–2.35)', () => {
  const gradient = (): LayerRule => ({ rule: 'gradient' });
  test.each(titled(maximumCases))('%s', async (_, one) => {
    for (const ties of ['split', 'first'] satisfies TiePolicy[]) {
      expect(await disagreement(one, { ...rest, ties }, { ties }), `no ties, ${ties}`).toBeLessThan(tolerance);
      expect(await disagreement(one, { ...rest, ties }, { ties }, coarse), `ties, ${ties}`).toBeLessThan(tolerance);
      const method = { method: 'gradient', init: 'one', ties } as const;
      expect(await disagreement(one, method, { ties, rule: gradient }, coarse), `gradient, ${ties}`).toBeLessThan(
        tolerance,
      );
    }
  });
  test.each(titled(maximumCases))('%s, all values negative: padding never wins', async (_, one) => {
    const negative: Draw = (random, dims) => ({ dims, data: signed(random, dims).data.map((v) => -Math.abs(v) - 1) });
    expect(await disagreement(one, rest, {}, negative)).toBeLessThan(tolerance);
  });
});

describe('averages, sums and merges share by x_i / Σx (thesis 2.39)', () => {
  test.each(titled(normCases))('%s', async (_, one) => {
    expect(await disagreement(one, rest, {})).toBeLessThan(tolerance);
    expect(await disagreement(one, { ...rest, stabilizer: 0.25 }, { stabilizer: 0.25 }), 'stabilizer').toBeLessThan(
      tolerance,
    );
    const gradient = { method: 'gradient', init: 'one' } as const;
    expect(await disagreement(one, gradient, { rule: () => ({ rule: 'gradient' }) }), 'gradient').toBeLessThan(
      tolerance,
    );
  });
});

describe('one-to-one affine layers', () => {
  test.each(titled(affineCases))('%s', async (_, one) => {
    for (const bias of ['absorb', 'ignore', 'distribute'] as const) {
      expect(await disagreement(one, { ...rest, bias }, { bias }), `bias: ${bias}`).toBeLessThan(tolerance);
    }
    const gradient = { method: 'gradient', init: 'one' } as const;
    expect(await disagreement(one, gradient, { rule: () => ({ rule: 'gradient' }) }), 'gradient').toBeLessThan(
      tolerance,
    );
  });
  test('BatchNormalization can pass', async () => {
    const composite = { init: 'one', rules: [{ match: { op: 'BatchNormalization' }, rule: 'pass' }] } as const;
    expect(await disagreement(affineCases[0]!, composite, { rule: () => ({ rule: 'pass' }) })).toBeLessThan(tolerance);
  });
});

describe('what moves data moves relevance (thesis 2.41)', () => {
  test.each(titled(moveCases))('%s', async (_, one) => {
    expect(await disagreement(one, rest, {})).toBeLessThan(tolerance);
    const gradient = { method: 'gradient', init: 'one' } as const;
    expect(await disagreement(one, gradient, { rule: () => ({ rule: 'gradient' }) }), 'gradient').toBeLessThan(
      tolerance,
    );
  });
});
