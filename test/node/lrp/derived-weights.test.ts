import { describe, expect, test } from 'vitest';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { filled } from '../../reference/dense.js';
import type { Layer, Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { residual, smallNetworks } from '../../reference/networks.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';

const compiled = (name: string, options: CompileOptions) => {
  const { model, report } = compileExplanation(onnxOf(smallNetworks[name]!), options);
  return { model, report, graph: decodeModel(model).graph };
};

describe('derived weights, computed at session start or stored', () => {
  test.each(
    Object.keys(smallNetworks).flatMap((name) =>
      ['epsilon-alpha2-beta1', 'epsilon-gamma-box'].map((composite) => [name, composite] as const),
    ),
  )('%s, %s: the same relevance bit for bit, with fewer nodes', async (name, composite) => {
    const options: CompileOptions = { composite, inputRanges: { x: [-1, 1] }, audit: true };
    const [derive, store] = [compiled(name, options), compiled(name, { ...options, derivedWeights: 'store' })];
    expect(store.graph.nodes.length).toBeLessThan(derive.graph.nodes.length);
    const input = derive.report.inputs[0]!;
    const feeds = { x: signed(seeded(1), input.shape), target: filled(derive.report.explained.shape, 1) };
    const [derived, stored] = [await runModel(derive.model, feeds), await runModel(store.model, feeds)];
    expect(Object.keys(stored)).toEqual(Object.keys(derived));
    for (const [output, { data }] of Object.entries(derived)) {
      const differing = data.reduce((count, value, k) => count + (value === stored[output]!.data[k] ? 0 : 1), 0);
      expect(differing, output).toBe(0);
    }
  });

  test('every weight is in the file once, or as often as the rules make another of it', () => {
    const channels = 48;
    const wide: Network = {
      inputs: [{ name: 'x', dims: [1, channels, 6, 6] }],
      layers: [
        ...['a', 'b'].map(
          (name, k): Layer => ({
            name,
            inputs: [['x', 'a'][k]!],
            op: 'Conv',
            weight: signed(seeded(k), [channels, channels, 3, 3]),
          }),
        ),
        { name: 'logits', inputs: ['b'], op: 'Flatten', axis: 1 },
      ],
      logits: 'logits',
    };
    const size = (composite: string, derivedWeights: 'derive' | 'store'): number =>
      compileExplanation(onnxOf(wide), { composite, derivedWeights }).model.length;
    const weights = 2 * 4 * channels ** 2 * 9;
    for (const composite of ['epsilon', 'epsilon-plus', 'epsilon-alpha2-beta1']) {
      expect(size(composite, 'derive')).toBeLessThan(1.1 * weights);
    }
    // ε needs the kernels turned; z⁺, for inputs of both signs, w⁺ and w⁻ and both of them turned; so does α, β
    expect(size('epsilon', 'store') / weights).toBeCloseTo(2, 1);
    expect(size('epsilon-plus', 'store') / weights).toBeCloseTo(5, 1);
    expect(size('epsilon-alpha2-beta1', 'store') / weights).toBeCloseTo(5, 1);
  });

  test('a gated graph shares them, and says in its notes what was stored', async () => {
    const options: CompileOptions = { composite: 'epsilon-plus', gated: true, derivedWeights: 'store' };
    const { model, report } = compiled('residual', options);
    expect(report.notes.some((note) => /Derived weights were stored in place of \d+ nodes/.test(note))).toBe(true);
    const feeds = {
      x: signed(seeded(1), report.inputs[0]!.shape),
      target: filled(report.explained.shape, 1),
      explain: { dims: [], data: [true] },
    };
    const derived = compileExplanation(onnxOf(residual), { ...options, derivedWeights: 'derive' });
    const [a, b] = [await runModel(model, feeds), await runModel(derived.model, feeds)];
    expect([...a['relevance/x']!.data]).toEqual([...b['relevance/x']!.data]);
  });

  test('another word is refused', () => {
    expect(() => compiled('residual', { derivedWeights: 'cache' as never })).toThrow(/derivedWeights/);
  });
});
