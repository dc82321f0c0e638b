import { WhylightError } from '../../errors.js';
import { type DataType, intAttribute, type StaticType, sizeOf } from '../graph.js';
import { numbersOf } from '../tensors.js';
import { axisOf, broadcast, type Call, misfit, need, needRank, type ShapeRule, show } from './call.js';
import { typeAttribute } from './elementwise.js';
import { gemm, product } from './linear.js';
import { convolution, poolingWindow } from './window.js';

/** Which inputs of an operator are a quantized value with its scale and zero point; `axis` where there may be one per channel. */
interface Steps {
  readonly scale: number;
  readonly zero: number;
  /** The input whose dimension `axis` has one scale per element; counted from the back where negative. */
  readonly of: number;
  readonly axis?: number;
  /** The integers that the zero point must have the type of; undefined where the zero point itself says the type. */
  readonly integers?: number;
}

/**
 * Checks the scale and zero point of a quantized value. Throws MODEL_CORRUPT where the scale is missing, not floating-point, or a
 * constant that is not above 0, or where the zero point has another type than the integers; MODEL_SHAPE where there is neither one
 * scale nor one per channel, or where there are more zero points than scales.
 */
function checkSteps(call: Call, { scale: at, zero: zeroAt, of, axis, integers }: Steps): void {
  const { node } = call;
  const corrupt = (what: string): WhylightError =>
    new WhylightError('MODEL_CORRUPT', `Node "${node.name}" (${node.op}): ${what}.`, {
      details: { node: node.name, operator: node.op, input: at },
    });
  const scale = call.inputs[at];
  if (scale === undefined) throw corrupt(`its scale (input ${at}) is missing`);
  if (!isFloating(scale.type)) throw corrupt(`its scale "${node.inputs[at]}" is ${scale.type}, not floating-point`);
  const constant = call.constants[at];
  const wrong = constant === undefined ? undefined : numbersOf(constant).find((step) => !(step > 0 && step < Infinity));
  if (wrong !== undefined) throw corrupt(`its scale "${node.inputs[at]}" is ${wrong}; a step must be above 0`);
  // in blocks, a scale has the rank of the data
  if (intAttribute(node, 'block_size', 0) !== 0) return;
  const count = sizeOf(scale.dims);
  const { dims } = need(call, of);
  if (count !== 1) {
    const channels = axis === undefined ? undefined : dims[axisOf(call, axis, dims.length)];
    if (count !== channels) {
      const fits = channels === undefined ? 'one' : `one, or one for each of ${channels} channels`;
      throw misfit(
        call,
        `it has ${count} scales "${node.inputs[at]}" for data of shape ${show(dims)}, which takes ${fits}`,
      );
    }
  }
  const zero = call.inputs[zeroAt];
  if (zero === undefined) return;
  const zeros = sizeOf(zero.dims);
  if (zeros !== count && zeros !== 1) {
    throw misfit(call, `it has ${zeros} zero points "${node.inputs[zeroAt]}" for ${count} scales`);
  }
  const type = integers === undefined ? undefined : need(call, integers).type;
  if (type !== undefined && zero.type !== type) {
    throw corrupt(`its zero point "${node.inputs[zeroAt]}" is ${zero.type}, but the integers are ${type}`);
  }
}

function isFloating(type: DataType): boolean {
  return type.startsWith('float') || type === 'bfloat16';
}

/** Quantized inputs, each followed by its scale and zero point. */
function checkTriples(call: Call, ...starts: readonly number[]): void {
  for (const start of starts) {
    need(call, start);
    checkSteps(call, { scale: start + 1, zero: start + 2, of: start, integers: start });
  }
}

const quantize: ShapeRule = (call) => {
  checkSteps(call, { scale: 1, zero: 2, of: 0, axis: usedAxis(call) });
  const type = call.inputs[2]?.type ?? typeAttribute(call, 'output_dtype', 'uint8');
  return [{ type, dims: need(call, 0).dims }];
};

