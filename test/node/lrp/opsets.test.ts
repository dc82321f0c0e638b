import { describe, expect, test } from 'vitest';
import { createBuilder, floatTensor, intTensor, modelOf } from '../../../sdk/graph/builder.js';
import { supportedOpsets } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type Attribute, float, int, ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { dense } from '../../reference/dense.js';
import { deviation } from '../../reference/deviation.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';

/** One small network, in the words of every operator set: what was an attribute is an input later. */
function networkIn(opset: number): Uint8Array {
  const graph = createBuilder();
  const random = seeded(12);
  const weights = (...dims: number[]): string =>
    graph.initializer(graph.name('w'), floatTensor(Float32Array.from(signed(random, dims).data), dims));
  const list = (
    op: string,
    x: string,
    since: number,
    name: string,
    values: readonly number[],
    rest: Record<string, Attribute> = {},
  ): string =>
    opset < since
      ? graph.node(op, [x], { ...rest, [name]: ints(values) })
      : graph.node(op, [x, graph.initializer(graph.name(name), intTensor(values))], rest);
  let x = graph.input('x', 'float32', [1, 2, 6, 6]);
  const padded = [0, 0, 1, 1, 0, 0, 0, 0];
  x =
    opset < 11
      ? graph.node('Pad', [x], { pads: ints(padded), value: float(0.5) })
      : graph.node('Pad', [x, graph.ints(padded), graph.floats([0.5], [])]);
  x = graph.node('Relu', [graph.node('Conv', [x, weights(4, 2, 3, 3), weights(4)])]);
  x = graph.node('Dropout', [x]);
  x =
    opset < 11
      ? graph.node('Clip', [x], { min: float(0), max: float(2) })
      : graph.node('Clip', [x, graph.floats([0], []), graph.floats([2], [])]);
  const halves =
    opset < 13
      ? graph.nodes('Split', [x], 2, { axis: int(1), split: ints([1, 3]) })
      : graph.nodes('Split', [x, graph.ints([1, 3])], 2, { axis: int(1) });
  const even = opset < 18 ? {} : { num_outputs: int(3) };
  const [first, , last] = graph.nodes('Split', [halves[1]!], 3, { axis: int(1), ...even });
  x = graph.node('Concat', [halves[0]!, first!, last!], { axis: int(1) });
  const sizes = [1, 1, 2, 2];
  const scales = graph.floats(sizes);
  if (opset < 9) x = graph.node('Upsample', [x], { scales: { kind: 'floats', value: sizes } });
  else if (opset < 10) x = graph.node('Upsample', [x, scales]);
  else if (opset < 11) x = graph.node('Resize', [x, scales]);
  else x = graph.node('Resize', [x, opset < 13 ? graph.floats([0, 0, 0, 0, 1, 1, 1, 1]) : '', scales]);
  x =
    opset < 10
      ? graph.node('Slice', [x], { starts: ints([1]), ends: ints([9]), axes: ints([2]) })
      : graph.node('Slice', [x, graph.ints([1]), graph.ints([9]), graph.ints([2])]);
  const pooled = graph.node('MaxPool', [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  const mean = list('ReduceMean', pooled, 18, 'axes', [2, 3], { keepdims: int(0) });
  const most = list('ReduceMax', pooled, 18, 'axes', [2, 3], { keepdims: int(0) });
  const sum = list('ReduceSum', pooled, 13, 'axes', [2, 3], { keepdims: int(1) });
  const squeezed = list('Squeeze', sum, 13, 'axes', [3]);
  const wide = list('Unsqueeze', graph.node('Flatten', [squeezed], { axis: int(1) }), 13, 'axes', [2]);
  const joined = graph.node('Concat', [mean, most, graph.node('Flatten', [wide], { axis: int(1) })], { axis: int(1) });
  const normalised = graph.node('Softmax', [joined], { axis: int(1) });
  graph.node('Gemm', [normalised, weights(9, 4), weights(4)], {}, { outputs: ['y'] });
  graph.output('y', 'float32', [1, 4]);
  return encodeModel(modelOf(graph.graph, opset, opset < 10 ? 4 : opset < 19 ? 8 : 10));
}

describe('every operator set from 7 to the newest that the runtime loads', () => {
  const x = signed(seeded(3), [1, 2, 6, 6]);
  const target = dense([1, 0, 0, 0], [1, 4]);
  const all = Array.from({ length: supportedOpsets.to - supportedOpsets.from + 1 }, (_, k) => supportedOpsets.from + k);
  test.each(all)('%i', async (opset) => {
    const model = networkIn(opset);
    const original = await runModel(model, { x });
    for (const composite of ['epsilon-alpha2-beta1-flat', 'gradient']) {
      const found = await runModel(compileExplanation(model, { composite }).model, { x, target });
      expect(deviation(found.y!.data, original.y!.data)).toBeLessThan(1e-5);
      const values = found['relevance/x']!.data;
      expect(values.every(Number.isFinite)).toBe(true);
      expect(values.some((value) => value !== 0)).toBe(true);
    }
  });
  test('a set that no runtime has is an error', () => {
    expect(() => compileExplanation(networkIn(27))).toThrow(/version 27/);
  });
});
