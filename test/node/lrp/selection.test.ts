import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { int, text } from '../../../sdk/graph/graph.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import type { TiePolicy } from '../../../sdk/lrp/composite.js';
import { count, type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { coarse, seeded, signed } from '../../reference/random.js';
import { explained, modelWith, type Shapes, tabulated } from './one-node.js';

/** Where every element of the output comes from: an input's name and a flat position in it; undefined for constants. */
type Origin = (output: number, inputs: Readonly<Record<string, Dense>>) => readonly [string, number] | undefined;

/** Relevance has to arrive exactly where the values came from; values are compared as well, so that the origins are proven. */
async function follows(
  inputs: Shapes,
  dims: readonly number[],
  write: (graph: GraphBuilder) => string,
  origin: Origin,
  opset = 18,
): Promise<void> {
  const random = seeded(count(dims));
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, signed(random, shape)]));
  const target = signed(random, dims);
  for (const composite of [
    { init: 'one', rules: [] },
    { method: 'gradient', init: 'one' },
  ] as const) {
    const { y, relevance } = await explained(modelWith(inputs, dims, write, opset), feeds, target, composite);
    const expected = Object.fromEntries(
      Object.entries(inputs).map(([name, shape]) => [name, new Float64Array(count(shape))]),
    );
    for (let k = 0; k < target.data.length; k++) {
      const from = origin(k, feeds);
      if (from === undefined) continue;
      expect(y.data[k]).toBe(feeds[from[0]]!.data[from[1]]!);
      expected[from[0]]![from[1]]! += target.data[k]!;
    }
    for (const name of Object.keys(inputs)) {
      expect(relevance[name]!.dims).toEqual(inputs[name]);
      expect(deviation(relevance[name]!.data, expected[name]!), name).toBeLessThan(1e-6);
    }
  }
}

describe('what is selected keeps its relevance (thesis 2.41)', () => {
  test('Where with a constant condition that is broadcast', () => {
    const mask = [1, 0, 0, 1];
    return follows(
      { a: [2, 3, 4], b: [3, 1] },
      [2, 3, 4],
      (graph) => graph.node('Where', [graph.initializer('mask', tensorOf('bool', [4], mask)), 'a', 'b']),
      (k) => (mask[k % 4] === 1 ? ['a', k] : ['b', Math.floor(k / 4) % 3]),
    );
  });
  test('Where with a condition that the input decides', () =>
    follows(
      { a: [2, 6], b: [2, 6] },
      [2, 6],
      (graph) => graph.node('Where', [graph.node('Greater', ['a', graph.floats([0.1])]), 'a', 'b']),
      (k, { a }) => (a!.data[k]! > Math.fround(0.1) ? ['a', k] : ['b', k]),
    ));
  test.each([0, 1])('TopK, largest %i', (largest) =>
    follows(
      { a: [2, 5, 3] },
      [2, 2, 3],
      (graph) =>
        graph.nodes('TopK', ['a', graph.ints([2])], 2, { axis: int(1), largest: int(largest), sorted: int(1) })[0]!,
      (k, { a }) => {
        const [b, rank, c] = [Math.floor(k / 6), Math.floor(k / 3) % 2, k % 3];
        const cells = [0, 1, 2, 3, 4].map((i) => b * 15 + i * 3 + c);
        cells.sort((i, j) => (a!.data[j]! - a!.data[i]!) * (largest === 1 ? 1 : -1) || i - j);
        return ['a', cells[rank]!];
      },
    ),
  );
  test('Gather with indices taken twice, counted from the back and never', () => {
    const indices = [2, 0, -1, 2, 2];
    return follows(
      { a: [2, 5, 3] },
      [2, 5, 3],
      (graph) => graph.node('Gather', ['a', graph.ints(indices)], { axis: int(1) }),
      (k) => ['a', Math.floor(k / 15) * 15 + ((indices[Math.floor(k / 3) % 5]! + 5) % 5) * 3 + (k % 3)],
    );
  });
  test('GatherElements', () => {
    const indices = [0, 2, -1, 1, 1, 0];
    return follows(
      { a: [2, 4] },
      [2, 3],
      (graph) => graph.node('GatherElements', ['a', graph.ints(indices, [2, 3])], { axis: int(1) }),
      (k) => ['a', Math.floor(k / 3) * 4 + ((indices[k]! + 4) % 4)],
    );
  });
  test('GatherND, with and without common axes', async () => {
    const tuples = [1, 0, 0, -1, 1, 0];
    await follows(
      { a: [2, 3, 2] },
      [3, 2],
      (graph) => graph.node('GatherND', ['a', graph.ints(tuples, [3, 2])]),
      (k) => {
        const [i, j] = [tuples[Math.floor(k / 2) * 2]!, tuples[Math.floor(k / 2) * 2 + 1]!];
        return ['a', i * 6 + ((j + 3) % 3) * 2 + (k % 2)];
      },
    );
    const rows = [2, 0, 1, 1];
    await follows(
      { a: [2, 3, 2] },
      [2, 2, 2],
      (graph) => graph.node('GatherND', ['a', graph.ints(rows, [2, 2, 1])], { batch_dims: int(1) }),
      (k) => ['a', Math.floor(k / 4) * 6 + rows[Math.floor(k / 2)]! * 2 + (k % 2)],
    );
  });
  test('ScatterElements and ScatterND', async () => {
    const indices = [3, 0, 1, 2];
    await follows(
      { a: [2, 4], b: [2, 2] },
      [2, 4],
      (graph) => graph.node('ScatterElements', ['a', graph.ints(indices, [2, 2]), 'b'], { axis: int(1) }),
      (k) => {
        const row = Math.floor(k / 4);
        const at = indices.slice(row * 2, row * 2 + 2).indexOf(k % 4);
        return at < 0 ? ['a', k] : ['b', row * 2 + at];
      },
    );
    await follows(
      { a: [4, 3], b: [2, 3] },
      [4, 3],
      (graph) => graph.node('ScatterND', ['a', graph.ints([-1, 1], [2, 1]), 'b']),
      (k) => {
        const at = [3, 1].indexOf(Math.floor(k / 3));
        return at < 0 ? ['a', k] : ['b', at * 3 + (k % 3)];
      },
    );
  });
});

