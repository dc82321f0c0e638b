import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { type Attribute, int, text } from '../../../sdk/graph/graph.js';
import type { BiasPolicy } from '../../../sdk/lrp/composite.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, sum } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { type CellKind, type RecurrentLayer, rowsOf, runSteps, type Step, timesOf } from '../../reference/recurrent.js';
import { differences, explained, modelWith, stabilized, transposedTimes, weight } from './one-node.js';

const [length, batch, inputs, hidden] = [4, 2, 3, 2] as const;
const epsilon = 0.1;
const gradient = { method: 'gradient', init: 'one' } as const;

type Direction = 'forward' | 'reverse' | 'bidirectional';
/** which results the model gives out */
type Results = 'all' | 'last' | 'both';

interface Model {
  readonly bytes: Uint8Array;
  readonly layers: readonly RecurrentLayer[];
  readonly feeds: Readonly<Record<string, Dense>>;
  readonly results: Results;
  readonly dims: readonly number[];
  readonly hasCell: boolean;
}

const gateCounts: Readonly<Record<CellKind, number>> = {
  LSTM: 4,
  GRU: 3,
  'GRU, linear before reset': 3,
  RNN: 1,
  'RNN, Relu': 1,
};

function modelOf(kind: CellKind, direction: Direction, results: Results, seed: number, peepholes = false): Model {
  const random = seeded(seed);
  const directions = direction === 'bidirectional' ? 2 : 1;
  const count = gateCounts[kind];
  const op = kind.slice(0, kind.startsWith('LSTM') ? 4 : 3);
  const hasCell = op === 'LSTM';
  const w = signed(random, [directions, count * hidden, inputs]);
  const r = signed(random, [directions, count * hidden, hidden]);
  const b = signed(random, [directions, 2 * count * hidden], 0.5);
  const p = signed(random, [directions, 3 * hidden]);
  const shapes = {
    x: [length, batch, inputs],
    h: [directions, batch, hidden],
    ...(hasCell ? { c: [directions, batch, hidden] } : {}),
  };
  const attributes: Record<string, Attribute> = { hidden_size: int(hidden), direction: text(direction) };
  if (kind === 'GRU, linear before reset') attributes.linear_before_reset = int(1);
  if (kind === 'RNN, Relu') {
    attributes.activations = { kind: 'strings', value: new Array<string>(directions).fill('Relu') };
  }
  const states = directions * batch * hidden;
  const sizes = { all: length * states, last: states * (hasCell ? 2 : 1), both: (length + (hasCell ? 2 : 1)) * states };
  const dims = [1, sizes[results]];
  const write = (graph: GraphBuilder): string => {
    const from = ['x', weight(graph, 'W', w), weight(graph, 'R', r), weight(graph, 'B', b), '', 'h'];
    if (hasCell) from.push('c');
    if (peepholes) from.push(weight(graph, 'P', p));
    const names = [
      results === 'last' ? '' : 'Y',
      results === 'all' ? '' : 'Y_h',
      ...(hasCell && results !== 'all' ? ['Y_c'] : []),
    ];
    const out = graph.nodes(op, from, names, attributes).filter((name) => name !== '');
    const flat = out.map((name) => graph.node('Reshape', [name, graph.ints([1, -1])]));
    return flat.length === 1 ? flat[0]! : graph.node('Concat', flat, { axis: int(1) });
  };
  const layers = Array.from({ length: directions }, (_, d): RecurrentLayer => {
    const gates = Array.from({ length: count }, (_unused, gate) => ({
      w: rowsOf(w, (d * count + gate) * hidden * inputs, hidden, inputs),
      r: rowsOf(r, (d * count + gate) * hidden * hidden, hidden, hidden),
      inputBias: rowsOf(b, (d * 2 * count + gate) * hidden, 1, hidden)[0]!,
      recurrentBias: rowsOf(b, ((d * 2 + 1) * count + gate) * hidden, 1, hidden)[0]!,
    }));
    const reversed = direction === 'reverse' || d === 1;
    return peepholes
      ? { kind, gates, reversed, peepholes: rowsOf(p, d * 3 * hidden, 3, hidden) }
      : { kind, gates, reversed };
  });
  const feeds = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, signed(random, shape)]));
  return { bytes: modelWith(shapes, dims, write), layers, feeds, results, dims, hasCell };
}

/** One sample's inputs, of one direction. */
function sampleOf({ feeds }: Model, d: number, n: number): { xs: number[][]; h: number[]; c: number[] } {
  const state = (name: string): number[] =>
    feeds[name] === undefined ? [0, 0] : rowsOf(feeds[name], (d * batch + n) * hidden, 1, hidden)[0]!;
  const xs = Array.from({ length }, (_, t) => rowsOf(feeds.x!, (t * batch + n) * inputs, 1, inputs)[0]!);
  return { xs, h: state('h'), c: state('c') };
}

