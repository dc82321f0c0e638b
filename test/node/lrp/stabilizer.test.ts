import { describe, expect, test } from 'vitest';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { CompositeEntry } from '../../../sdk/lrp/composite.js';
import { createEmitter } from '../../../sdk/lrp/emitter.js';
import { type SignOf, stableQuotient } from '../../../sdk/lrp/linear.js';
import { dense, filled } from '../../reference/dense.js';
import type { Network } from '../../reference/layers.js';
import { seeded } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { compiledRun } from './agreement.js';

const random = seeded(222);

/** Numbers of every magnitude that float32 knows, also below the smallest normal one. */
const magnitudes = [
  ...[0, 2 ** -149, 3 * 2 ** -149, 1e-44, 1e-42, 1e-40, 2 ** -126, 1e38, 3e38],
  ...Array.from({ length: 400 }, () => (1 + random()) * 10 ** (random() * 82 - 44)),
].map(Math.fround);

describe('a stabilizer never flips a sign', () => {
  const stabilizers = [1e-30, 1e-6, 1e-3, 0.25, 1];
  const targets = ['any', 'wasm'] as const;
  test.each(stabilizers.flatMap((epsilon) => targets.map((target) => [epsilon, target] as const)))(
    'ε = %d, for %s',
    async (epsilon, target) => {
      const signs: Readonly<Record<SignOf, readonly number[]>> = {
        any: [...magnitudes, ...magnitudes.map((z) => -z)],
        positive: magnitudes,
        negative: magnitudes.map((z) => -z),
      };
      for (const [sign, list] of Object.entries(signs) as [SignOf, readonly number[]][]) {
        const builder = createBuilder();
        const [a, z] = ['a', 'z'].map((name) => {
          builder.input(name, 'float32', [list.length]);
          return { name, dims: [list.length], constant: false };
        });
        const quotient = stableQuotient(createEmitter(builder, builder, 17, target), a!, z!, epsilon, sign);
        builder.node('Identity', [quotient.name], {}, { outputs: ['q'] });
        builder.output('q', 'float32', [list.length]);
        const { q } = await runModel(encodeModel(modelOf(builder.graph)), {
          a: filled([list.length], 1),
          z: dense(list, [list.length]),
        });
        for (const [k, value] of list.entries()) {
          // what is no normal number may count as 0, as on a GPU: nothing that matters is divided by it
          if (target === 'any' && value !== 0 && Math.abs(value) < 2 ** -126) {
            const share = Math.abs(value * q!.data[k]!);
            expect(share, `z = ${value}, ${sign}`).toBeLessThan(Math.max(1e-30, 2e-38 / epsilon));
            continue;
          }
          // 0 counts as positive, unless the denominator is a sum of contributions that are not
          const negative = value < 0 || (value === 0 && sign === 'negative');
          const expected = 1 / (negative ? value - epsilon : value + epsilon);
          expect(Math.abs(q!.data[k]! - expected), `z = ${value}, ${sign}`).toBeLessThanOrEqual(
            1e-6 * Math.abs(expected) + 2 ** -149,
          );
        }
      }
    },
  );
});

describe('no rule turns a contribution around or makes relevance grow, whatever the size of its denominators', () => {
  const weights = [1, -0.5, 0.25];
  const network: Network = {
    inputs: [{ name: 'x', dims: [magnitudes.length, 3] }],
    layers: [{ name: 'y', inputs: ['x'], op: 'Gemm', weight: dense(weights, [3, 1]) }],
    logits: 'y',
  };
  const rows = magnitudes.map((magnitude, k) => {
    // every third row cancels exactly, every third nearly: there x / ε is the largest share, and has to be a number
    const size = Math.min(magnitude, k % 3 === 2 ? 1e37 : 1e17);
    if (k % 3 === 0) return [size / 2, size, 0];
    if (k % 3 === 1) return [size / 2, size, size * 1e-6];
    return weights.map(() => (random() * 2 - 1) * size);
  });
  const x = dense(rows.flat().map(Math.fround), [rows.length, 3]);
  const low = -1e38;
  const rules: readonly (Omit<CompositeEntry, 'match'> & { readonly sign: (z: number, sum: number) => number })[] = [
    { rule: 'z', sign: (z, sum) => z * sum },
    { rule: 'epsilon', epsilon: 0.01, sign: (z, sum) => z * sum },
    { rule: 'epsilon', epsilon: 1e-20, sign: (z, sum) => z * sum },
    { rule: 'gamma', gamma: 0.5, sign: (z, sum) => z * sum },
    { rule: 'z-plus', sign: (z) => Math.max(z, 0) },
    { rule: 'alpha-beta', alpha: 2, beta: -1, sign: (z) => z },
    { rule: 'flat', sign: () => 1 },
    { rule: 'w-square', sign: () => 1 },
    { rule: 'z-box', low, high: -low, sign: () => 1 },
  ];
  test.each(rules)('$rule', async ({ sign, ...rule }) => {
    for (const stabilizer of [1e-6, 1e-12]) {
      const composite = { init: 'one', stabilizer, rules: [{ match: {}, ...rule }] } as const;
      const { y, 'relevance/x': relevance } = await compiledRun(network, { x }, filled([rows.length, 1], 1), {
        composite,
      });
      for (const [row] of rows.entries()) {
        const shares = [0, 1, 2].map((k) => relevance!.data[row * 3 + k]!);
        const sum = y!.data[row]!;
        for (const [k, share] of shares.entries()) {
          expect(Number.isFinite(share), `row ${row}: ${rows[row]}`).toBe(true);
          const way = Math.sign(sign(x.data[row * 3 + k]! * weights[k]!, sum >= 0 ? 1 : -1));
          // a sum that is no normal number may count as 0
          if (Math.abs(sum) < 2 ** -126 && Math.abs(share) < 1e-30) continue;
          // what is too small for float32 may vanish, but never change sides
          if (share !== 0) expect(Math.sign(share), `row ${row}: ${rows[row]} → ${shares}`).toBe(way);
        }
        const total = shares.reduce((all, share) => all + share, 0);
        // where there is nothing negative, α = 2 is shared out and β = −1 finds nobody
        const [least, most] = rule.rule === 'alpha-beta' ? [-1, 2] : [0, 1];
        expect(total).toBeGreaterThan(least! - 1e-5);
        expect(total).toBeLessThan(most! + 1e-5);
      }
    }
  });
});
