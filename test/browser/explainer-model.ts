import { createBuilder, floatTensor, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { ints } from '../../sdk/graph/graph.js';
import { seeded } from '../reference/random.js';

/** Side of the picture that the small model takes, in pixels. */
export const side = 32;

/** Two convolutions, a pooling and a linear layer with seeded weights: [1, 3, 32, 32] → five logits, or their Softmax, or logits times an input `gain`. */
export function smallModel(options: { readonly softmax?: boolean; readonly gain?: boolean } = {}): Uint8Array {
  const random = seeded(7);
  const graph = createBuilder();
  const weights = (name: string, dims: readonly number[], scale: number) => {
    const count = dims.reduce((a, b) => a * b, 1);
    return graph.initializer(
      name,
      floatTensor(
        Float32Array.from({ length: count }, () => (2 * random() - 1) * scale),
        dims,
      ),
    );
  };
  const pads = { pads: ints([1, 1, 1, 1]) };
  graph.input('picture', 'float32', ['batch', 3, side, side]);
  const first = graph.node('Conv', ['picture', weights('w1', [8, 3, 3, 3], 0.5), weights('b1', [8], 0.1)], pads);
  const pooled = graph.node('MaxPool', [graph.node('Relu', [first])], {
    kernel_shape: ints([2, 2]),
    strides: ints([2, 2]),
  });
  const second = graph.node('Conv', [pooled, weights('w2', [8, 8, 3, 3], 0.3), weights('b2', [8], 0.1)], pads);
  const mean = graph.node('GlobalAveragePool', [graph.node('Relu', [second])]);
  const flat = graph.node('Flatten', [mean]);
  const scores = [flat, weights('w3', [8, 5], 1), weights('b3', [5], 0.1)];
  const named = { outputs: ['logits'] };
  const logits =
    options.gain === true
      ? graph.node('Mul', [graph.node('Gemm', scores), graph.input('gain', 'float32', [1])], {}, named)
      : graph.node('Gemm', scores, {}, named);
  if (options.softmax === true) {
    graph.node('Softmax', [logits], {}, { outputs: ['probabilities'] });
    graph.output('probabilities', 'float32', ['batch', 5]);
  } else {
    graph.output('logits', 'float32', ['batch', 5]);
  }
  return encodeModel(modelOf(graph.graph, 17));
}
