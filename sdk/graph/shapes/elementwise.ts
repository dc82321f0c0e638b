import { dataTypeOf } from '../data-types.js';
import type { DataType } from '../graph.js';
import { intAttribute } from '../graph.js';
import { broadcast, type Call, misfit, need, present, type ShapeRule } from './call.js';

/** Output like the first input. */
export const same: ShapeRule = (call) => [need(call, 0)];

/** All inputs broadcast together; the type is the first input's. */
const arithmetic: ShapeRule = (call) => {
  const types = present(call);
  const dims = broadcast(
    call,
    types.map((input) => input.dims),
  );
  return [{ type: need(call, 0).type, dims }];
};

const comparison: ShapeRule = (call) => [{ type: 'bool', dims: arithmetic(call)[0]!.dims }];

const predicate: ShapeRule = (call) => [{ type: 'bool', dims: need(call, 0).dims }];

const where: ShapeRule = (call) => {
  const inputs = [need(call, 0), need(call, 1), need(call, 2)];
  return [
    {
      type: inputs[1]!.type,
      dims: broadcast(
        call,
        inputs.map((input) => input.dims),
      ),
    },
  ];
};

/** The slope may only be stretched, never the data. */
const prelu: ShapeRule = (call) => {
  const data = need(call, 0);
  const dims = broadcast(call, [data.dims, need(call, 1).dims]);
  if (dims.join() !== data.dims.join()) throw misfit(call, 'the slope has more elements than the data');
  return [{ type: data.type, dims }];
};

/** The element type that an attribute names by its number. */
export function typeAttribute(call: Call, name: string, fallback: DataType): DataType {
  if (!call.node.attributes.has(name)) return fallback;
  const code = intAttribute(call.node, name, 0);
  const type = dataTypeOf(code);
  if (type === undefined) throw misfit(call, `attribute ${name} names the unknown element type ${code}`);
  return type;
}

const cast: ShapeRule = (call) => [{ type: typeAttribute(call, 'to', 'float32'), dims: need(call, 0).dims }];

const castLike: ShapeRule = (call) => [{ type: need(call, 1).type, dims: need(call, 0).dims }];

const dropout: ShapeRule = (call) => [
  need(call, 0),
  { type: call.opset < 10 ? need(call, 0).type : 'bool', dims: need(call, 0).dims },
];

const unary =
  'Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu CumSum';
const binary = 'Add Sub Mul Div Pow Mod Min Max Sum Mean BitwiseAnd BitwiseOr BitwiseXor BitShift';
const comparing = 'Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor';

/** Operators that work on one element at a time. */
export const elementwiseShapes: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries(unary.split(' ').map((op) => [op, same])),
  ...Object.fromEntries(binary.split(' ').map((op) => [op, arithmetic])),
  ...Object.fromEntries(comparing.split(' ').map((op) => [op, comparison])),
  IsNaN: predicate,
  IsInf: predicate,
  Where: where,
  PRelu: prelu,
  Cast: cast,
  CastLike: castLike,
  Dropout: dropout,
};
