import { describe, expect, test } from 'vitest';
import { type Attribute, float, int, text } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { count, dense, matrix } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { openModel } from '../../reference/run.js';
import { explained, modelWith, quotient, transposedTimes } from './one-node.js';

const gradient = { method: 'gradient', init: 'one' } as const;
const largeEnough = { init: 'one', stabilizer: 0.05, rules: [] } as const;

/**
 * The Jacobian of a linear operator by giving it unit vectors, in ONNX Runtime itself: the forward pass is what defines the map, so
 * the oracle needs no second implementation of ONNX's coordinates.
 */
async function jacobianOf(model: Uint8Array, dims: readonly number[], outputs: number) {
  const session = await openModel(model);
  const size = count(dims);
  const jacobian = matrix(outputs, size);
  for (let i = 0; i < size; i++) {
    const unit = new Float64Array(size);
    unit[i] = 1;
    const { y } = await session.run({ x: { dims, data: unit } });
    for (let j = 0; j < outputs; j++) jacobian.data[j * size + i] = y!.data[j]!;
  }
  await session.release();
  return jacobian;
}

interface LinearCase {
  readonly dims: readonly number[];
  readonly to: readonly number[];
  readonly model: Uint8Array;
  /** every output is one input: relevance moves, without a denominator */
  readonly moves: boolean;
}

async function check({ dims, to, model, moves }: LinearCase): Promise<void> {
  const random = seeded(count(dims) + count(to));
  const x = dense(
    signed(random, dims).data.map((value) => value + 0.01),
    dims,
  );
  const target = signed(random, to);
  const jacobian = await jacobianOf(model, dims, count(to));
  const chained = await explained(model, { x }, target, gradient);
  expect(deviation(chained.relevance.x!.data, transposedTimes(jacobian, target.data))).toBeLessThan(1e-5);
  const { y, relevance } = await explained(model, { x }, target, largeEnough);
  const expected = moves
    ? transposedTimes(jacobian, target.data)
    : transposedTimes(jacobian, quotient(target.data, y.data, 0.05)).map((value, i) => value * x.data[i]!);
  expect(relevance.x!.dims).toEqual(dims);
  expect(deviation(relevance.x!.data, expected)).toBeLessThan(1e-5);
  const isWhole = moves && jacobian.data.reduce((total, value) => total + value, 0) === count(to);
  if (isWhole) expect(sum(relevance.x!.data)).toBeCloseTo(sum(target.data), 4);
}

function resized(
  dims: readonly number[],
  to: readonly number[],
  attributes: Record<string, Attribute>,
  by: 'sizes' | 'scales' = 'sizes',
): LinearCase {
  const model = modelWith({ x: dims }, to, (graph) =>
    by === 'sizes'
      ? graph.node('Resize', ['x', '', '', graph.ints(to)], attributes)
      : graph.node(
          'Resize',
          [
            'x',
            '',
            graph.floats(
              to.map((size, axis) => Math.fround((size + 0.3 * Math.sign(size - dims[axis]!)) / dims[axis]!)),
            ),
          ],
          attributes,
        ),
  );
  const mode = attributes.mode;
  return { dims, to, model, moves: mode?.kind !== 'string' || mode.value === 'nearest' };
}

const transformations = [
  'half_pixel',
  'half_pixel_symmetric',
  'asymmetric',
  'align_corners',
  'pytorch_half_pixel',
] as const;
const sizes: readonly (readonly [string, readonly number[], readonly number[]])[] = [
  ['up by integers', [1, 2, 3, 4], [1, 2, 6, 12]],
  ['up by fractions', [1, 2, 4, 3], [1, 2, 7, 5]],
  ['down', [2, 1, 7, 6], [2, 1, 4, 3]],
  ['to one sample', [1, 1, 5, 4], [1, 1, 1, 1]],
];

