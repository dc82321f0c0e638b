import { describe, expect, it } from 'vitest';
import { relevanceAgreement } from '../../../sdk/evaluation/agreement.js';
import { midranks, ordered, topOverlap } from '../../../sdk/evaluation/ranks.js';
import * as reference from '../../reference/agreement.js';
import { seeded } from '../../reference/random.js';

const of = (...values: number[]): Float32Array => Float32Array.from(values);
/** Equal to ten digits, or not defined on both sides. */
const expectFigure = (found: number, expected: number, name?: string): void =>
  Number.isNaN(expected) ? expect(found, name).toBeNaN() : expect(found, name).toBeCloseTo(expected, 10);
const agreement = (a: readonly number[], b: readonly number[]) => relevanceAgreement(of(...a), of(...b));

describe('figures by hand', () => {
  it('ranks as in the textbooks', () => {
    // IQ and hours of television of ten people: ρ = −29/165
    const iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110];
    const hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17];
    expect(agreement(iq, hours).spearman).toBeCloseTo(-29 / 165, 12);
    // with a tie, as scipy.stats.spearmanr gives it in its own documentation
    expect(agreement([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]).spearman).toBeCloseTo(0.820_782_681_668_123_3, 12);
    expect([...midranks(ordered(of(3, 1, 3, -2, 3, 1)))]).toEqual([5, 2.5, 5, 1, 5, 2.5]);
    expect([...midranks(ordered(of(0, -1e-38, -0, 1e-38, -3e38, 3e38)))]).toEqual([3.5, 2, 3.5, 5, 1, 6]);
  });

  it('takes the cosine of the angle between the maps, whatever their scale', () => {
    expect(agreement([3, 4, 0], [0, 4, 3]).cosine).toBeCloseTo(16 / 25, 12);
    expect(agreement([1, 0], [0, 1]).cosine).toBe(0);
    expect(agreement([1, -2, 3], [-10, 20, -30]).cosine).toBeCloseTo(-1, 12);
    expect(agreement([0.1, 0.7, -0.3], [0.2, 1.4, -0.6]).cosine).toBeLessThanOrEqual(1);
  });

  it('counts the most relevant elements that both have', () => {
    // of 20 elements, 10 % are two: {0, 1} and {0, 2}
    const rest = Array.from({ length: 17 }, () => 0.1);
    expect(agreement([9, 8, 1, ...rest], [9, 1, 8, ...rest]).top10).toBe(1 / 2);
    // 1 % of 20 is one element at the least
    expect(agreement([9, 8, 1, ...rest], [9, 1, 8, ...rest]).top1).toBe(1);
    // only what speaks for the decision counts: one positive element, though there would be room for two
    const negative = rest.map((value) => -value);
    expect(agreement([9, -8, -1, ...negative], [9, -1, 8, ...negative]).top10).toBe(1 / 2);
  });

  it('lets tied elements share the last places', () => {
    // one of two places is left for three elements: 1/3 of each belongs to the first set
    const a = ordered(of(9, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    const b = ordered(of(9, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    expect(topOverlap(a, b, 0.1)).toBeCloseTo((1 + 1 / 3) / 2, 12);
    expect(topOverlap(a, a, 0.1)).toBeCloseTo(1, 12);
    const uniform = ordered(new Float32Array(50).fill(2));
    expect(topOverlap(uniform, uniform, 0.1)).toBeCloseTo(1, 12);
  });

  it('counts the elements and the relevance whose sign turns; a zero turns nothing', () => {
    const { signFlips } = agreement([1, -2, 3, 0, -4], [-1, -2, 3, 5, 4]);
    expect(signFlips.elements).toBe(2 / 5);
    expect(signFlips.relevance).toBe((2 + 8) / (2 + 4 + 6 + 5 + 8));
  });
});

describe('maps without relevance, without order, without elements', () => {
  const zeros = [0, 0, 0, 0];
  const some = [1, -2, 0, 3];

  it.each([
    ['zeros against a map', zeros, some, { cosine: 0, spearman: 0, top1: 0, top10: 0, elements: 0, relevance: 0 }],
    [
      'zeros against zeros',
      zeros,
      zeros,
      {
        cosine: Number.NaN,
        spearman: Number.NaN,
        top1: Number.NaN,
        top10: Number.NaN,
        elements: 0,
        relevance: Number.NaN,
      },
    ],
    [
      'a constant against a map',
      [2, 2, 2, 2],
      [1, 1, 1, 4],
      { cosine: 14 / Math.sqrt(16 * 19), spearman: 0, top1: 0.25, top10: 0.25, elements: 0, relevance: 0 },
    ],
    [
      'two constants',
      [2, 2, 2, 2],
      [5, 5, 5, 5],
      { cosine: 1, spearman: Number.NaN, top1: 1, top10: 1, elements: 0, relevance: 0 },
    ],
    ['one element', [3], [4], { cosine: 1, spearman: Number.NaN, top1: 1, top10: 1, elements: 0, relevance: 0 }],
    [
      'one element that turns',
      [3],
      [-4],
      { cosine: -1, spearman: Number.NaN, top1: 0, top10: 0, elements: 1, relevance: 1 },
    ],
    [
      'negative relevance only',
      [-3, -1],
      [-1, -2],
      {
        cosine: 5 / Math.sqrt(50),
        spearman: -1,
        top1: Number.NaN,
        top10: Number.NaN,
        elements: 0,
        relevance: 0,
      },
    ],
    [
      'no element',
      [],
      [],
      {
        cosine: Number.NaN,
        spearman: Number.NaN,
        top1: Number.NaN,
        top10: Number.NaN,
        elements: Number.NaN,
        relevance: Number.NaN,
      },
    ],
  ])('%s', (_, a, b, expected) => {
    for (const found of [agreement(a, b), agreement(b, a)]) {
      const { cosine, spearman, top1, top10, signFlips } = found;
      const figures = { cosine, spearman, top1, top10, ...signFlips };
      for (const [name, value] of Object.entries(expected)) {
        expectFigure(figures[name as 'cosine'], value, name);
      }
    }
  });

  it('leaves out what is no finite number in one of the two, and counts it', () => {
    const found = agreement([1, Number.NaN, 3, 4, -5], [2, 1, Number.NEGATIVE_INFINITY, -4, -6]);
    expect(found).toEqual({ ...agreement([1, 4, -5], [2, -4, -6]), notFinite: 2 });
    expect(found.elements).toBe(3);
  });

  it('refuses maps of different sizes', () => {
    expect(() => agreement([1, 2], [1])).toThrow(/2 elements is compared with one of 1/);
  });
});

it('agrees with the definitions in float64, ties and zeros included', () => {
  const random = seeded(7);
  for (let round = 0; round < 200; round++) {
    const length = 1 + Math.floor(random() * 150);
    // coarse values make ties, fine ones make none
    const steps = random() < 0.5 ? 3 : 1e6;
    const draw = () => Array.from({ length }, () => Math.fround((Math.round((random() * 2 - 1) * steps) || 0) / 7));
    const a = draw();
    const b = random() < 0.5 ? draw() : a.map((value) => (random() < 0.8 ? value : Math.fround(value * random())));
    const found = agreement(a, b);
    const isConstant = (values: readonly number[]) => values.every((value) => value === values[0]);
    if (!isConstant(a) && !isConstant(b)) expect(found.spearman).toBeCloseTo(reference.spearman(a, b), 10);
    if (Math.hypot(...a) * Math.hypot(...b) > 0) expect(found.cosine).toBeCloseTo(reference.cosine(a, b), 10);
    expectFigure(found.top1, reference.topOverlap(a, b, 0.01), 'top1');
    expectFigure(found.top10, reference.topOverlap(a, b, 0.1), 'top10');
    // neither the order of the elements nor which map is called the first matters
    const order = a.map((_, i) => i).sort((i, j) => Math.sin(i) - Math.sin(j));
    const shuffled = agreement(
      order.map((i) => b[i]!),
      order.map((i) => a[i]!),
    );
    for (const figure of ['cosine', 'spearman', 'top1', 'top10'] as const) {
      expectFigure(shuffled[figure], found[figure], figure);
    }
  }
});
