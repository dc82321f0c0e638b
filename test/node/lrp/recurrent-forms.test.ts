import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { type Attribute, float, floats, int, text } from '../../../sdk/graph/graph.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';
import { explained, modelWith, type Shapes, weight } from './one-node.js';

const [length, batch, inputs, hidden] = [4, 3, 3, 2] as const;
const gates: Readonly<Record<string, number>> = { LSTM: 4, GRU: 3, RNN: 1 };
const strings = (...value: string[]): Attribute => ({ kind: 'strings', value });

interface Form {
  readonly op: string;
  readonly direction?: 'forward' | 'reverse' | 'bidirectional';
  readonly attributes?: Record<string, Attribute>;
  /** lengths of the sequences */
  readonly lengths?: readonly number[];
  readonly peepholes?: boolean;
  readonly batchFirst?: boolean;
}

/** A layer all of whose results are laid side by side, with random weights that depend on the operator alone. */
function modelOf({ op, direction = 'forward', attributes = {}, lengths, peepholes = false, batchFirst = false }: Form) {
  const random = seeded(op.length + direction.length);
  const directions = direction === 'bidirectional' ? 2 : 1;
  const count = gates[op]!;
  const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  const shapes: Shapes = {
    x: batchFirst ? [batch, length, inputs] : [length, batch, inputs],
    h: state,
    ...(op === 'LSTM' ? { c: state } : {}),
  };
  const weights = [
    signed(random, [directions, count * hidden, inputs]),
    signed(random, [directions, count * hidden, hidden]),
    signed(random, [directions, 2 * count * hidden], 0.5),
  ];
  const peep = signed(random, [directions, 3 * hidden]);
  const states = directions * batch * hidden;
  const dims = [1, (length + (op === 'LSTM' ? 2 : 1)) * states];
  const model = modelWith(shapes, dims, (graph: GraphBuilder) => {
    const from = ['x', ...weights.map((value, k) => weight(graph, `w${k}`, value))];
    from.push(lengths === undefined ? '' : graph.initializer('lengths', tensorOf('int32', [batch], lengths)), 'h');
    if (op === 'LSTM') from.push('c');
    if (peepholes) from.push(weight(graph, 'P', peep));
    const out = graph.nodes(op, from, op === 'LSTM' ? 3 : 2, {
      ...{ hidden_size: int(hidden), direction: text(direction), ...attributes },
      ...(batchFirst ? { layout: int(1) } : {}),
    });
    const flat = out.map((name) => graph.node('Reshape', [name, graph.ints([1, -1])]));
    return graph.node('Concat', flat, { axis: int(1) });
  });
  return { model, shapes, dims };
}

const feedsOf = (shapes: Shapes): Record<string, Dense> => {
  const random = seeded(31);
  return Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, signed(random, dims)]));
};

const bothDirections = Object.keys(gates).map((op): Form => ({ op, direction: 'bidirectional' }));
const own: readonly Form[] = [
  ...bothDirections.map((form) => ({ ...form, attributes: { clip: float(0.3) } })),
  ...bothDirections.map((form) => ({ ...form, lengths: [4, 1, 2] })),
  { op: 'LSTM', attributes: { activations: strings('HardSigmoid', 'Relu', 'Softsign') } },
  {
    op: 'LSTM',
    direction: 'bidirectional',
    attributes: {
      activations: strings('HardSigmoid', 'Tanh', 'LeakyRelu', 'Sigmoid', 'Elu', 'Tanh'),
      activation_alpha: floats([0.3, 0.2, 0.7]),
      activation_beta: floats([0.4]),
    },
    peepholes: true,
    lengths: [2, 3, 4],
  },
  { op: 'LSTM', attributes: { input_forget: int(1) } },
  { op: 'GRU', attributes: { activations: strings('HardSigmoid', 'Relu'), linear_before_reset: int(1) } },
  {
    op: 'RNN',
    attributes: { activations: strings('ScaledTanh'), activation_alpha: floats([0.5]), activation_beta: floats([2]) },
  },
];

describe('recurrent layers of every form compute what ONNX Runtime computes, step by step', () => {
  test.each(own.map((form) => [JSON.stringify(form), form] as const))('%s', async (_, form) => {
    const { model, shapes, dims } = modelOf(form);
    const feeds = feedsOf(shapes);
    const expected = (await runModel(model, feeds)).y!.data;
    const target = signed(seeded(2), dims);
    const { y, relevance, all } = await explained(model, feeds, target);
    expect(deviation(y.data, expected)).toBeLessThan(1e-5);
    const total = sum(Object.values(relevance).map(({ data }) => sum(data)));
    expect(Number.isFinite(total)).toBe(true);
    // a candidate that is bounded or silent keeps what it was given; the rest is in biases
    const isUsual = form.attributes === undefined || 'clip' in form.attributes;
    const isWhole = isUsual && form.lengths === undefined;
    if (isWhole) expect((total + all.absorbed!.data.at(-1)!) / sum(target.data)).toBeCloseTo(1, 2);
  });
  test('what lies behind the end of a sequence gets nothing', async () => {
    const { model, shapes, dims } = modelOf({ op: 'LSTM', direction: 'bidirectional', lengths: [4, 1, 2] });
    const { relevance } = await explained(model, feedsOf(shapes), dense(new Float64Array(dims[1]!).fill(1), dims));
    const at = (t: number, n: number): number =>
      sum(relevance.x!.data.subarray((t * batch + n) * inputs, (t * batch + n + 1) * inputs).map(Math.abs));
    for (const [n, end] of [4, 1, 2].entries()) {
      for (let t = 0; t < length; t++) {
        if (t >= end) expect(at(t, n)).toBe(0);
        else expect(at(t, n)).toBeGreaterThan(0);
      }
    }
  });
});

