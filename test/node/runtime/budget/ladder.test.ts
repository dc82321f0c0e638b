import { expect, test } from 'vitest';
import { WhylightError } from '../../../../sdk/errors.js';
import { compileExplanation } from '../../../../sdk/lrp/compile.js';
import type { Composite } from '../../../../sdk/lrp/composite.js';
import { defaultLadder, type LadderBase, makeLadder, type RungOptions } from '../../../../sdk/runtime/budget/ladder.js';
import { network } from '../../../bench/networks.js';

const { model } = network('vgg11');
const { report } = compileExplanation(model);
const base = (more: Partial<LadderBase> = {}): LadderBase => ({
  report,
  composite: undefined,
  size: [224, 224],
  resizable: false,
  ...more,
});
const backwardOf = (composite: Composite) => compileExplanation(model, { composite }).report.backward;

test('a ladder goes from the full explanation to the forward pass alone, each rung cheaper than the one before', () => {
  const { rungs, forms } = makeLadder(defaultLadder(base()), base());
  const cost = rungs.map(({ forward, backward, every }) => forward + backward / every);
  expect(rungs[0]).toMatchObject({ name: 'LRP', graph: 'full', every: 1, backward: report.backward });
  expect(rungs.at(-1)).toMatchObject({ name: 'forward only', graph: 'full', every: Number.POSITIVE_INFINITY });
  expect(rungs.length).toBe(5);
  for (let index = 1; index < cost.length; index++) expect(cost[index]).toBeLessThan(cost[index - 1]!);
  expect([...forms.keys()]).toEqual([...new Set(rungs.map(({ graph }) => graph).filter((graph) => graph !== 'full'))]);
});

test('what a rung is said to cost is what the compiler reports for its graph, but for the flat layers themselves', () => {
  const { rungs, forms } = makeLadder(defaultLadder(base()), base());
  for (const { graph, backward } of rungs.filter(({ graph: key }) => forms.has(key))) {
    const composite = forms.get(graph)!.composite!;
    const compiled = backwardOf(composite);
    expect(backward).toBeLessThanOrEqual(compiled);
    expect(compiled - backward).toBeLessThan(0.02 * report.backward);
    expect(compiled).toBeLessThan(0.6 * report.backward);
  }
});

test('an input of half the size is a rung where the model leaves its size open', () => {
  const open = base({ resizable: true });
  const { rungs, forms } = makeLadder(defaultLadder(open), open);
  const small = rungs.find(({ name }) => name.includes('112') || name.includes('128'))!;
  expect(forms.get(small.graph)!.size).toEqual([128, 128]);
  expect(small.forward / report.forward).toBeCloseTo((128 / 224) ** 2, 10);
  expect(makeLadder(defaultLadder(base({ resizable: true, size: [64, 64] })), open).rungs.length).toBe(5);
});

test('rules keep their own end, and methods are not ended early', () => {
  const names = (composite: Composite) =>
    defaultLadder(base({ composite })).map((rung) => rung.flatBelow !== undefined);
  expect(names('epsilon')).toEqual([false, true, true, true, false]);
  expect(names({ method: 'epsilon', flatBelow: 3 })).toEqual([false, false, false]);
  expect(names('gradient')).toEqual([false, false, false]);
  expect(names('grad-cam')).toEqual([false, false, false]);
});

test('rungs that differ in their cadence alone share one graph', () => {
  const { rungs, forms } = makeLadder([{}, { every: 3 }, { every: 'never' }], base());
  expect(rungs.map(({ graph }) => graph)).toEqual(['full', 'full', 'full']);
  expect(rungs.map(({ name }) => name)).toEqual(['LRP', 'LRP on every 3rd frame', 'forward only']);
  expect(forms.size).toBe(0);
});

test('a layer can be named, and rules of one’s own are a graph of their own', () => {
  const named = report.layers.find(({ depth }) => depth === 4)!.name;
  const { rungs, forms } = makeLadder([{}, { flatBelow: named }, { composite: 'epsilon', flatBelow: 4 }], base());
  const [, byName, other] = rungs;
  expect(byName!.backward).toBe(makeLadder([{ flatBelow: 4 }], base()).rungs[0]!.backward);
  expect(forms.get(byName!.graph)!.composite).toEqual({ method: 'epsilon-plus-flat', flatBelow: named });
  expect(forms.get(other!.graph)!.composite).toEqual({ method: 'epsilon', flatBelow: 4 });
});

test('a ladder that is none says which rung is wrong', () => {
  for (const [ladder, says] of [
    [[], 'at least one rung'],
    [[{}, { every: 0 }], '[1] has "every" 0'],
    [[{ every: 1.5 }], '"every" 1.5'],
    [[{ size: [0, 64] }], '"size"'],
  ] as const) {
    try {
      makeLadder(ladder as readonly RungOptions[], base());
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(WhylightError);
      expect((error as WhylightError).code).toBe('OPTION_INVALID');
      expect((error as WhylightError).message).toContain(says);
    }
  }
});