/** Calls `visit` for every element of the model's output: direction, sample, unit, and the time step (undefined for a last state). */
function eachResult(
  model: Model,
  visit: (at: number, d: number, n: number, j: number, result: number | 'h' | 'c') => void,
): void {
  const directions = model.layers.length;
  let at = 0;
  const states = (result: number | 'h' | 'c'): void => {
    for (let d = 0; d < directions; d++) {
      for (let n = 0; n < batch; n++) for (let j = 0; j < hidden; j++) visit(at++, d, n, j, result);
    }
  };
  if (model.results !== 'last') for (let t = 0; t < length; t++) states(t);
  if (model.results !== 'all') {
    states('h');
    if (model.hasCell) states('c');
  }
}

function outputOf(model: Model): Dense {
  const steps = model.layers.map((layer, d) =>
    Array.from({ length: batch }, (_, n) => {
      const { xs, h, c } = sampleOf(model, d, n);
      return runSteps(layer, xs, h, c);
    }),
  );
  const data = new Float64Array(model.dims[1]!);
  eachResult(model, (at, d, n, j, result) => {
    const last = steps[d]![n]![timesOf(model.layers[d]!, length).at(-1)!]!;
    data[at] = typeof result === 'number' ? steps[d]![n]![result]!.h[j]! : last[result][j]!;
  });
  return dense(data, model.dims);
}

/** Message by message, as the equations have it: how much of a unit's relevance goes to each thing that it was computed from. */
function oracle(model: Model, target: Dense, bias: BiasPolicy) {
  const relevance = Object.fromEntries(
    Object.entries(model.feeds).map(([name, { data }]) => [name, new Float64Array(data.length)]),
  );
  let absorbed = 0;
  model.layers.forEach((layer, d) => {
    for (let n = 0; n < batch; n++) {
      const { xs, h, c } = sampleOf(model, d, n);
      const steps = runSteps(layer, xs, h, c);
      const atH = Array.from({ length }, () => new Array<number>(hidden).fill(0));
      const [lastH, lastC] = [new Array<number>(hidden).fill(0), new Array<number>(hidden).fill(0)];
      eachResult(model, (at, direction, sample, j, result) => {
        if (direction !== d || sample !== n) return;
        const list = result === 'h' ? lastH : result === 'c' ? lastC : atH[result]!;
        list[j]! += target.data[at]!;
      });
      let [carriedH, carriedC] = [lastH, lastC];
      for (const t of timesOf(layer, length).reverse()) {
        const step = steps[t]!;
        const ofState = step.h.map((_, j) => atH[t]![j]! + carriedH[j]! + (layer.kind === 'LSTM' ? carriedC[j]! : 0));
        const nextH = new Array<number>(hidden).fill(0);
        const nextC = new Array<number>(hidden).fill(0);
        for (let j = 0; j < hidden; j++) {
          const { toCandidate, toState } = stateShares(layer, step, j);
          (layer.kind === 'LSTM' ? nextC : nextH)[j]! += toState * ofState[j]!;
          absorbed += candidateShares(layer, step, xs[t]!, j, toCandidate * ofState[j]!, bias, (where, k, share) => {
            if (where === 'x') relevance.x![(t * batch + n) * inputs + k]! += share;
            else nextH[k]! += share;
          });
        }
        [carriedH, carriedC] = [nextH, nextC];
      }
      for (let j = 0; j < hidden; j++) {
        relevance.h![(d * batch + n) * hidden + j]! += carriedH[j]!;
        if (model.hasCell) relevance.c![(d * batch + n) * hidden + j]! += carriedC[j]!;
      }
    }
  });
  return { relevance, absorbed };
}

/** Of a new state's relevance, the shares of the candidate and of the state before. */
function stateShares({ kind }: RecurrentLayer, step: Step, j: number): { toCandidate: number; toState: number } {
  if (kind === 'LSTM') {
    const { i, f } = step.gates;
    const c = stabilized(step.c[j]!, epsilon);
    return { toCandidate: (i![j]! * step.g[j]!) / c, toState: (f![j]! * step.cellBefore[j]!) / c };
  }
  if (!kind.startsWith('GRU')) return { toCandidate: 1, toState: 0 };
  const h = stabilized(step.h[j]!, epsilon);
  const u = step.gates.u![j]!;
  return { toCandidate: ((1 - u) * step.g[j]!) / h, toState: (u * step.before[j]!) / h };
}