const dequantize: ShapeRule = (call) => {
  checkSteps(call, { scale: 1, zero: 2, of: 0, axis: usedAxis(call), integers: 0 });
  return [{ type: typeAttribute(call, 'output_dtype', need(call, 1).type), dims: need(call, 0).dims }];
};

/** Scales per channel lie along dimension 1 where nothing is said. */
const usedAxis = (call: Call): number => intAttribute(call.node, 'axis', 1);

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

const qLinearConv: ShapeRule = (call) => {
  checkTriples(call, 0);
  checkSteps(call, { scale: 4, zero: 5, of: 3, axis: 0, integers: 3 });
  checkSteps(call, { scale: 6, zero: 7, of: 0 });
  return [{ type: need(call, 7).type, dims: convolution(call, need(call, 0).dims, need(call, 3).dims) }];
};

const qLinearMatMul: ShapeRule = (call) => {
  checkSteps(call, { scale: 1, zero: 2, of: 0, axis: need(call, 0).dims.length - 2, integers: 0 });
  checkSteps(call, { scale: 4, zero: 5, of: 3, axis: need(call, 3).dims.length - 1, integers: 3 });
  checkSteps(call, { scale: 6, zero: 7, of: 0 });
  return [{ type: need(call, 7).type, dims: product(call, need(call, 0).dims, need(call, 3).dims) }];
};

/** Inputs A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point. */
const qLinearBinary: ShapeRule = (call) => {
  checkTriples(call, 0, 3);
  checkSteps(call, { scale: 6, zero: 7, of: 0, integers: 0 });
  return [{ type: need(call, 0).type, dims: broadcast(call, [need(call, 0).dims, need(call, 3).dims]) }];
};

/** Inputs X, X_scale, X_zero_point, Y_scale, Y_zero_point. */
const qLinearUnary: ShapeRule = (call) => {
  checkUnary(call);
  return [need(call, 0)];
};

function checkUnary(call: Call): void {
  checkTriples(call, 0);
  checkSteps(call, { scale: 3, zero: 4, of: 0, integers: 0 });
}

const qLinearGlobalAveragePool: ShapeRule = (call) => {
  checkUnary(call);
  const { type, dims } = need(call, 0);
  const channel = intAttribute(call.node, 'channels_last', 0) !== 0 ? dims.length - 1 : 1;
  return [{ type, dims: dims.map((dim, axis) => (axis === 0 || axis === channel ? dim : 1)) }];
};

const qLinearAveragePool: ShapeRule = (call) => {
  checkUnary(call);
  const { type, dims } = needRank(call, 0, 3);
  const last = intAttribute(call.node, 'channels_last', 0) !== 0;
  const [batch, channels] = [dims[0]!, last ? dims.at(-1)! : dims[1]!];
  const spatial = last ? dims.slice(1, -1) : dims.slice(2);
  const { output } = poolingWindow(call.node, call, [batch, channels, ...spatial]);
  return [{ type, dims: last ? [batch, ...output, channels] : [batch, channels, ...output] }];
};

/** Inputs A, B with scale and zero point each, C, then scale and zero point of the output, which is float32 without them. */
const qGemm: ShapeRule = (call) => {
  checkTriples(call, 0);
  const axis = intAttribute(call.node, 'transB', 0) !== 0 ? 0 : 1;
  checkSteps(call, { scale: 4, zero: 5, of: 3, axis, integers: 3 });
  if (call.inputs[7] !== undefined) checkSteps(call, { scale: 7, zero: 8, of: 0 });
  const inputs = [call.inputs[0], call.inputs[3], call.inputs[6]];
  const [{ dims }] = gemm({ ...call, inputs }) as [StaticType];
  return [{ type: call.inputs[7] === undefined ? 'float32' : (call.inputs[8] ?? need(call, 0)).type, dims }];
};

/** Inputs Y_scale, Y_zero_point, then tensor, scale and zero point of every part. */
const qLinearConcat: ShapeRule = (call) => {
  const parts: StaticType[] = [];
  for (let index = 2; index < call.inputs.length; index += 3) {
    checkTriples(call, index);
    parts.push(need(call, index));
  }
  checkSteps(call, { scale: 0, zero: 1, of: 2, integers: 2 });
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
