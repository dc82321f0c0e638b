import { constantTensor } from './constant.js';
import type { StaticType, Tensor } from './graph.js';
import { intAttribute, sizeOf } from './graph.js';
import { axisOf, type Call, misfit, need } from './shapes/call.js';
import { shapeSlice } from './shapes/indexing.js';
import { paddingOf, permutationOf, slicesOf } from './shapes/movement.js';
import { reducedAxes } from './shapes/reduction.js';
import { broadcastStrides, isNumeric, numbersOf, positionsOf, stridesOf, takeElements, tensorOf } from './tensors.js';

/** How much folding may compute; `remaining` counts down over a whole model, so that no file can make it fill the memory. */
export interface FoldBudget {
  /** Most elements of a tensor that is folded. */
  readonly largest: number;
  /** Most elements of a tensor that is made from less than it holds (ConstantOfShape, Expand, Tile, Range). */
  readonly largestFromNothing: number;
  /** Elements that may still be made. */
  remaining: number;
}

/** A constant that a file only describes may hold so many elements, wherever it is computed: beyond it the file is an attack. */
const LARGEST_FROM_NOTHING = 2 ** 28;

type FoldRule = (call: Call, output: StaticType, inputs: readonly Tensor[]) => Tensor;

/**
 * The outputs of a node whose inputs are all constant (or which, as Shape, reads only a static shape), computed now.
 * `undefined` where the node has to stay: not constant, not in the table, or too large for the budget.
 */
export function foldNode(
  call: Call,
  outputs: readonly StaticType[],
  budget: FoldBudget,
): readonly Tensor[] | undefined {
  const { op, domain } = call.node;
  if (domain !== '') return undefined;
  if (op === 'Shape') return [tensorOf('int64', outputs[0]!.dims, shapeSlice(call))];
  if (op === 'Constant') return [constantTensor(call.node)];
  if (op === 'Size') return [tensorOf('int64', [], [sizeOf(need(call, 0).dims)])];
  const rule = Object.hasOwn(rules, op) ? rules[op] : undefined;
  if (rule === undefined && op !== 'Split') return undefined;
  const inputs: Tensor[] = [];
  for (const [index, type] of call.inputs.entries()) {
    const constant = call.constants[index];
    if (type !== undefined && constant === undefined) return undefined;
    if (constant !== undefined && !isNumeric(constant.type)) return undefined;
    if (constant !== undefined && sizeOf(constant.dims) > budget.largest) return undefined;
    if (constant !== undefined) inputs.push(constant);
  }
  const size = outputs.reduce((sum, output) => sum + sizeOf(output.dims), 0);
  const given = inputs.reduce((sum, input) => sum + sizeOf(input.dims), 0);
  if (size > 2 * given && size > LARGEST_FROM_NOTHING) {
    throw misfit(
      call,
      `it makes a constant of ${size} elements out of ${given}, and at most ${LARGEST_FROM_NOTHING} are made`,
    );
  }
  if (size > budget.largest || size > budget.remaining) return undefined;
  if (size > 2 * given && size > budget.largestFromNothing) return undefined;
  if (outputs.some((output) => !isNumeric(output.type))) return undefined;
  budget.remaining -= size;
  if (rule === undefined) return splitPieces(call, outputs);
  return [rule(call, outputs[0]!, inputs)];
}

const relabel: FoldRule = (_, output, inputs) => ({ ...inputs[0]!, dims: output.dims });

/** Reads the first input through strides: every operator that only moves or repeats data is one of these. */
function strided(
  strides: (call: Call, dims: readonly number[], output: StaticType) => [readonly number[], number],
): FoldRule {
  return (call, output, inputs) => {
    const data = inputs[0]!;
    const [steps, start] = strides(call, data.dims, output);
    return takeElements(data, output.dims, positionsOf(output.dims, steps, start));
  };
}

const slice = strided((call, dims) => {
  const own = stridesOf(dims);
  const ranges = slicesOf(call);
  const start = ranges.reduce((sum, range, axis) => sum + range.start * own[axis]!, 0);
  return [ranges.map((range, axis) => range.step * own[axis]!), start];
});

const transpose = strided((call, dims) => {
  const own = stridesOf(dims);
  return [permutationOf(call).map((axis) => own[axis]!), 0];
});

const expand = strided((_, dims, output) => [broadcastStrides(dims, output.dims), 0]);

