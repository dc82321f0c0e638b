import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { Model } from '../../../sdk/graph/graph.js';
import { int, ints, subgraph, text } from '../../../sdk/graph/graph.js';
import { staticTypeOf } from '../../../sdk/graph/shapes.js';
import { seeded } from '../../reference/random.js';
import { bn, conv, image, type Merge, merges, modelFrom, older, operators, type Sketch } from './forms.js';
import { difference, randomTensor, runModel } from './runtime.js';

describe('canonical form', () => {
  for (const test of [...merges, ...older]) {
    it(`${test.name}${test.opset === undefined ? '' : ` (opset ${test.opset})`}: ${test.gives}`, async () => {
      // through a file, so that Constant nodes are read as decodeModel reads them
      const model = modelThroughFile(test);
      const { model: canonical, notes } = canonicalize(model);
      expect(operators(canonical.graph), notes.join(' ')).toBe(test.gives);
      expect(canonical.opsets.get('')).toBe(17);
      expect(canonical.graph.outputs.map((output) => output.name)).toEqual(
        model.graph.outputs.map((output) => output.name),
      );
      const x = randomTensor(staticTypeOf(canonical.graph, 'x'), seeded(5));
      const expected = await runModel(model, { x });
      const found = await runModel(canonical, { x });
      for (const [name, value] of expected) expect(difference(found.get(name), value)).toBeLessThan(1e-5);
    });
  }

  it('notes every merge', () => {
    const { notes } = canonicalize(modelFrom((g) => bn(g, conv(g, 'x'), 6)));
    expect(notes).toEqual(['BatchNormalization "batchnormalization" was merged into the weights of Conv "conv".']);
  });

  it('keeps weights that are not merged as the same bytes', () => {
    const model = modelFrom((g) => conv(g, 'x'));
    const { model: canonical } = canonicalize(model);
    const [weight] = [...canonical.graph.initializers.values()];
    expect([...model.graph.initializers.values()].some((value) => value.bytes === weight!.bytes)).toBe(true);
  });

  it('upgrades what is inside the branches of an If that depends on data', async () => {
    const model = modelFrom(
      (g) => {
        const branch = (op: string) => {
          const inside = createBuilder(undefined, `${op}_`);
          const squeezed = inside.node('Squeeze', ['x'], { axes: ints([0]) });
          const result = inside.node(op, [inside.node('Unsqueeze', [squeezed], { axes: ints([0]) })]);
          inside.output(result, 'float32', [1, 3, 2]);
          return subgraph(inside.graph);
        };
        const most = g.node('ReduceMax', ['x'], { keepdims: int(0) });
        const condition = g.node('Greater', [most, g.floats([0.2])]);
        return g.node('If', [condition], { then_branch: branch('Relu'), else_branch: branch('Neg') });
      },
      11,
      [1, 3, 2],
    );
    const { model: canonical } = canonicalize(model);
    expect(operators(canonical.graph)).toBe('ReduceMax Greater If');
    for (const seed of [1, 2, 3]) {
      const x = randomTensor(staticTypeOf(canonical.graph, 'x'), seeded(seed), 0.3);
      const [[, expected] = []] = await runModel(model, { x });
      const [[, found] = []] = await runModel(canonical, { x });
      expect(difference(found, expected!)).toBe(0);
    }
  });

  it('keeps outputs that are constants, inputs, or the same tensor twice', async () => {
    const builder = createBuilder();
    builder.input('x', 'float32', ['batch', 3]);
    const shape = builder.node('Shape', ['x'], {}, { outputs: ['shape'] });
    const relu = builder.node('Relu', ['x']);
    for (const name of ['once', 'twice']) {
      builder.output(builder.node('Identity', [relu], {}, { outputs: [name] }), 'float32', ['batch', 3]);
    }
    builder.output(builder.node('Identity', ['x'], {}, { outputs: ['same'] }), 'float32', ['batch', 3]);
    builder.output(shape, 'int64', [2]);
    const model = modelOf(builder.graph);
    const { model: canonical } = canonicalize(model);
    const x = floatTensor([1, -2, 3], [1, 3]);
    const expected = await runModel(model, { x });
    const found = await runModel(canonical, { x });
    expect([...found.keys()]).toEqual(['once', 'twice', 'same', 'shape']);
    for (const [name, value] of expected) expect(difference(found.get(name), value)).toBe(0);
  });

  it('keeps a newer dialect', () => {
    const { model } = canonicalize(modelFrom((g) => g.node('Gelu', ['x']), 20));
    expect(model.opsets.get('')).toBe(20);
  });

  it('refuses layers in training mode', () => {
    const training = modelFrom((g) => bn(g, 'x', 4, { training_mode: int(1) }));
    expect(() => canonicalize(training)).toThrow(/BatchNormalization.*training/);
    const old = modelFrom((g) => bn(g, 'x', 4, { spatial: int(0) }), 7);
    expect(() => canonicalize(old)).toThrow(/spatial=0/);
    const mask = modelFrom((g) => {
      const [, y] = g.nodes('Dropout', ['x'], 2);
      return g.node('Cast', [y!], { to: int(1) });
    });
    expect(() => canonicalize(mask)).toThrow(/Dropout.*training only/);
  });

  it('agrees with ONNX Runtime on random towers of layers', { timeout: 60_000 }, async () => {
    for (let seed = 0; seed < 25; seed++) {
      const model = modelFrom((g) => tower(g, seeded(seed)), 13);
      const { model: canonical, notes } = canonicalize(model);
      const x = randomTensor(staticTypeOf(canonical.graph, 'x'), seeded(seed));
      const [expected] = (await runModel(model, { x })).values();
      const [found] = (await runModel(canonical, { x })).values();
      expect(difference(found, expected!), `seed ${seed}: ${notes.join(' ')}`).toBeLessThan(1e-5);
    }
  });
});

function modelThroughFile(test: Merge): Model {
  return decodeModel(encodeModel(modelFrom(test.build, test.opset ?? 17, test.dims ?? image)));
}

/** Six random layers over [2, 4, …]: convolutions with every kind of padding, BatchNorm, constants, Pads, branches. */
function tower(g: Sketch, random: () => number): string {
  let x = 'x';
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const layers: readonly (() => string)[] = [
    () => g.node('Conv', [x, g.weight(4, 2, 3, 3), g.weight(4)], { group: int(2), pads: ints([1, 1, 1, 1]) }),
    () => g.node('Conv', [x, g.weight(4, 4, 2, 2)], { auto_pad: text(pick(['SAME_UPPER', 'SAME_LOWER'])) }),
    () => g.node('Conv', [x, g.weight(4, 4, 1, 1)]),
    () => g.node('ConvTranspose', [x, g.weight(4, 2, 3, 3)], { group: int(2), pads: ints([1, 1, 1, 1]) }),
    () => bn(g, x, 4),
    () => bn(g, x, 4),
    () => g.node(pick(['Add', 'Mul', 'Sub']), [x, g.weight(4, 1, 1)]),
    () => g.node('Add', [g.weight(1, 4, 1, 1), x]),
    () => g.node('Pad', [x, g.ints([0, 0, 1, 0, 0, 0, 0, 1])]),
    () => g.node('Relu', [x]),
    () => g.node('Add', [x, g.node('Identity', [bn(g, x, 4)])]),
  ];
  for (let depth = 0; depth < 6; depth++) x = pick(layers)();
  return x;
}
