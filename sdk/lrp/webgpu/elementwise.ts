import { float, floatAttribute, int, intAttribute } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { type Call, numbersAt, ofFloat, outputDims, type Rewrite, unary } from './kernel.js';

/** ⌊x⌉, halves to the even neighbour as ONNX has it. */
export function rounded(emit: Emitter, x: Value): Value {
  const below = unary(emit, 'Floor', x);
  const rest = emit.sub(x, below);
  const even = emit.mul(unary(emit, 'Ceil', emit.mul(below, emit.scalar(0.5))), emit.scalar(2));
  const middle = emit.scalar(0.5);
  // what is no number minus itself is left as it is
  const between = emit.where(emit.compare('Equal', rest, middle), even, x);
  const upwards = emit.where(emit.compare('Greater', rest, middle), emit.add(below, emit.scalar(1)), between);
  return emit.where(emit.compare('Less', rest, middle), below, upwards);
}

/** x towards zero */
function truncated(emit: Emitter, x: Value): Value {
  return emit.where(emit.compare('Less', x, emit.scalar(0)), unary(emit, 'Ceil', x), unary(emit, 'Floor', x));
}

const sign: Rewrite = ofFloat(({ emit }, x) => {
  const zero = emit.scalar(0);
  const notPositive = emit.where(emit.compare('Less', x, zero), emit.scalar(-1), zero);
  return emit.where(emit.compare('Greater', x, zero), emit.scalar(1), notPositive);
});

/** γ (max(0, x) + min(0, α (eˣ − 1))) = γ · Elu_α(x) */
const selu: Rewrite = ofFloat(({ emit, node }, x) => {
  const elu = emit.op('Elu', [x], x.dims, { alpha: float(floatAttribute(node, 'alpha', 1.6732632423543772)) });
  return emit.mul(elu, emit.scalar(floatAttribute(node, 'gamma', 1.0507009873554805)));
});

/** max(0, x) + min(0, α (e^{x/α} − 1)) = α · Elu(x/α) for α > 0 */
const celu: Rewrite = ofFloat(({ emit, node }, x) => {
  const alpha = floatAttribute(node, 'alpha', 1);
  if (alpha <= 0) return undefined;
  const elu = emit.op('Elu', [emit.mul(x, emit.scalar(1 / alpha))], x.dims, { alpha: float(1) });
  return emit.mul(elu, emit.scalar(alpha));
});

const softsign: Rewrite = ofFloat(({ emit }, x) => emit.div(x, emit.add(unary(emit, 'Abs', x), emit.scalar(1))));

const swish: Rewrite = ofFloat(({ emit, node }, x) => {
  const inner = emit.mul(x, emit.scalar(floatAttribute(node, 'alpha', 1)));
  return emit.mul(x, unary(emit, 'Sigmoid', inner));
});

const shrink: Rewrite = ofFloat(({ emit, node }, x) => {
  const [lambda, bias] = [floatAttribute(node, 'lambd', 0.5), emit.scalar(floatAttribute(node, 'bias', 0))];
  const above = emit.where(emit.compare('Greater', x, emit.scalar(lambda)), emit.sub(x, bias), emit.scalar(0));
  return emit.where(emit.compare('Less', x, emit.scalar(-lambda)), emit.add(x, bias), above);
});

/** a − b·⌊a/b⌋, or with `fmod` the rest towards zero. */
const mod: Rewrite = ofFloat((call, a) => {
  const b = call.inputs[1];
  if (b === undefined) return undefined;
  const { emit } = call;
  const quotient = emit.div(a, b);
  const whole = intAttribute(call.node, 'fmod', 0) === 0 ? unary(emit, 'Floor', quotient) : truncated(emit, quotient);
  return emit.sub(a, emit.mul(b, whole));
});

/** An exponent in another type than the base's has no kernel. */
const pow: Rewrite = ofFloat((call, x) => {
  if (call.inputTypes[1]?.type === 'float32') return undefined;
  const exponent = numbersAt(call, 1);
  if (exponent === undefined) return undefined;
  return call.emit.op('Pow', [x, call.emit.constant(exponent, call.inputs[1]!.dims)], outputDims(call));
});

/** The running sum of all inputs; undefined unless all are float32. */
function total({ emit, inputs, inputTypes }: Call): Value | undefined {
  if (inputTypes.some((type) => type?.type !== 'float32')) return undefined;
  return (inputs as readonly Value[]).reduce((sum, input) => emit.add(sum, input));
}

const sum: Rewrite = ofFloat((call) => total(call));

const mean: Rewrite = ofFloat((call) => {
  const all = total(call);
  return all && call.emit.mul(all, call.emit.scalar(1 / call.inputs.length));
});

const infinite: Rewrite = ofFloat(({ emit, node }, x) => {
  const [up, down] = [intAttribute(node, 'detect_positive', 1), intAttribute(node, 'detect_negative', 1)];
  const largest = emit.scalar(3.4028234663852886e38);
  const positive = (value: Value): Value => emit.compare('Greater', value, largest);
  if (up !== 0 && down !== 0) return positive(unary(emit, 'Abs', x));
  return positive(down !== 0 ? unary(emit, 'Neg', x) : up !== 0 ? x : emit.filled(0, x.dims));
});

const BOOL = int(9);

/** 0 or 1 in float32 for each bool input; undefined where an input is something else. */
function indicators({ emit, inputs, inputTypes }: Call): [Value, Value] | undefined {
  const [a, b] = inputs;
  if (a === undefined || b === undefined || inputTypes.some((type) => type?.type !== 'bool')) return undefined;
  return [emit.indicator(a), emit.indicator(b)];
}

const or: Rewrite = (call) => {
  const both = indicators(call);
  return both && [call.emit.compare('Greater', call.emit.add(...both), call.emit.scalar(0))];
};

const xor: Rewrite = (call) => {
  const both = indicators(call);
  if (both === undefined) return undefined;
  const same = call.emit.compare('Equal', ...both);
  return [unary(call.emit, 'Not', same)];
};

const equal: Rewrite = (call) => {
  const both = indicators(call);
  return both && [call.emit.compare('Equal', ...both)];
};

/** Moves conditions as zeros and ones: most operators that move data know no bool. */
const moved: Rewrite = ({ emit, node, inputs, inputTypes, outputTypes }) => {
  const [output, ...others] = outputTypes;
  if (output?.type !== 'bool' || others.length > 0) return undefined;
  const given = inputs.map((input, index) =>
    input !== undefined && inputTypes[index]?.type === 'bool' ? emit.indicator(input) : input,
  );
  if (given.some((input) => input === undefined)) return undefined;
  const result = emit.op(node.op, given as Value[], output.dims, Object.fromEntries(node.attributes));
  return [emit.op('Cast', [result], output.dims, { to: BOOL })];
};

const MOVES = 'Concat Flatten Gather GatherElements GatherND Pad Slice Squeeze Tile Unsqueeze'.split(' ');

/** Operators that work on one element at a time, and conditions. */
export const elementwiseRewrites: Readonly<Record<string, Rewrite>> = {
  Sign: sign,
  Round: ofFloat(({ emit }, x) => rounded(emit, x)),
  Selu: selu,
  Celu: celu,
  Softsign: softsign,
  Shrink: shrink,
  Swish: swish,
  Mod: mod,
  Pow: pow,
  Sum: sum,
  Mean: mean,
  IsInf: infinite,
  Or: or,
  Xor: xor,
  Equal: equal,
  ...Object.fromEntries(MOVES.map((op) => [op, moved])),
};
