import { describe, expect, test } from 'vitest';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { operators } from '../../../sdk/lrp/operators/index.js';
import { dense, filled } from '../../reference/dense.js';
import { sum } from '../../reference/deviation.js';
import { operatorModels, operatorVariants } from '../../reference/operator-models.js';
import { seeded, signed } from '../../reference/random.js';
import { openModel } from '../../reference/run.js';
import { modelWith } from './one-node.js';

const seenInOthers: Readonly<Record<string, string>> = { DequantizeLinear: 'QuantizeLinear' };

describe('where the decomposition has ended, every operator keeps the sum', () => {
  test('every operator of the table has a model', () => {
    expect([...Object.keys(operatorModels), ...Object.keys(seenInOthers)].sort()).toEqual(
      Object.keys(operators).sort(),
    );
  });

  test.each(Object.entries({ ...operatorModels, ...operatorVariants }))(
    '%s, also over silent units',
    async (title, one) => {
      const model = modelWith(one.inputs, one.dims, one.write, one.opset);
      const composite = { init: 'one', rules: [], flatBelow: 0 } as const;
      const compiled = compileExplanation(model, { composite });
      // the first sum of an exclusive one has no element
      const skipped = title.includes('exclusive') ? 5 : -1;
      const target = dense(
        signed(seeded(9), one.dims).data.map((value, at) => (Math.floor(at / 6) % 6 === skipped ? 0 : value + 0.25)),
        one.dims,
      );
      const session = await openModel(compiled.model);
      for (const draw of [
        (dims: readonly number[]) => filled(dims, 0),
        (dims: readonly number[]) => signed(seeded(4), dims),
      ]) {
        const inputs = Object.fromEntries(Object.entries(one.inputs).map(([name, dims]) => [name, draw(dims)]));
        const outputs = await session.run({ ...inputs, target });
        const total = Object.keys(inputs).reduce((all, name) => all + sum(outputs[`relevance/${name}`]!.data), 0);
        expect(total).toBeCloseTo(sum(target.data), 3);
      }
      await session.release();
    },
  );
});