/** Shares a candidate's relevance among what z was added up from; returns what the bias absorbs. */
function candidateShares(
  layer: RecurrentLayer,
  step: Step,
  x: readonly number[],
  j: number,
  relevance: number,
  bias: BiasPolicy,
  give: (where: 'x' | 'h', k: number, share: number) => void,
): number {
  const { w, r, inputBias, recurrentBias } = layer.gates.at(-1)!;
  const before = layer.kind === 'GRU' ? step.before.map((value, k) => step.gates.r![k]! * value) : step.before;
  const through = layer.kind === 'GRU, linear before reset' ? step.gates.r![j]! : 1;
  const constant = inputBias[j]! + through * recurrentBias[j]!;
  const s = relevance / stabilized(step.z[j]! - (bias === 'ignore' ? constant : 0), epsilon);
  const handed = bias === 'distribute' ? (constant * s) / (inputs + hidden) : 0;
  for (const [k, value] of x.entries()) give('x', k, value * w[j]![k]! * s + handed);
  for (const [k, value] of before.entries()) give('h', k, through * value * r[j]![k]! * s + handed);
  return bias === 'absorb' ? constant * s : 0;
}

const kinds: readonly CellKind[] = ['LSTM', 'GRU', 'GRU, linear before reset', 'RNN', 'RNN, Relu'];
const directions: readonly Direction[] = ['forward', 'reverse', 'bidirectional'];

async function check(model: Model, target: Dense, op: string): Promise<void> {
  for (const bias of ['absorb', 'ignore', 'distribute'] as const) {
    const composite = { init: 'one', bias, stabilizer: epsilon, rules: [{ match: { op }, rule: 'epsilon' }] } as const;
    const { y, relevance, all } = await explained(model.bytes, model.feeds, target, composite);
    expect(deviation(y.data, outputOf(model).data)).toBeLessThan(1e-5);
    const expected = oracle(model, target, bias);
    for (const name of Object.keys(model.feeds)) {
      expect(relevance[name]!.dims).toEqual(model.feeds[name]!.dims);
      expect(deviation(relevance[name]!.data, expected.relevance[name]!), `${bias}: ${name}`).toBeLessThan(1e-4);
    }
    expect(all.absorbed!.data.at(-1)).toBeCloseTo(expected.absorbed, 3);
  }
  const { relevance } = await explained(model.bytes, model.feeds, target, gradient);
  for (const name of Object.keys(model.feeds)) {
    const jacobian = differences(
      (value) => outputOf({ ...model, feeds: { ...model.feeds, [name]: value } }),
      model.feeds[name]!,
    );
    expect(deviation(relevance[name]!.data, transposedTimes(jacobian, target.data)), name).toBeLessThan(1e-4);
  }
}

describe('recurrent layers give relevance back through time (Arras et al. 2017)', () => {
  for (const kind of kinds) {
    const op = kind.slice(0, kind === 'LSTM' ? 4 : 3);
    test.each(directions)(`${kind}, %s`, async (direction) => {
      for (const results of ['all', 'last', 'both'] satisfies Results[]) {
        const model = modelOf(kind, direction, results, results.length + kind.length);
        await check(model, signed(seeded(9), model.dims), op);
      }
    });
  }
  test('LSTM with peepholes, in both directions', async () => {
    const model = modelOf('LSTM', 'bidirectional', 'both', 4, true);
    await check(model, signed(seeded(9), model.dims), 'LSTM');
  });
});

test.each(['LSTM', 'GRU', 'RNN'])('%s of which only the last state is used, starting from nothing', async (op) => {
  const count = { LSTM: 4, GRU: 3, RNN: 1 }[op]!;
  const random = seeded(count);
  const shapes = { x: [6, 1, inputs] };
  const bytes = modelWith(shapes, [1, 1, hidden], (graph) => {
    const weights = [
      weight(graph, 'W', signed(random, [1, count * hidden, inputs])),
      weight(graph, 'R', signed(random, [1, count * hidden, hidden])),
      weight(graph, 'B', signed(random, [1, 2 * count * hidden])),
    ];
    return graph.nodes(op, ['x', ...weights], ['', 'Y_h'], { hidden_size: int(hidden) })[1]!;
  });
  const target = dense([1, 2], [1, 1, hidden]);
  const { relevance, all } = await explained(bytes, { x: signed(random, shapes.x) }, target);
  expect(sum(relevance.x!.data) + all.absorbed!.data.at(-1)!).toBeCloseTo(3, 2);
});

test('without biases an LSTM gives back what it was given', async () => {
  const random = seeded(17);
  const shapes = { x: [20, 1, inputs] };
  const bytes = modelWith(shapes, [1, 1, hidden], (graph) => {
    const weights = [
      weight(graph, 'W', signed(random, [1, 4 * hidden, inputs])),
      weight(graph, 'R', signed(random, [1, 4 * hidden, hidden])),
    ];
    return graph.nodes('LSTM', ['x', ...weights], ['', 'Y_h'], { hidden_size: int(hidden) })[1]!;
  });
  const target = dense([1, 2], [1, 1, hidden]);
  const { relevance } = await explained(bytes, { x: signed(random, shapes.x) }, target);
  expect(sum(relevance.x!.data)).toBeCloseTo(3, 2);
});
