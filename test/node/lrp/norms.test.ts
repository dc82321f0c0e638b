import { expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { int } from '../../../sdk/graph/graph.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { differences, explained, modelWith, transposedTimes } from './one-node.js';

const reduced = (op: string) => (graph: GraphBuilder) => graph.node(op, ['x', graph.ints([-1])], { keepdims: int(0) });

interface NormCase {
  readonly dims: readonly number[];
  readonly to: readonly number[];
  write(graph: GraphBuilder): string;
  /** |x|^p of an element, and y from the sum of them */
  term(value: number): number;
  of(total: number): number;
}

const square = (value: number): number => value ** 2;
const same = (value: number): number => value;
const cases: Readonly<Record<string, NormCase>> = {
  ReduceL1: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceL1'), term: Math.abs, of: same },
  ReduceL2: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceL2'), term: square, of: Math.sqrt },
  ReduceSumSquare: { dims: [2, 3, 4], to: [2, 3], write: reduced('ReduceSumSquare'), term: square, of: same },
  'GlobalLpPool, 2': {
    dims: [1, 3, 2, 4],
    to: [1, 3, 1, 1],
    write: (graph) => graph.node('GlobalLpPool', ['x'], { p: int(2) }),
    term: square,
    of: Math.sqrt,
  },
};

test.each(Object.entries(cases))('%s shares by |x|^p (thesis 2.39)', async (_, { dims, to, write, term, of }) => {
  const random = seeded(dims.length);
  // away from zero, where |x| has no derivative
  const x = dense(
    signed(random, dims).data.map((value) => value + (value < 0 ? -0.1 : 0.1)),
    dims,
  );
  const target = signed(random, to);
  const cells = x.data.length / target.data.length;
  const totals = (at: Dense): Float64Array =>
    target.data.map((_unused, j) => sum(at.data.subarray(j * cells, (j + 1) * cells).map(term)));
  const model = modelWith({ x: dims }, to, write);
  const { y, relevance } = await explained(model, { x }, target);
  expect(deviation(y.data, totals(x).map(of))).toBeLessThan(1e-5);
  const expected = x.data.map((value, i) => {
    const j = Math.floor(i / cells);
    return (term(value) / totals(x)[j]!) * target.data[j]!;
  });
  expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-4);
  expect(sum(relevance.x!.data)).toBeCloseTo(sum(target.data), 4);
  const chained = await explained(model, { x }, target, { method: 'gradient', init: 'one' });
  const jacobian = differences((at) => dense(totals(at).map(of), to), x);
  expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-4);
});