describe('Resize is the linear map that ONNX Runtime computes (thesis 2.39)', () => {
  for (const [title, dims, to] of sizes) {
    for (const transformation of transformations) {
      const mode = { coordinate_transformation_mode: text(transformation) };
      test(`linear ${title}, ${transformation}`, () => check(resized(dims, to, { ...mode, mode: text('linear') })));
      test(`cubic ${title}, ${transformation}`, async () => {
        await check(resized(dims, to, { ...mode, mode: text('cubic') }));
        const options = { cubic_coeff_a: float(-0.5), exclude_outside: int(1) };
        await check(resized(dims, to, { ...mode, mode: text('cubic'), ...options }));
      });
      test(`nearest ${title}, ${transformation}`, async () => {
        for (const nearest of ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil']) {
          await check(resized(dims, to, { ...mode, mode: text('nearest'), nearest_mode: text(nearest) }));
        }
      });
    }
  }
  test('scales that do not give whole numbers of samples', async () => {
    for (const mode of ['nearest', 'linear', 'cubic']) {
      for (const transformation of transformations) {
        const attributes = { mode: text(mode), coordinate_transformation_mode: text(transformation) };
        await check(resized([1, 1, 4, 5], [1, 1, 9, 7], attributes, 'scales'));
      }
    }
  });
  test('in one and in three dimensions', async () => {
    await check(resized([1, 2, 5], [1, 2, 8], { mode: text('nearest') }));
    await check(resized([1, 2, 2, 3, 2], [1, 2, 4, 5, 3], { mode: text('nearest') }));
    await check(resized([1, 2, 2, 3, 2], [1, 2, 4, 5, 3], { mode: text('linear') }));
  });
  test('a nearest neighbour at an integer scale needs no product', () => {
    const attributes = { mode: text('nearest'), coordinate_transformation_mode: text('asymmetric') };
    const { model } = resized([1, 2, 3, 4], [1, 2, 6, 12], { ...attributes, nearest_mode: text('floor') });
    expect(compileExplanation(model, { composite: largeEnough }).report.backward).toBe(0);
  });
  for (const mode of ['linear', 'cubic']) {
    test(`${mode} with antialiasing`, async () => {
      for (const [, dims, to] of sizes) {
        for (const exclude of [0, 1]) {
          const attributes = { mode: text(mode), antialias: int(1), exclude_outside: int(exclude) };
          await check(resized(dims, to, attributes));
        }
      }
      const [dims, to] = [
        [1, 1, 9, 8],
        [1, 1, 4, 3],
      ] as const;
      const model = modelWith({ x: dims }, to, (graph) =>
        graph.node('Resize', ['x', '', graph.floats([1, 1, 0.5, 0.45])], { mode: text(mode), antialias: int(1) }),
      );
      await check({ dims, to, model, moves: false });
    });
  }
  for (const mode of ['nearest', 'linear']) {
    test(`${mode} of a crop that reaches beyond the border`, async () => {
      for (const roi of [
        [0, 0, 0.25, 0.1, 1, 1, 0.75, 0.9],
        [0, 0, -0.2, 0.5, 1, 1, 0.7, 1.3],
      ]) {
        const [dims, to] = [
          [1, 2, 6, 5],
          [1, 2, 4, 7],
        ] as const;
        const attributes = { mode: text(mode), coordinate_transformation_mode: text('tf_crop_and_resize') };
        const model = modelWith({ x: dims }, to, (graph) =>
          graph.node('Resize', ['x', graph.floats(roi), '', graph.ints(to)], attributes),
        );
        await check({ dims, to, model, moves: mode === 'nearest' });
      }
    });
  }
  test.each([7, 9])('Upsample of version %i', async (opset) => {
    for (const mode of ['nearest', 'linear']) {
      const [dims, to] = [
        [1, 2, 3, 4],
        [1, 2, 6, 10],
      ] as const;
      const scales = [1, 1, 2, 2.5];
      const model = modelWith(
        { x: dims },
        to,
        (graph) =>
          opset < 9
            ? graph.node('Upsample', ['x'], { mode: text(mode), scales: { kind: 'floats', value: scales } })
            : graph.node('Upsample', ['x', graph.floats(scales)], { mode: text(mode) }),
        opset,
      );
      await check({ dims, to, model, moves: mode === 'nearest' });
    }
  });
});

describe('what deals samples out anew moves relevance (thesis 2.41)', () => {
  test.each(['DCR', 'CRD'])('DepthToSpace, %s', (mode) => {
    const dims = [2, 8, 2, 3];
    const to = [2, 2, 4, 6];
    const model = modelWith({ x: dims }, to, (graph) =>
      graph.node('DepthToSpace', ['x'], { blocksize: int(2), mode: text(mode) }),
    );
    return check({ dims, to, model, moves: true });
  });
  test('SpaceToDepth', () => {
    const dims = [2, 3, 4, 6];
    const to = [2, 12, 2, 3];
    const model = modelWith({ x: dims }, to, (graph) => graph.node('SpaceToDepth', ['x'], { blocksize: int(2) }));
    return check({ dims, to, model, moves: true });
  });
  test('Tile', () => {
    const dims = [1, 2, 3];
    const to = [2, 2, 9];
    const model = modelWith({ x: dims }, to, (graph) => graph.node('Tile', ['x', graph.ints([2, 1, 3])]));
    return check({ dims, to, model, moves: true });
  });
});

describe('a cumulative sum shares by x_i / Σx (thesis 2.39)', () => {
  for (const exclusive of [0, 1]) {
    for (const reverse of [0, 1]) {
      test(`exclusive ${exclusive}, reverse ${reverse}`, () => {
        const dims = [2, 5, 2];
        const model = modelWith({ x: dims }, dims, (graph) =>
          graph.node('CumSum', ['x', graph.ints([1], [])], { exclusive: int(exclusive), reverse: int(reverse) }),
        );
        return check({ dims, to: dims, model, moves: false });
      });
    }
  }
});
