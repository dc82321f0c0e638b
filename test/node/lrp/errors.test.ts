import { describe, expect, test } from 'vitest';
import { UnsupportedOperatorError, WhylightError, type WhylightErrorCode } from '../../../sdk/errors.js';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { onnxOf } from '../../reference/network.js';
import { audio } from '../../reference/networks.js';

const model = onnxOf(audio);

function failure(bytes: Uint8Array, options: CompileOptions): WhylightError {
  try {
    compileExplanation(bytes, options);
  } catch (error) {
    if (error instanceof WhylightError) return error;
    throw error;
  }
  throw new Error('it compiled');
}

/** A value as a file or a form may hold it, whatever the types say. */
const untyped = (composite: unknown): Composite => composite as Composite;

function single(op: string, domain = ''): Uint8Array {
  const graph = createBuilder();
  graph.input('x', 'float32', [1, 4]);
  graph.node(op, ['x'], {}, { name: 'the_node', outputs: ['y'], domain });
  graph.output('y', 'float32', [1, 4]);
  return encodeModel(modelOf(graph.graph));
}

describe('an operator without a rule', () => {
  test('is named with its node', () => {
    const error = failure(single('Det'), {});
    expect(error).toBeInstanceOf(UnsupportedOperatorError);
    expect(error.code).toBe('UNSUPPORTED_OPERATOR');
    expect(error.details).toMatchObject({ node: 'the_node', operator: 'Det' });
    expect(error.message).toContain('the_node');
    expect(error.message).toContain('Det');
  });
  test('of an unknown domain is named with its domain', () => {
    const error = failure(single('Fancy', 'com.example'), {});
    expect(error).toBeInstanceOf(UnsupportedOperatorError);
    expect(error.details).toMatchObject({ node: 'the_node', operator: 'Fancy', domain: 'com.example' });
  });
});

const rule = (entry: object): Composite => untyped({ rules: [{ match: {}, ...entry }] });
const match = (fields: unknown): Composite => untyped({ rules: [{ match: fields, rule: 'epsilon' }] });

/** What is wrong, the composite that has it, and the word that the message has to contain. */
const composites: readonly (readonly [what: string, composite: Composite, names: string])[] = [
  ['an unknown preset', 'epsilon-minus', 'epsilon-minus'],
  ['an unknown method', untyped({ method: 'guesswork' }), 'guesswork'],
  ['an unknown rule', rule({ rule: 'delta' }), 'delta'],
  ['a missing rule', rule({}), 'rule'],
  ['α + β ≠ 1', rule({ rule: 'alpha-beta', alpha: 2, beta: 1 }), 'α'],
  ['ε < 0', rule({ rule: 'epsilon', epsilon: -0.1 }), 'epsilon'],
  ['ε that is no number', rule({ rule: 'epsilon', epsilon: '0.1' }), 'epsilon'],
  ['ε that is NaN', rule({ rule: 'epsilon', epsilon: Number.NaN }), 'epsilon'],
  ['γ < 0', rule({ rule: 'gamma', gamma: -1 }), 'gamma'],
  ['z-box without its range', rule({ rule: 'z-box' }), 'low'],
  ['z-box with low > high', rule({ rule: 'z-box', low: 1, high: -1 }), 'low'],
  ['z-box with low > high in one channel', rule({ rule: 'z-box', low: [-1, 2], high: [1, 1] }), 'low'],
  ['a negative stabilizer', untyped({ stabilizer: -1, rules: [] }), 'stabilizer'],
  ['an unknown bias policy', untyped({ bias: 'forget', rules: [] }), 'bias'],
  ['an unknown tie policy', untyped({ ties: 'last', rules: [] }), 'ties'],
  ['an unknown init', untyped({ init: 'two', rules: [] }), 'init'],
  ['an infinite γ', rule({ rule: 'gamma', gamma: Number.POSITIVE_INFINITY }), 'gamma'],
  ['an unknown field', untyped({ rules: [], stabiliser: 1 }), 'stabiliser'],
  ['an unknown field of an entry', rule({ rule: 'epsilon', eps: 1 }), 'eps'],
  ['a depth below zero', untyped({ rules: [], flatBelow: -1 }), 'flatBelow'],
  ['an unknown layer to end at', untyped({ rules: [], flatBelow: 'nothing' }), 'nothing'],
  ['rules that are no list', untyped({ rules: {} }), 'rules'],
  ['neither rules nor a method', untyped({}), 'rules'],
  ['no object at all', untyped(7), 'composite'],
  ['an entry without a match', untyped({ rules: [{ rule: 'epsilon' }] }), 'match'],
  ['match that is no object', match('Conv'), 'match'],
  ['match.op of the wrong type', match({ op: 3 }), 'op'],
  ['match.op with a wrong element', match({ op: ['Conv', 3] }), 'op'],
  ['match.name of the wrong type', match({ name: true }), 'name'],
  ['match.first of the wrong type', match({ first: 'yes' }), 'first'],
  ['match.last of the wrong type', match({ last: 1 }), 'last'],
  ['match.depth that is no pair', match({ depth: [1] }), 'depth'],
  ['match.depth of the wrong type', match({ depth: 'all' }), 'depth'],
  ['an unknown field of match', match({ operator: 'Conv' }), 'operator'],
  ['a rule for pooling on a convolution', untyped({ rules: [{ match: { op: 'Conv' }, rule: 'guided' }] }), 'guided'],
];