const tile: FoldRule = (_, output, inputs) => {
  const data = inputs[0]!;
  const own = stridesOf(data.dims);
  // a repeat starts again at the front: position = Σ (index mod dim) · stride
  const steps = stridesOf(output.dims);
  const positions = Uint32Array.from({ length: sizeOf(output.dims) }, (_unused, flat) =>
    data.dims.reduce((sum, dim, axis) => {
      const index = Math.floor(flat / steps[axis]!) % output.dims[axis]!;
      return sum + (index % dim) * own[axis]!;
    }, 0),
  );
  return takeElements(data, output.dims, positions);
};

function splitPieces(call: Call, outputs: readonly StaticType[]): Tensor[] {
  const data = call.constants[0]!;
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), data.dims.length);
  const own = stridesOf(data.dims);
  let start = 0;
  return outputs.map((output) => {
    const positions = positionsOf(output.dims, own, start * own[axis]!);
    start += output.dims[axis]!;
    return takeElements(data, output.dims, positions);
  });
}

const concat: FoldRule = (call, output, inputs) => {
  const axis = axisOf(call, intAttribute(call.node, 'axis', 1), output.dims.length);
  const outer = sizeOf(output.dims.slice(0, axis));
  const values = new Float64Array(sizeOf(output.dims));
  const row = sizeOf(output.dims.slice(axis));
  let start = 0;
  for (const input of inputs) {
    const numbers = numbersOf(input);
    const length = numbers.length / Math.max(1, outer);
    for (let index = 0; index < outer; index++) {
      values.set(numbers.subarray(index * length, (index + 1) * length), index * row + start);
    }
    start += length;
  }
  return tensorOf(output.type, output.dims, values);
};

const gather: FoldRule = (call, output, inputs) => {
  const data = inputs[0]!;
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), data.dims.length);
  const inner = sizeOf(data.dims.slice(axis + 1));
  const size = data.dims[axis]!;
  const indices = numbersOf(inputs[1]!).map((index) => axisOf(call, index, size));
  const outer = sizeOf(data.dims.slice(0, axis));
  const positions = new Uint32Array(outer * indices.length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (const index of indices) for (let i = 0; i < inner; i++) positions[at++] = (o * size + index) * inner + i;
  }
  return takeElements(data, output.dims, positions);
};

const pad: FoldRule = (call, output, inputs) => {
  const data = inputs[0]!;
  const { before } = paddingOf(call);
  const fill = call.constants[2];
  const value = fill === undefined ? 0 : numbersOf(fill)[0]!;
  const values = new Float64Array(sizeOf(output.dims)).fill(value);
  const own = stridesOf(output.dims);
  const source = numbersOf(data);
  const steps = stridesOf(data.dims);
  for (const [flat, number] of source.entries()) {
    let at = 0;
    let inside = true;
    for (let axis = 0; axis < data.dims.length; axis++) {
      const index = (Math.floor(flat / steps[axis]!) % data.dims[axis]!) + before[axis]!;
      inside &&= index >= 0 && index < output.dims[axis]!;
      at += index * own[axis]!;
    }
    if (inside) values[at] = number;
  }
  return tensorOf(output.type, output.dims, values);
};

const cast: FoldRule = (_, output, inputs) => {
  const integer = !output.type.startsWith('float') && output.type !== 'bfloat16' && output.type !== 'bool';
  const numbers = numbersOf(inputs[0]!);
  return tensorOf(output.type, output.dims, integer ? numbers.map(Math.trunc) : numbers);
};

const constantOfShape: FoldRule = (call, output) => {
  const value = call.node.attributes.get('value');
  const fill = value?.kind === 'tensor' ? numbersOf(value.value)[0]! : 0;
  return tensorOf(output.type, output.dims, new Float64Array(sizeOf(output.dims)).fill(fill));
};

const range: FoldRule = (_, output, inputs) => {
  const [start, , delta] = inputs.map((input) => numbersOf(input)[0]!);
  return tensorOf(
    output.type,
    output.dims,
    Float64Array.from({ length: output.dims[0]! }, (_unused, index) => start! + index * delta!),
  );
};

function unary(compute: (value: number) => number): FoldRule {
  return (_, output, inputs) => tensorOf(output.type, output.dims, numbersOf(inputs[0]!).map(compute));
}

function broadcastNumbers(input: Tensor, dims: readonly number[]): Float64Array {
  const numbers = numbersOf(input);
  return Float64Array.from(positionsOf(dims, broadcastStrides(input.dims, dims)), (position) => numbers[position]!);
}

/** Applies `compute` from left to right over the broadcast inputs. */
function variadic(compute: (a: number, b: number, integer: boolean) => number): FoldRule {
  return (_, output, inputs) => {
    const type = inputs[0]!.type;
    const integer = !type.startsWith('float') && type !== 'bfloat16';
    const read = (input: Tensor): Float64Array => broadcastNumbers(input, output.dims);
    const result = read(inputs[0]!);
    for (const input of inputs.slice(1)) {
      const other = read(input);
      for (let i = 0; i < result.length; i++) result[i] = compute(result[i]!, other[i]!, integer);
    }
    return tensorOf(output.type, output.dims, result);
  };
}

