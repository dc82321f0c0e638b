import { intAttribute, type StaticType } from '../graph.js';
import { axisOf, broadcast, misfit, need, needRank, type ShapeRule, show } from './call.js';
import { typeAttribute } from './elementwise.js';
import { gemm, product } from './linear.js';
import { convolution, poolingWindow } from './window.js';

const quantize: ShapeRule = (call) => {
  const type = call.inputs[2]?.type ?? typeAttribute(call, 'output_dtype', 'uint8');
  return [{ type, dims: need(call, 0).dims }];
};

const dequantize: ShapeRule = (call) => [
  { type: typeAttribute(call, 'output_dtype', need(call, 1).type), dims: need(call, 0).dims },
];

const dynamicQuantize: ShapeRule = (call) => [
  { type: 'uint8', dims: need(call, 0).dims },
  { type: 'float32', dims: [] },
  { type: 'uint8', dims: [] },
];

const convInteger: ShapeRule = (call) => [
  { type: 'int32', dims: convolution(call, need(call, 0).dims, need(call, 1).dims) },
];

const matMulInteger: ShapeRule = (call) => [
  { type: 'int32', dims: product(call, need(call, 0).dims, need(call, 1).dims) },
];

const qLinearConv: ShapeRule = (call) => [
  { type: need(call, 7).type, dims: convolution(call, need(call, 0).dims, need(call, 3).dims) },
];

const qLinearMatMul: ShapeRule = (call) => [
  { type: need(call, 7).type, dims: product(call, need(call, 0).dims, need(call, 3).dims) },
];

/** Inputs A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point. */
const qLinearBinary: ShapeRule = (call) => [
  { type: need(call, 0).type, dims: broadcast(call, [need(call, 0).dims, need(call, 3).dims]) },
];

const qLinearUnary: ShapeRule = (call) => [need(call, 0)];

const qLinearGlobalAveragePool: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const channel = intAttribute(call.node, 'channels_last', 0) !== 0 ? dims.length - 1 : 1;
  return [{ type, dims: dims.map((dim, axis) => (axis === 0 || axis === channel ? dim : 1)) }];
};

/** Inputs X, X_scale, X_zero_point, Y_scale, Y_zero_point. */
const qLinearAveragePool: ShapeRule = (call) => {
  const { type, dims } = needRank(call, 0, 3);
  const last = intAttribute(call.node, 'channels_last', 0) !== 0;
  const [batch, channels] = [dims[0]!, last ? dims.at(-1)! : dims[1]!];
  const spatial = last ? dims.slice(1, -1) : dims.slice(2);
  const { output } = poolingWindow(call.node, call, [batch, channels, ...spatial]);
  return [{ type, dims: last ? [batch, ...output, channels] : [batch, channels, ...output] }];
};

/** Inputs A, B with scale and zero point each, C, then scale and zero point of the output, which is float32 without them. */
const qGemm: ShapeRule = (call) => {
  const inputs = [call.inputs[0], call.inputs[3], call.inputs[6]];
  const [{ dims }] = gemm({ ...call, inputs }) as [StaticType];
  return [{ type: call.inputs[7] === undefined ? 'float32' : (call.inputs[8] ?? need(call, 0)).type, dims }];
};

/** Inputs Y_scale, Y_zero_point, then tensor, scale and zero point of every part. */
const qLinearConcat: ShapeRule = (call) => {
  const parts: StaticType[] = [];
  for (let index = 2; index < call.inputs.length; index += 3) parts.push(need(call, index));
  const first = parts[0] ?? need(call, 2);
  const axis = axisOf(call, intAttribute(call.node, 'axis', 0), first.dims.length);
  for (const part of parts) {
    if (part.dims.length !== first.dims.length || part.dims.some((dim, at) => at !== axis && dim !== first.dims[at])) {
      throw misfit(call, `shapes ${show(first.dims)} and ${show(part.dims)} do not join along axis ${axis}`);
    }
  }
  const total = parts.reduce((sum, part) => sum + part.dims[axis]!, 0);
  return [{ type: first.type, dims: first.dims.map((dim, at) => (at === axis ? total : dim)) }];
};

/** Quantized operators; com.microsoft is where ONNX Runtime's quantizer finds those that ONNX lacks. */
export const quantizationShapes: Readonly<Record<string, ShapeRule>> = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
  ConvInteger: convInteger,
  MatMulInteger: matMulInteger,
  QLinearConv: qLinearConv,
  QLinearMatMul: qLinearMatMul,
  'com.microsoft.QuantizeLinear': quantize,
  'com.microsoft.DequantizeLinear': dequantize,
  'com.microsoft.QLinearAdd': qLinearBinary,
  'com.microsoft.QLinearMul': qLinearBinary,
  'com.microsoft.QLinearSigmoid': qLinearUnary,
  'com.microsoft.QLinearLeakyRelu': qLinearUnary,
  'com.microsoft.QLinearSoftmax': qLinearUnary,
  'com.microsoft.QLinearGlobalAveragePool': qLinearGlobalAveragePool,
  'com.microsoft.QLinearAveragePool': qLinearAveragePool,
  'com.microsoft.QGemm': qGemm,
  'com.microsoft.QLinearConcat': qLinearConcat,
};
