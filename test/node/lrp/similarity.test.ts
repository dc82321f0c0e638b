import { describe, expect, test } from 'vitest';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { filled } from '../../reference/dense.js';
import { seeded, signed } from '../../reference/random.js';
import { runModel } from '../../reference/run.js';

describe('similarity of two inputs', () => {
  /** cos(f(a), f(b)) with one network f, as exporters write it, or by LpNormalization. */
  const siamese = (isWritten: boolean): Uint8Array => {
    const graph = createBuilder();
    const random = seeded(9);
    const [w, v] = [
      graph.initializer('w', floatTensor(Float32Array.from(signed(random, [6, 12]).data), [6, 12])),
      graph.initializer('v', floatTensor(Float32Array.from(signed(random, [12, 3]).data), [12, 3])),
    ];
    const embedded = (name: string): string => {
      graph.input(name, 'float32', [1, 6]);
      return graph.node('MatMul', [graph.node('Relu', [graph.node('MatMul', [name, w])]), v]);
    };
    const both = ['a', 'b'].map(embedded);
    const axes = graph.ints([1]);
    const unit = isWritten ? both : both.map((one) => graph.node('LpNormalization', [one], { axis: int(1) }));
    const product = graph.node('ReduceSum', [graph.node('Mul', unit), axes], { keepdims: int(0) });
    const norms = both.map((one) => graph.node('ReduceL2', [one], { axes: ints([1]), keepdims: int(0) }));
    const bounded = (): string => graph.node('Clip', [graph.node('Mul', norms), graph.floats([1e-8], [])]);
    const cosine = isWritten ? graph.node('Div', [product, bounded()]) : product;
    graph.output(graph.node('Identity', [cosine], {}, { outputs: ['cosine'] }), 'float32', [1]);
    return encodeModel(modelOf(graph.graph, 17));
  };
  test.each([true, false])('is explained in both of them, half for each (written out: %s)', async (isWritten) => {
    const random = seeded(4);
    const [a, b] = [signed(random, [1, 6]), signed(random, [1, 6])];
    const { model } = compileExplanation(siamese(isWritten), { composite: 'epsilon' });
    const found = await runModel(model, { a, b, target: filled([1], 1) });
    const total = (name: string): number => found[`relevance/${name}`]!.data.reduce((sum, value) => sum + value, 0);
    const cosine = found.cosine!.data[0]!;
    expect(Math.abs(cosine)).toBeLessThan(1);
    // what the ε of the layers takes is at none of them
    expect(total('a') / (cosine / 2)).toBeCloseTo(1, 0);
    expect(total('b') / (cosine / 2)).toBeCloseTo(1, 0);
  });
});