const where: FoldRule = (_, output, inputs) => {
  const [condition, yes, no] = inputs.map((input) => broadcastNumbers(input, output.dims));
  return tensorOf(
    output.type,
    output.dims,
    condition!.map((value, i) => (value !== 0 ? yes![i]! : no![i]!)),
  );
};

const mod: FoldRule = (call, output, inputs) => {
  const like = intAttribute(call.node, 'fmod', 0) !== 0;
  // without fmod the result has the divisor's sign
  return variadic((a, b) => (like ? a % b : a - b * Math.floor(a / b)))(call, output, inputs);
};

function reduce(start: number, add: (sum: number, value: number) => number, mean = false): FoldRule {
  return (call, output, inputs) => {
    const data = inputs[0]!;
    const axes = reducedAxes(call);
    const kept = stridesOf(data.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim)));
    const own = stridesOf(data.dims);
    const result = new Float64Array(sizeOf(output.dims)).fill(start);
    const numbers = numbersOf(data);
    for (const [flat, number] of numbers.entries()) {
      let at = 0;
      for (let axis = 0; axis < data.dims.length; axis++) {
        if (!axes.includes(axis)) at += (Math.floor(flat / own[axis]!) % data.dims[axis]!) * kept[axis]!;
      }
      result[at] = add(result[at]!, number);
    }
    const count = mean ? numbers.length / result.length : 1;
    return tensorOf(
      output.type,
      output.dims,
      result.map((value) => value / count),
    );
  };
}

const clip: FoldRule = (call, output, inputs) => {
  const bound = (index: number, fallback: number): number => {
    const constant = call.constants[index];
    return constant === undefined ? fallback : numbersOf(constant)[0]!;
  };
  const least = bound(1, Number.NEGATIVE_INFINITY);
  const most = bound(2, Number.POSITIVE_INFINITY);
  if (call.opset < 11) return inputs[0]!;
  return tensorOf(
    output.type,
    output.dims,
    numbersOf(inputs[0]!).map((value) => Math.min(most, Math.max(least, value))),
  );
};

function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value - Math.trunc(value)) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const rules: Readonly<Record<string, FoldRule>> = {
  Identity: relabel,
  Reshape: relabel,
  Flatten: relabel,
  Squeeze: relabel,
  Unsqueeze: relabel,
  Slice: slice,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Gather: gather,
  Pad: pad,
  Cast: cast,
  CastLike: cast,
  ConstantOfShape: constantOfShape,
  Range: range,
  Where: where,
  Clip: clip,
  Abs: unary(Math.abs),
  Neg: unary((value) => -value),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(roundHalfEven),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Reciprocal: unary((value) => 1 / value),
  Sign: unary(Math.sign),
  Not: unary((value) => (value === 0 ? 1 : 0)),
  Relu: unary((value) => Math.max(0, value)),
  Sigmoid: unary((value) => 1 / (1 + Math.exp(-value))),
  Tanh: unary(Math.tanh),
  Add: variadic((a, b) => a + b),
  Sub: variadic((a, b) => a - b),
  Mul: variadic((a, b) => a * b),
  Div: variadic((a, b, integer) => (integer ? Math.trunc(a / b) : a / b)),
  Pow: variadic((a, b) => a ** b),
  Mod: mod,
  Sum: variadic((a, b) => a + b),
  Min: variadic((a, b) => Math.min(a, b)),
  Max: variadic((a, b) => Math.max(a, b)),
  Equal: variadic((a, b) => Number(a === b)),
  Less: variadic((a, b) => Number(a < b)),
  LessOrEqual: variadic((a, b) => Number(a <= b)),
  Greater: variadic((a, b) => Number(a > b)),
  GreaterOrEqual: variadic((a, b) => Number(a >= b)),
  And: variadic((a, b) => Number(a !== 0 && b !== 0)),
  Or: variadic((a, b) => Number(a !== 0 || b !== 0)),
  Xor: variadic((a, b) => Number((a !== 0) !== (b !== 0))),
  ReduceProd: reduce(1, (product, value) => product * value),
  ReduceSum: reduce(0, (sum, value) => sum + value),
  ReduceMean: reduce(0, (sum, value) => sum + value, true),
  ReduceMin: reduce(Number.POSITIVE_INFINITY, Math.min),
  ReduceMax: reduce(Number.NEGATIVE_INFINITY, Math.max),
};
