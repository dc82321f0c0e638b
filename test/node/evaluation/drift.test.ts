import { describe, expect, it } from 'vitest';
import { relevanceAgreement } from '../../../sdk/evaluation/agreement.js';
import {
  type ComparedExplanation,
  comparedMaps,
  compareExplanations,
  frameDrift,
} from '../../../sdk/evaluation/drift.js';
import { driftSums } from '../../../sdk/evaluation/drift-summary.js';
import type { TensorMatch } from '../../../sdk/evaluation/model-match.js';
import { seeded } from '../../reference/random.js';

const image: TensorMatch = { reference: 'image', compared: 'image', matchedBy: 'name', shape: [1, 2, 2, 3] };
const layer: TensorMatch = { reference: 'conv', compared: 'conv_q', matchedBy: 'position', shape: [1, 4] };
const match = { inputs: [image], layers: [layer] };

/** An explanation of class `strongest`, with this relevance of the picture and of one layer. */
function explanation(
  relevance: readonly number[],
  more: { logit?: number; strongest?: number; timestamp?: number; target?: number; layer?: readonly number[] } = {},
): ComparedExplanation {
  const { logit = 2, strongest = 1, timestamp = 0, target = 1, layer: inner } = more;
  const entry = { index: strongest, label: `class ${strongest}`, probability: 0.9, logit };
  return {
    timestamp,
    logit,
    topK: [entry],
    target: {
      weights: Float32Array.from([0, 1, 2], (index) => Number(index === target)),
      indices: [target],
      labels: [`class ${target}`],
    },
    relevance: {
      image: { dims: [1, 2, 2, 3], data: Float32Array.from(relevance) },
      ...(inner && { conv: { dims: [1, 4], data: Float32Array.from(inner) } }),
      ...(inner && { conv_q: { dims: [1, 4], data: Float32Array.from(inner) } }),
    },
  };
}

describe('one frame', () => {
  it('compares pixels, not channels', () => {
    // in every pixel the two channels have 1 together, however they share it
    const reference = explanation([1, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0, 0]);
    const compared = explanation([0.5, 0, 2, 1, 1, -1, 0.5, 1, -1, 0, 0, 3]);
    const { map, layers } = compareExplanations(reference, compared, { match });
    expect(map).toMatchObject({ elements: 6, cosine: 1, spearman: 1, top1: 1 });
    expect(layers).toEqual([]);
  });

  it('tells how logit and decision changed', () => {
    const pixels = Array.from({ length: 12 }, (_, i) => i);
    const reference = explanation(pixels, { logit: -4 });
    const compared = explanation(pixels, { logit: -3, strongest: 2 });
    const { logit, decision } = compareExplanations(reference, compared, { match });
    expect(logit).toEqual({ reference: -4, compared: -3, change: 1, relative: 0.25 });
    expect(decision).toMatchObject({ changed: true, reference: { index: 1 }, compared: { label: 'class 2' } });
    const none = compareExplanations(explanation(pixels, { logit: 0 }), compared, { match });
    expect(none.logit.relative).toBeNaN();
  });

  it('compares layers neuron by neuron, and says how they were matched', () => {
    const reference = explanation(new Array(12).fill(1), { layer: [1, -2, 3, 4] });
    const compared = explanation(new Array(12).fill(1), { layer: [1, 2, 3, 4] });
    const { layers } = compareExplanations(reference, compared, { match });
    expect(layers).toEqual([
      { ...layer, agreement: relevanceAgreement(Float32Array.of(1, -2, 3, 4), Float32Array.of(1, 2, 3, 4)) },
    ]);
  });

  it('refuses explanations of different targets, and such without relevance', () => {
    const pixels = new Array(12).fill(1);
    expect(() => compareExplanations(explanation(pixels), explanation(pixels, { target: 0 }), { match })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringContaining('class 0') }),
    );
    const forward = { ...explanation(pixels), relevance: {} };
    expect(() => compareExplanations(explanation(pixels), forward, { match })).toThrow(
      expect.objectContaining({ code: 'MODELS_DIFFER', message: expect.stringContaining('"image"') }),
    );
  });
});

