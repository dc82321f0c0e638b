import { describe, expect, it } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { type Attribute, int, type Model, type Tensor } from '../../../sdk/graph/graph.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';

type Input = Tensor | 'x' | 'integers' | '';

/** A model of one node over float32 `x` [2, 3] or uint8 `integers` [2, 3]. */
function one(op: string, inputs: readonly Input[], attributes: Record<string, Attribute> = {}, domain = ''): Model {
  const g = createBuilder();
  g.input('x', 'float32', [2, 3]);
  g.input('integers', 'uint8', [2, 3]);
  const names = inputs.map((input) => (typeof input === 'string' ? input : g.initializer(g.name('k'), input)));
  g.node(op, names, attributes, { name: 'layer', domain, outputs: ['y'] });
  g.output('y', 'float32', [2, 3]);
  const model = modelOf(g.graph);
  return { ...model, opsets: new Map([...model.opsets, ['com.microsoft', 1]]) };
}

function failure(model: Model): WhylightError {
  try {
    canonicalize(model);
  } catch (error) {
    if (error instanceof WhylightError) return error;
    throw error;
  }
  throw new Error('the model was taken');
}

const scale = (...values: number[]): Tensor => floatTensor(values, values.length === 1 ? [] : [values.length]);
const zero = (type: 'uint8' | 'int8', count = 1): Tensor =>
  tensorOf(type, count === 1 ? [] : [count], new Float64Array(count));
const matrix = tensorOf('uint8', [3, 4], new Float64Array(12));
const good = [scale(0.1), zero('uint8')];

describe('quantization that cannot be', () => {
  it.each<[string, Model, string, RegExp]>([
    ['a scale of 0', one('QuantizeLinear', ['x', scale(0), zero('uint8')]), 'MODEL_CORRUPT', /is 0; .*above 0/],
    ['a scale of 0', one('DequantizeLinear', ['integers', scale(0), zero('uint8')]), 'MODEL_CORRUPT', /is 0; /],
    ['one scale of 0', one('DequantizeLinear', ['integers', scale(1, 0, 1)]), 'MODEL_CORRUPT', /is 0; /],
    ['a negative scale', one('QuantizeLinear', ['x', scale(-1)]), 'MODEL_CORRUPT', /is -1; /],
    ['a scale that is no number', one('QuantizeLinear', ['x', scale(Number.NaN)]), 'MODEL_CORRUPT', /is NaN; /],
    ['a missing scale', one('QuantizeLinear', ['x']), 'MODEL_CORRUPT', /scale \(input 1\) is missing/],
    ['a left-out scale', one('DequantizeLinear', ['integers', '', zero('uint8')]), 'MODEL_CORRUPT', /is missing/],
    ['an integer scale', one('DequantizeLinear', ['integers', zero('int8')]), 'MODEL_CORRUPT', /int8, not floating/],
    ['too few scales', one('QuantizeLinear', ['x', scale(1, 2)]), 'MODEL_SHAPE', /2 scales .*3 channels/],
    [
      'scales of another axis',
      one('DequantizeLinear', ['integers', scale(1, 2, 3)], { axis: int(0) }),
      'MODEL_SHAPE',
      /3 scales .*2 channels/,
    ],
    ['an axis that is not there', one('QuantizeLinear', ['x', scale(1, 2)], { axis: int(4) }), 'MODEL_SHAPE', /axis 4/],
    ['too many zero points', one('QuantizeLinear', ['x', scale(1), zero('uint8', 3)]), 'MODEL_SHAPE', /3 zero points/],
    [
      'a zero point of another type',
      one('DequantizeLinear', ['integers', scale(1), zero('int8')]),
      'MODEL_CORRUPT',
      /zero point .*int8, but the integers are uint8/,
    ],
    [
      'an integer layer with a scale of 0',
      one('QLinearAdd', ['integers', ...good, 'integers', scale(0), zero('uint8'), ...good], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /is 0; /,
    ],
    [
      'an integer layer with a zero point of another type',
      one('QLinearSigmoid', ['integers', scale(1), zero('int8'), ...good], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /zero point/,
    ],
    [
      'an integer layer without the scale of its output',
      one('QLinearLeakyRelu', ['integers', ...good], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /scale \(input 3\) is missing/,
    ],
    [
      'a QLinearConcat whose second part has a scale of 0',
      one('QLinearConcat', [...good, 'integers', ...good, 'integers', scale(0), zero('uint8')], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /is 0; /,
    ],
    [
      'a QGemm with scales of the wrong length',
      one('QGemm', ['integers', ...good, matrix, scale(1, 2), zero('uint8', 2)], {}, 'com.microsoft'),
      'MODEL_SHAPE',
      /2 scales .*4 channels/,
    ],
    [
      'a QLinearMatMul with a scale of 0',
      one('QLinearMatMul', ['integers', ...good, zero('uint8', 3), scale(0), zero('uint8'), ...good]),
      'MODEL_CORRUPT',
      /is 0; /,
    ],
  ])('%s', (_, model, code, names) => {
    const error = failure(model);
    expect(error.code, error.message).toBe(code);
    expect(error.message).toMatch(names);
    expect(error.message).toContain('"layer"');
  });

  it('one scale, or one per channel of any axis, is taken', () => {
    canonicalize(one('QuantizeLinear', ['x', scale(0.1), zero('int8')]));
    canonicalize(one('QuantizeLinear', ['x', scale(1, 2, 3), zero('int8', 3)]));
    canonicalize(one('DequantizeLinear', ['integers', scale(1, 2), zero('uint8', 2)], { axis: int(-2) }));
  });
});
