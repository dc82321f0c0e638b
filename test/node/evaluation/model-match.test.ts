import { describe, expect, it } from 'vitest';
import { matchModels } from '../../../sdk/evaluation/model-match.js';
import { createBuilder, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type DataType, ints, sizeOf } from '../../../sdk/graph/graph.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompileReport } from '../../../sdk/lrp/report.js';

type Layer = (g: GraphBuilder, x: string, dims: readonly number[], output: string) => string;

const constant = (g: GraphBuilder, type: DataType, dims: readonly number[], value: number): string =>
  g.initializer(g.name('k'), tensorOf(type, dims, new Float64Array(sizeOf(dims)).fill(value)));

/** A convolution in float32. */
const conv: Layer = (g, x, dims, output) =>
  g.node('Conv', [x, constant(g, 'float32', dims, 0.1)], { kernel_shape: ints([3, 3]) }, { outputs: [output] });

/** The same with weights and inputs that were quantized. */
const quantizedConv: Layer = (g, x, dims, output) => {
  const [scale, zero] = [g.floats([0.02]), constant(g, 'uint8', [], 0)];
  const input = g.node('DequantizeLinear', [g.node('QuantizeLinear', [x, scale, zero]), scale, zero]);
  const weight = g.node('DequantizeLinear', [constant(g, 'int8', dims, 5), scale, constant(g, 'int8', [], 0)]);
  return g.node('Conv', [input, weight], { kernel_shape: ints([3, 3]) }, { outputs: [output] });
};

interface Network {
  readonly layer?: Layer;
  /** what the layers' outputs are called */
  readonly names?: readonly string[];
  /** channels of the layers */
  readonly channels?: readonly number[];
  readonly input?: string;
  readonly side?: number;
  readonly classes?: number;
}

function reportOf(network: Network = {}): CompileReport {
  const { layer = conv, names = ['first', 'second', 'third'], input = 'image', side = 16, classes = 4 } = network;
  const { channels = [3, 3, 3] } = network;
  const g = createBuilder();
  g.input(input, 'float32', [1, 2, side, side]);
  let x = input;
  let into = 2;
  for (const [place, name] of names.entries()) {
    x = g.node('Relu', [layer(g, x, [channels[place]!, into, 3, 3], name)]);
    into = channels[place]!;
  }
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [x])]);
  g.node('Gemm', [pooled, constant(g, 'float32', [into, classes], 0.1)], {}, { outputs: ['logits'] });
  g.output('logits', 'float32', [1, classes]);
  return compileExplanation(encodeModel(modelOf(g.graph))).report;
}

const layersOf = (reference: Network, compared: Network) => {
  const { layers, unmatched } = matchModels(reportOf(reference), reportOf(compared));
  return {
    layers: layers.map((match) => `${match.reference}=${match.compared} by ${match.matchedBy}`),
    unmatched,
  };
};
const nothing = { reference: [], compared: [] };

describe('layers with weights', () => {
  it('are the same ones where they have the same name, also behind quantization; the logits are none', () => {
    expect(layersOf({}, { layer: quantizedConv })).toEqual({
      layers: ['first=first by name', 'second=second by name', 'third=third by name'],
      unmatched: nothing,
    });
  });

  it('are not left over where their name has gone to their quantized output', () => {
    const quantizedOutput: Layer = (g, x, dims, output) => {
      const [scale, zero] = [g.floats([0.02]), constant(g, 'uint8', [], 0)];
      const y = conv(g, x, dims, `${output}/float`);
      return g.node(
        'DequantizeLinear',
        [g.node('QuantizeLinear', [y, scale, zero]), scale, zero],
        {},
        { outputs: [output] },
      );
    };
    expect(layersOf({}, { layer: quantizedOutput })).toEqual({
      layers: ['first=first by name', 'second=second by name', 'third=third by name'],
      unmatched: nothing,
    });
  });

  it('are otherwise matched by their place among those that are left', () => {
    expect(layersOf({}, { layer: quantizedConv, names: ['left', 'second', 'right'] })).toEqual({
      layers: ['first=left by position', 'second=second by name', 'third=right by position'],
      unmatched: nothing,
    });
  });

  it('have no counterpart of another shape, or where there are more of them', () => {
    expect(layersOf({}, { names: ['left', 'second', 'right'], channels: [5, 3, 3] })).toEqual({
      layers: ['second=second by name', 'third=right by position'],
      unmatched: { reference: ['first'], compared: ['left'] },
    });
    expect(layersOf({ names: ['a', 'b', 'c'] }, { names: ['d', 'e'] })).toEqual({
      layers: [],
      unmatched: { reference: ['a', 'b', 'c'], compared: ['d', 'e'] },
    });
  });
});

it('takes the only inputs for the same one, whatever they are called', () => {
  const [input] = matchModels(reportOf(), reportOf({ input: 'pixels' })).inputs;
  expect(input).toEqual({ reference: 'image', compared: 'pixels', matchedBy: 'position', shape: [1, 2, 16, 16] });
});

it.each([
  ['inputs of another size', { side: 20 }, 'inputs', /"image" of \[1, 2, 16, 16\].*\[1, 2, 20, 20\]/],
  ['outputs of another size', { classes: 5 }, 'output', /\[1, 4\].*\[1, 5\]/],
] as const)('refuses %s', (_, network, field, sentence) => {
  expect(() => matchModels(reportOf(), reportOf(network))).toThrow(
    expect.objectContaining({
      code: 'MODELS_DIFFER',
      message: expect.stringMatching(sentence),
      details: expect.objectContaining({ field }),
    }),
  );
});