describe('all frames', () => {
  const random = seeded(3);
  const drawn = Array.from({ length: 9 }, (_, index) => {
    const pixels = Array.from({ length: 12 }, () => Math.fround(random() * 2 - 1));
    const others = pixels.map((value) => Math.fround(value + (random() - 0.5) * index * 0.1));
    return [
      explanation(pixels, { timestamp: 1000 * index, layer: pixels.slice(0, 4) }),
      explanation(others, {
        timestamp: 1000 * index,
        logit: 2 + (index % 2 === 0 ? -0.1 : 0.2) * index,
        strongest: index > 6 ? 0 : 1,
        layer: pixels.slice(4, 8),
      }),
    ] as const;
  });
  const sums = driftSums();
  const frames = drawn.map(([reference, compared]) => {
    const maps = comparedMaps(reference, compared, { match });
    const frame = frameDrift(reference, compared, maps);
    sums.add(frame, maps);
    return { frame, maps };
  });
  const summary = sums.summary();

  it('have a mean, a median and a worst frame', () => {
    const cosines = frames.map(({ frame }) => frame.map.cosine);
    const sorted = [...cosines].sort((a, b) => a - b);
    const { cosine } = summary.map;
    expect(cosine.frames).toBe(9);
    expect(cosine.mean).toBeCloseTo(cosines.reduce((sum, value) => sum + value, 0) / 9, 12);
    expect(cosine.median).toBe(sorted[4]);
    expect(cosine.worst).toEqual({ value: sorted[0], timestamp: 1000 * cosines.indexOf(sorted[0]!) });
    const { worst } = summary.map.signFlips.relevance;
    expect(worst?.value).toBe(Math.max(...frames.map(({ frame }) => frame.map.signFlips.relevance)));
    expect(summary).toMatchObject({ frames: 9, decisionsChanged: 2 });
    expect(summary.logit.absolute.worst).toEqual({ value: expect.closeTo(1.4, 12), timestamp: 7000 });
    // −0, +0.2, −0.2, +0.6, −0.4, +1, −0.6, +1.4, −0.8
    expect(summary.logit.bias).toBeCloseTo(1.2 / 9, 12);
    expect(summary.logit.relative.median).toBeCloseTo(0.3, 12);
  });

  it('are one map of all pixels', () => {
    const all = (side: 'a' | 'b') => Float32Array.from(frames.flatMap(({ maps }) => [...maps.map[side]]));
    const { rankedEvery, ...pooled } = summary.map.pooled;
    expect(rankedEvery).toBe(1);
    for (const [name, value] of Object.entries(relevanceAgreement(all('a'), all('b')))) {
      if (typeof value === 'number') expect(pooled[name as 'cosine'], name).toBeCloseTo(value, 12);
      else expect(pooled.signFlips.relevance).toBeCloseTo(value.relevance, 12);
    }
  });

  it('have the figures of each layer', () => {
    expect(summary.layers).toHaveLength(1);
    const [inner] = summary.layers;
    expect(inner).toMatchObject({ ...layer, pooled: { elements: 36 } });
    const cosines = frames.map(({ frame }) => frame.layers[0]!.agreement.cosine);
    expect(inner!.cosine.worst?.value).toBe(Math.min(...cosines));
  });

  it('do not count where a figure is not defined', () => {
    const some = driftSums();
    const zeros = new Array(12).fill(0);
    const ones = [1, ...new Array(11).fill(0)];
    for (const [a, b] of [
      [zeros, zeros],
      [ones, ones],
      [ones, zeros],
    ] as const) {
      const [reference, compared] = [explanation(a), explanation(b)];
      const maps = comparedMaps(reference, compared, { match });
      some.add(frameDrift(reference, compared, maps), maps);
    }
    expect(some.summary().map.cosine).toEqual({
      frames: 2,
      mean: 0.5,
      median: 0.5,
      worst: { value: 0, timestamp: 0 },
    });
    expect(driftSums().summary()).toMatchObject({ frames: 0, map: { cosine: { frames: 0, worst: undefined } } });
  });

  it('keep every so many frames for the ranks, once they would fill the memory', () => {
    const side = 8;
    const many = driftSums(3 * side * side);
    const big = { inputs: [{ ...image, shape: [side, side] }], layers: [] };
    const buffer = new Float32Array(side * side);
    for (let index = 0; index < 7; index++) {
      buffer.fill(0)[index] = 1;
      const made = { ...explanation([]), relevance: { image: { dims: [side, side], data: buffer } } };
      const maps = comparedMaps(made, made, { match: big });
      many.add({ ...frames[0]!.frame, timestamp: index }, maps);
    }
    const { pooled } = many.summary().map;
    expect(pooled).toMatchObject({ rankedEvery: 4, elements: 7 * side * side, cosine: 1, spearman: 1, top1: 1 });
  });
});