describe('indices that are computed', () => {
  /** The order of `k`, greatest first: int64 that no constant says. */
  const order = (graph: GraphBuilder): string => graph.nodes('TopK', ['k', graph.ints([4])], ['', 'order'])[1]!;
  const orderOf = ({ k }: Readonly<Record<string, Dense>>): number[] =>
    [0, 1, 2, 3].sort((i, j) => k!.data[j]! - k!.data[i]! || i - j);

  test('Gather along a middle axis', () =>
    follows(
      { a: [2, 4, 3], k: [4] },
      [2, 2, 2, 3],
      (graph) =>
        graph.node('Gather', ['a', graph.node('Reshape', [order(graph), graph.ints([2, 2])])], { axis: int(1) }),
      (at, feeds) => ['a', Math.floor(at / 12) * 12 + orderOf(feeds)[Math.floor(at / 3) % 4]! * 3 + (at % 3)],
    ));
  test('GatherElements', () =>
    follows(
      { a: [4, 4], k: [4] },
      [1, 4],
      (graph) =>
        graph.node('GatherElements', ['a', graph.node('Reshape', [order(graph), graph.ints([1, 4])])], {
          axis: int(0),
        }),
      (at, feeds) => ['a', orderOf(feeds)[at]! * 4 + at],
    ));
  test('GatherND', () =>
    follows(
      { a: [4, 3], k: [4] },
      [4, 3],
      (graph) => graph.node('GatherND', ['a', graph.node('Reshape', [order(graph), graph.ints([4, 1])])]),
      (at, feeds) => ['a', orderOf(feeds)[Math.floor(at / 3)]! * 3 + (at % 3)],
    ));
  const firstTwo = (graph: GraphBuilder, dims: number[]): string =>
    graph.node('Reshape', [graph.node('Slice', [order(graph), graph.ints([0]), graph.ints([2])]), graph.ints(dims)]);
  test('ScatterND', () =>
    follows(
      { a: [4, 3], b: [2, 3], k: [4] },
      [4, 3],
      (graph) => graph.node('ScatterND', ['a', firstTwo(graph, [2, 1]), 'b']),
      (at, feeds) => {
        const writer = orderOf(feeds)
          .slice(0, 2)
          .indexOf(Math.floor(at / 3));
        return writer < 0 ? ['a', at] : ['b', writer * 3 + (at % 3)];
      },
    ));
  test('ScatterElements', () =>
    follows(
      { a: [4], b: [2], k: [4] },
      [4],
      (graph) => graph.node('ScatterElements', ['a', firstTwo(graph, [2]), 'b'], { axis: int(0) }),
      (at, feeds) => {
        const writer = orderOf(feeds).slice(0, 2).indexOf(at);
        return writer < 0 ? ['a', at] : ['b', writer];
      },
    ));
  test.each(['ScatterND', 'ScatterElements'])('%s that adds up shares by the summands (thesis 2.39)', async (op) => {
    const indices = [1, 3, 1];
    const feeds = { a: dense([1, 2, 3, 4], [4]), b: dense([0.5, 1.5, 2.5], [3]) };
    const target = dense([1, 2, 3, 4], [4]);
    const model = modelWith({ a: [4], b: [3] }, [4], (graph) =>
      graph.node(op, ['a', graph.ints(indices, op === 'ScatterND' ? [3, 1] : [3]), 'b'], { reduction: text('add') }),
    );
    const { relevance } = await explained(model, feeds, target);
    const [y1, y3] = [2 + 0.5 + 2.5, 4 + 1.5];
    expect(deviation(relevance.a!.data, [1, (2 / y1) * 2, 3, (4 / y3) * 4])).toBeLessThan(1e-5);
    expect(deviation(relevance.b!.data, [(0.5 / y1) * 2, (1.5 / y3) * 4, (2.5 / y1) * 2])).toBeLessThan(1e-5);
  });
});

