import { describe, expect, test } from 'vitest';
import type { GraphBuilder } from '../../../sdk/graph/builder.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { deviation } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { explained, modelWith, weight } from './one-node.js';

const dims = [2, 3, 4];
const composites: readonly Composite[] = [
  { init: 'one', rules: [] },
  { init: 'one', bias: 'ignore', rules: [] },
  { method: 'gradient', init: 'one' },
];

/** Writes a normalisation of `x` over `axes`; exporters differ in how. */
interface Style {
  readonly square: 'Pow' | 'Mul';
  readonly quotient: 'Div' | 'Reciprocal' | 'one over';
  /** whether the difference to the mean is written twice */
  readonly twice?: boolean;
}

const styles: readonly Style[] = [
  { square: 'Pow', quotient: 'Div' },
  { square: 'Pow', quotient: 'Div', twice: true },
  { square: 'Mul', quotient: 'Reciprocal' },
  { square: 'Mul', quotient: 'one over' },
];

function divided(
  graph: GraphBuilder,
  { square, quotient }: Style,
  data: string,
  of: string,
  axes: readonly number[],
): string {
  const squares = square === 'Pow' ? graph.node('Pow', [of, graph.floats([2])]) : graph.node('Mul', [of, of]);
  const variance = graph.node('ReduceMean', [squares, graph.ints(axes)]);
  const sigma = graph.node('Sqrt', [graph.node('Add', [variance, graph.floats([1e-5])])]);
  if (quotient === 'Div') return graph.node('Div', [data, sigma]);
  const inverse =
    quotient === 'Reciprocal' ? graph.node('Reciprocal', [sigma]) : graph.node('Div', [graph.floats([1]), sigma]);
  return graph.node('Mul', [data, inverse]);
}

function layerNorm(graph: GraphBuilder, style: Style, x: string, axes: readonly number[]): string {
  const mean = graph.node('ReduceMean', [x, graph.ints(axes)]);
  const centred = graph.node('Sub', [x, mean]);
  const again = style.twice === true ? graph.node('Sub', [x, mean]) : centred;
  return divided(graph, style, centred, again, axes);
}

const random = seeded(71);
const [gamma, beta] = [signed(random, [4]), signed(random, [4])];
const x = signed(random, dims);
const target = signed(random, dims);
const parameters = (graph: GraphBuilder): [string, string] => [
  weight(graph, 'gamma', gamma),
  weight(graph, 'beta', beta),
];
const operatorsOf = (model: Uint8Array): string[] =>
  compileExplanation(model, { composite: 'attn-lrp' }).report.layers.map(({ operator, rule }) => `${operator} ${rule}`);

async function agree(written: Uint8Array, operator: Uint8Array, within: number): Promise<void> {
  for (const composite of composites) {
    const [found, expected] = [
      await explained(written, { x }, target, composite),
      await explained(operator, { x }, target, composite),
    ];
    expect(deviation(found.y.data, expected.y.data)).toBeLessThan(1e-5);
    expect(deviation(found.relevance.x!.data, expected.relevance.x!.data)).toBeLessThan(within);
  }
}

describe('normalisations written out in small operators', () => {
  test.each(styles)('LayerNorm becomes one node: %o', async (style) => {
    const written = modelWith({ x: dims }, dims, (graph) => {
      const [scale, shift] = parameters(graph);
      const scaled = graph.node('Mul', [scale, layerNorm(graph, style, 'x', [-1])]);
      return graph.node('Add', [scaled, shift]);
    });
    expect(operatorsOf(written)).toEqual(['LayerNormalization pass']);
    const operator = modelWith({ x: dims }, dims, (graph) =>
      graph.node('LayerNormalization', ['x', ...parameters(graph)]),
    );
    await agree(written, operator, 1e-6);
  });
  test('over several axes, without scale and shift', async () => {
    const written = modelWith({ x: dims }, dims, (graph) => layerNorm(graph, styles[0]!, 'x', [2, 1]));
    expect(operatorsOf(written)).toEqual(['LayerNormalization pass']);
  });
  test.each(styles.slice(0, 1).concat(styles.slice(2)))('RMSNorm becomes one node: %o', async (style) => {
    const written = modelWith({ x: dims }, dims, (graph) =>
      graph.node('Mul', [divided(graph, style, 'x', 'x', [2]), parameters(graph)[0]]),
    );
    expect(operatorsOf(written)).toEqual(['SimplifiedLayerNormalization pass']);
    const operator = modelWith(
      { x: dims },
      dims,
      (graph) =>
        graph.node('RMSNormalization', ['x', parameters(graph)[0]], { epsilon: { kind: 'float', value: 1e-5 } }),
      23,
    );
    await agree(written, operator, 1e-5);
  });
  test.each(styles)('over channels in front it stays written out, with the same relevance: %o', async (style) => {
    const written = modelWith({ x: dims }, dims, (graph) => layerNorm(graph, style, 'x', [1]));
    const operator = modelWith({ x: dims }, dims, (graph) => {
      const last = graph.node('Transpose', ['x'], { perm: ints([0, 2, 1]) });
      const normalised = graph.node('LayerNormalization', [last, graph.floats([1, 1, 1])], { axis: int(-1) });
      return graph.node('Transpose', [normalised], { perm: ints([0, 2, 1]) });
    });
    await agree(written, operator, 1e-3);
  });
  test('GroupNorm as exporters write it, by InstanceNormalization, has the relevance of the operator', async () => {
    const map = [2, 4, 3, 2];
    const feeds = { x: signed(seeded(5), map) };
    const goal = signed(seeded(6), map);
    const written = modelWith({ x: map }, map, (graph) => {
      const groups = graph.node('Reshape', ['x', graph.ints([2, 2, -1])]);
      const normalised = graph.node('InstanceNormalization', [groups, graph.floats([1, 1]), graph.floats([0, 0])]);
      const back = graph.node('Reshape', [normalised, graph.ints(map)]);
      const [scale, shift] = parameters(graph).map((name) => graph.node('Reshape', [name, graph.ints([4, 1, 1])]));
      return graph.node('Add', [graph.node('Mul', [back, scale!]), shift!]);
    });
    const operator = modelWith(
      { x: map },
      map,
      (graph) => graph.node('GroupNormalization', ['x', ...parameters(graph)], { num_groups: int(2) }),
      21,
    );
    for (const composite of composites) {
      const [found, expected] = [
        await explained(written, feeds, goal, composite),
        await explained(operator, feeds, goal, composite),
      ];
      expect(deviation(found.y.data, expected.y.data)).toBeLessThan(1e-5);
      expect(deviation(found.relevance.x!.data, expected.relevance.x!.data)).toBeLessThan(1e-3);
    }
  });
});