describe('a bad composite is COMPOSITE_INVALID and names the field', () => {
  test.each(composites)('%s', (_, composite, names) => {
    const error = failure(model, { composite });
    expect(error.code).toBe('COMPOSITE_INVALID');
    expect(error.message).toContain(names);
  });
});

const options: readonly (readonly [what: string, options: CompileOptions, code: WhylightErrorCode, names: string])[] = [
  ['an unknown output', { output: 'nothing' }, 'OPTION_INVALID', 'nothing'],
  ['an unknown tap', { taps: ['nothing'] }, 'OPTION_INVALID', 'nothing'],
  ['an unknown input with a shape', { inputShapes: { nothing: [1] } }, 'OPTION_INVALID', 'nothing'],
  ['a shape of the wrong rank', { inputShapes: { x: [2, 64] } }, 'MODEL_SHAPE', 'x'],
  ['a shape against the file', { inputShapes: { x: [2, 3, 64] } }, 'MODEL_SHAPE', 'x'],
  ['a shape that is no count', { inputShapes: { x: [2, 1, -64] } }, 'MODEL_SHAPE', 'x'],
  ['an unknown lowering target', { target: 'tpu' as never }, 'OPTION_INVALID', 'tpu'],
  ['an unknown seed', { seed: 'both' as never }, 'OPTION_INVALID', 'both'],
  ['a range upside down', { inputRanges: { x: [1, 0] } }, 'OPTION_INVALID', 'x'],
  ['a range of an unknown input', { inputRanges: { nothing: [0, 1] } }, 'OPTION_INVALID', 'nothing'],
];

describe('a bad option has its own code and names the field', () => {
  test.each(options)('%s', (_, compileOptions, code, names) => {
    const error = failure(model, compileOptions);
    expect(error.code).toBe(code);
    expect(error.message).toContain(names);
  });
  test('z-box with another number of channels than the layer has', () => {
    const composite: Composite = { rules: [{ match: { first: true }, rule: 'z-box', low: [-1, -1], high: [1, 1] }] };
    const error = failure(model, { composite });
    expect(error.code).toBe('COMPOSITE_INVALID');
    expect(error.message).toContain('frames');
  });
});

describe('a bad file', () => {
  test('of no bytes is MODEL_CORRUPT', () => expect(failure(new Uint8Array(), {}).code).toBe('MODEL_CORRUPT'));
  test('of something else is MODEL_CORRUPT', () => {
    expect(failure(new TextEncoder().encode('<!doctype html><title>404</title>'), {}).code).toBe('MODEL_CORRUPT');
  });
  test('cut off in the middle is MODEL_CORRUPT', () => {
    expect(failure(model.subarray(0, model.length / 2), {}).code).toBe('MODEL_CORRUPT');
  });
});
