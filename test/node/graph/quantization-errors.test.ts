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

/** A DequantizeLinear in blocks along axis 1 whose scales have the given shape. */
const blocked = (dims: readonly number[], block: number): Model =>
  one('DequantizeLinear', ['integers', floatTensor(new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(1), dims)], {
    block_size: int(block),
  });

/** A MatMulNBits of 4 × 32 in 4 bits, over the first of its inputs that has 32 columns. */
function nBits(attributes: Record<string, Attribute>, more: readonly Input[] = [], scales = [1, 1, 1, 1]): Model {
  const bytes = tensorOf('uint8', [4, 1, 16], new Float64Array(64));
  const given = { K: int(32), N: int(4), bits: int(4), block_size: int(32), ...attributes };
  return one(
    'MatMulNBits',
    [floatTensor(new Float32Array(64), [2, 32]), bytes, scale(...scales), ...more],
    given,
    'com.microsoft',
  );
}

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
    [
      'layers on uint8 beside int8',
      one('QLinearAdd', ['integers', ...good, zero('int8', 3), scale(1), zero('int8'), ...good], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /uint8 and int8; they must be of one type/,
    ],
    [
      'a QLinearConcat of uint8 and int8',
      one(
        'QLinearConcat',
        [...good, 'integers', ...good, zero('int8', 3), scale(1), zero('int8')],
        {},
        'com.microsoft',
      ),
      'MODEL_CORRUPT',
      /uint8 and int8/,
    ],
    [
      'a QGemm with a bias of float32',
      one('QGemm', ['integers', ...good, matrix, ...good, scale(1, 2, 3, 4)], {}, 'com.microsoft'),
      'MODEL_CORRUPT',
      /bias .*float32, not int32/,
    ],
    [
      'a QGemm with a bias of the wrong length',
      one(
        'QGemm',
        ['integers', ...good, matrix, ...good, tensorOf('int32', [3], new Float64Array(3))],
        {},
        'com.microsoft',
      ),
      'MODEL_SHAPE',
      /bias .*3 elements for 4 channels/,
    ],
    [
      'a zero point beside int32',
      one('DequantizeLinear', [tensorOf('int32', [3], [1, 2, 3]), scale(1), tensorOf('int32', [], [7])]),
      'MODEL_CORRUPT',
      /zero point .*is not 0, out of the range/,
    ],
    [
      'quantization to no integer type',
      one('QuantizeLinear', ['x', scale(1), scale(0)]),
      'MODEL_CORRUPT',
      /float32 is no type of quantized values/,
    ],
    [
      'an output of another type than its zero point',
      one('QuantizeLinear', ['x', scale(1), zero('uint8')], { output_dtype: int(3) }),
      'MODEL_SHAPE',
      /said to be int8, but its zero point is uint8/,
    ],
    ['blocks of less than nothing', blocked([2, 2], -2), 'MODEL_CORRUPT', /block_size is -2/],
    ['blocks that do not divide', blocked([2, 1], 2), 'MODEL_SHAPE', /blocks of 2 along axis 1 takes \[2, 2\]/],
    ['scales of blocks of another rank', blocked([2], 3), 'MODEL_SHAPE', /takes \[2, 1\]/],
    [
      'zero points of blocks of another shape',
      one('DequantizeLinear', ['integers', floatTensor([1, 2, 3, 4], [2, 2]), zero('uint8', 4)], {
        block_size: int(2),
      }),
      'MODEL_SHAPE',
      /takes \[2, 2\]/,
    ],
    ['weights of 3 bits', nBits({ bits: int(3) }), 'MODEL_CORRUPT', /3 bits; 4 and 8 are known/],
    ['a block_size of 24', nBits({ block_size: int(24) }), 'MODEL_CORRUPT', /block_size is 24; .*power of 2/],
    ['too few bytes of weights', nBits({ N: int(5) }), 'MODEL_SHAPE', /64 bytes of weights where 5 × 1 blocks/],
    ['another K than the input has', nBits({ K: int(8) }), 'MODEL_SHAPE', /"K" is 8/],
    [
      'zero points out of range',
      nBits({}, [floatTensor([0, 16, 3, 4], [4])]),
      'MODEL_CORRUPT',
      /zero point .*outside of 0 to 15/,
    ],
    ['a scale that is not finite', nBits({}, [], [Number.NaN, 1, 1, 1]), 'MODEL_CORRUPT', /scale .*is not finite/],
    [
      'columns in another order',
      nBits({}, ['', tensorOf('int32', [32], new Float64Array(32))]),
      'UNSUPPORTED_OPERATOR',
      /reordered/,
    ],
    [
      'a DynamicQuantizeMatMul with scales of the wrong length',
      one('DynamicQuantizeMatMul', ['x', matrix, scale(1, 2)], {}, 'com.microsoft'),
      'MODEL_SHAPE',
      /2 scales .*4 channels/,
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