describe('both forms of a layer give the same relevance', () => {
  const composites: readonly Composite[] = [
    { init: 'one', stabilizer: 1e-6, rules: [] },
    { init: 'one', bias: 'ignore', rules: [] },
    { method: 'gradient', init: 'one' },
  ];
  test.each(
    bothDirections
      .flatMap((form) => [form, ...(form.op === 'LSTM' ? [{ ...form, peepholes: true }] : [])])
      .map((form) => [JSON.stringify(form), form] as const),
  )('%s', async (_, form) => {
    const { model, shapes, dims } = modelOf(form);
    // a bound that nothing reaches
    const { model: stepped } = modelOf({ ...form, attributes: { clip: float(1000) } });
    const feeds = feedsOf(shapes);
    const target = signed(seeded(3), dims);
    for (const composite of composites) {
      const [layer, steps] = [
        await explained(model, feeds, target, composite),
        await explained(stepped, feeds, target, composite),
      ];
      for (const name of Object.keys(shapes)) {
        expect(deviation(steps.relevance[name]!.data, layer.relevance[name]!.data), name).toBeLessThan(1e-3);
      }
    }
  });
});

describe('batch first', () => {
  /** [outer, inner, …] with its first two axes exchanged. */
  const turned = ({ dims, data }: Dense): Dense => {
    const [outer, inner, width] = dims as [number, number, number];
    return dense(
      Array.from({ length: data.length }, (_, at) => {
        const [i, j, k] = [Math.floor(at / (outer * width)), Math.floor(at / width) % outer, at % width];
        return data[(j * inner + i) * width + k]!;
      }),
      [inner, outer, width],
    );
  };
  test.each(Object.keys(gates))('%s', async (op) => {
    const usual = modelOf({ op });
    const first = modelOf({ op, batchFirst: true });
    const feeds = feedsOf(usual.shapes);
    const target = dense(new Float64Array(usual.dims[1]!).fill(1), usual.dims);
    const expected = await explained(usual.model, feeds, target);
    const found = await explained(
      first.model,
      Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, turned(value)])),
      target,
    );
    expect(sum(found.y.data)).toBeCloseTo(sum(expected.y.data), 4);
    for (const name of Object.keys(feeds)) {
      const back = turned({ dims: found.relevance[name]!.dims, data: found.relevance[name]!.data } as Dense);
      expect(deviation(back.data, expected.relevance[name]!.data), name).toBeLessThan(1e-5);
    }
    expect(canonicalize(decodeModel(first.model)).model.graph.nodes.some((node) => node.op === op)).toBe(true);
  });
});

test('gates get their half by option, inside of recurrent layers too', async () => {
  const { model, shapes, dims } = modelOf({ op: 'LSTM' });
  const feeds = feedsOf(shapes);
  const target = dense(new Float64Array(dims[1]!).fill(1), dims);
  const [signal, halves] = [
    await explained(model, feeds, target, { init: 'one', bias: 'ignore', rules: [] }),
    await explained(model, feeds, target, { init: 'one', bias: 'ignore', gates: 'halves', rules: [] }),
  ];
  for (const { relevance } of [signal, halves]) {
    const total = sum(Object.values(relevance).map(({ data }) => sum(data)));
    expect(total / sum(target.data)).toBeCloseTo(1, 2);
  }
  expect(deviation(halves.relevance.x!.data, signal.relevance.x!.data)).toBeGreaterThan(0.05);
  const gated = modelWith({ a: [2, 3], b: [2, 3] }, [2, 3], (graph) =>
    graph.node('Mul', ['a', graph.node('Sigmoid', ['b'])]),
  );
  const random = seeded(1);
  const one = await explained(
    gated,
    { a: signed(random, [2, 3]), b: signed(random, [2, 3]) },
    dense([1, 2, 3, 4, 5, 6], [2, 3]),
    {
      ...{ init: 'one', gates: 'halves', rules: [] },
    },
  );
  expect([...one.relevance.b!.data]).toEqual([0.5, 1, 1.5, 2, 2.5, 3]);
  expect([...one.relevance.a!.data]).toEqual([0.5, 1, 1.5, 2, 2.5, 3]);
});