test('Pad that wraps around, and triangles', async () => {
  await follows(
    { a: [2, 4] },
    [2, 7],
    (graph) => graph.node('Pad', ['a', graph.ints([0, 1, 0, 2])], { mode: text('wrap') }),
    (at) => ['a', Math.floor(at / 7) * 4 + (((at % 7) + 3) % 4)],
    19,
  );
  for (const upper of [0, 1]) {
    await follows(
      { a: [3, 4] },
      [3, 4],
      (graph) => graph.node('Trilu', ['a', graph.ints([1], [])], { upper: int(upper) }),
      (at) => {
        const distance = (at % 4) - Math.floor(at / 4);
        return (upper === 1 ? distance >= 1 : distance <= 1) ? ['a', at] : undefined;
      },
    );
  }
});

describe('a maximum or minimum of tensors gives all to the winner (thesis 2.33–2.35)', () => {
  for (const op of ['Max', 'Min']) {
    test.each(['split', 'first'] satisfies TiePolicy[])(`${op}, ties: %s`, async (ties) => {
      const shapes = { a: [2, 3, 4], b: [3, 1], c: [2, 3, 4] };
      const random = seeded(7);
      const feeds = Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, coarse(random, dims)]));
      const target = signed(random, [2, 3, 4]);
      const bound = op === 'Max' ? -0.5 : 0.5;
      const model = modelWith(shapes, [2, 3, 4], (graph) => graph.node(op, ['a', 'b', graph.floats([bound]), 'c']));
      const { relevance, all } = await explained(model, feeds, target, { init: 'one', ties, rules: [] });
      const expected = { a: new Float64Array(24), b: new Float64Array(3), c: new Float64Array(24) };
      let lost = 0;
      for (let k = 0; k < 24; k++) {
        const row = Math.floor(k / 4) % 3;
        const values = [feeds.a!.data[k]!, feeds.b!.data[row]!, bound, feeds.c!.data[k]!];
        const best = op === 'Max' ? Math.max(...values) : Math.min(...values);
        const winners = values.flatMap((value, i) => (value === best ? [i] : [])).slice(0, ties === 'first' ? 1 : 4);
        for (const winner of winners) {
          const share = target.data[k]! / winners.length;
          if (winner === 0) expected.a[k]! += share;
          else if (winner === 1) expected.b[row]! += share;
          else if (winner === 3) expected.c[k]! += share;
          else lost += share;
        }
      }
      for (const name of ['a', 'b', 'c'] as const) {
        expect(deviation(relevance[name]!.data, expected[name]), name).toBeLessThan(1e-6);
      }
      expect(all.absorbed!.data.at(-1)).toBeCloseTo(lost, 5);
      expect(sum(target.data)).toBeCloseTo(sum(Object.values(relevance).map(({ data }) => sum(data))) + lost, 4);
    });
  }
  test('ReduceMin', async () => {
    const x = dense([3, -1, 2, -1, 0, 5], [2, 3]);
    const model = modelWith({ x: [2, 3] }, [2], (graph) =>
      graph.node('ReduceMin', ['x', graph.ints([1])], { keepdims: int(0) }),
    );
    const { relevance } = await explained(model, { x }, dense([2, 3], [2]));
    expect([...relevance.x!.data]).toEqual([
      ...tabulated([2, 3], (i, j) => (j === (i === 0 ? 1 : 0) ? 2 + i! : 0)).data,
    ]);
  });
});
