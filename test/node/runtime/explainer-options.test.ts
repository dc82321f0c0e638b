import { expect, test } from 'vitest';
import { checkComposite } from '../../../sdk/runtime/explainer-options.js';

test('a baseline that is fed with every run is refused, for a picture brings none', () => {
  expect(() => checkComposite({ method: 'deeplift-rescale', baseline: 'input' })).toThrow(/baseline/);
  for (const composite of [undefined, 'gradient', { rules: [] }, { method: 'occlusion', baseline: 0.5 }]) {
    expect(() => checkComposite(composite)).not.toThrow();
  }
});
