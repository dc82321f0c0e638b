import { UnsupportedOperatorError, WhylightError } from '../../errors.js';
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
  const block = intAttribute(node, 'block_size', 0);
  if (block !== 0) {
    checkBlocks(call, { scale: at, zero: zeroAt, of }, block, corrupt);
    return;
  }
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
  const points = call.constants[zeroAt];
  if (zero.type === 'int32' && points !== undefined && numbersOf(points).some((point) => point !== 0)) {
    throw corrupt(`its zero point "${node.inputs[zeroAt]}" is not 0, out of the range that int32 has`);
  }
}

/** In blocks along an axis, scales and zero points have the shape of the data but for that axis, which has one for each block. */
function checkBlocks(
  call: Call,
  { scale, zero, of }: Pick<Steps, 'scale' | 'zero' | 'of'>,
  block: number,
  corrupt: (what: string) => WhylightError,
): void {
  const { dims, type } = need(call, of);
  if (block < 0) throw corrupt(`its block_size is ${block}; a block must have at least 1 element`);
  const axis = axisOf(call, usedAxis(call), dims.length);
  const expected = dims.map((dim, k) => (k === axis ? Math.ceil(dim / block) : dim));
  for (const at of [scale, zero]) {
    const steps = call.inputs[at];
    if (steps === undefined || steps.dims.join() === expected.join()) continue;
    throw misfit(
      call,
      `"${call.node.inputs[at]}" has shape ${show(steps.dims)}, but data of shape ${show(dims)} in blocks of ${block} along axis ${axis} takes ${show(expected)}`,
    );
  }
  const points = call.inputs[zero];
  if (points !== undefined && of === 0 && isQuantized(type) && points.type !== type) {
    throw corrupt(`its zero point "${call.node.inputs[zero]}" is ${points.type}, but the integers are ${type}`);
  }
}

const INTEGERS: ReadonlySet<DataType> = new Set(['uint8', 'int8', 'uint16', 'int16', 'uint4', 'int4']);
const isQuantized = (type: DataType): boolean => INTEGERS.has(type);
const EIGHT_BITS: ReadonlySet<DataType> = new Set(['float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz']);

/** Throws MODEL_CORRUPT for a type that nothing is quantized to, UNSUPPORTED_OPERATOR for floating-point types of 8 bits. */
function checkIntegers({ node }: Call, type: DataType, others: readonly DataType[] = []): void {
  if (isQuantized(type) || others.includes(type)) return;
  if (EIGHT_BITS.has(type)) {
    throw new UnsupportedOperatorError(node.name, node.op, `it quantizes to ${type}, not to integers.`, node.domain);
  }
  throw new WhylightError(
    'MODEL_CORRUPT',
    `Node "${node.name}" (${node.op}): ${type} is no type of quantized values; there are ${[...INTEGERS, ...others].join(', ')}.`,
    { details: { node: node.name, operator: node.op } },
  );
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

/** Throws MODEL_CORRUPT where inputs that an operator takes as one type are of several, such as uint8 beside int8. */
function checkAlike(call: Call, ...indices: readonly number[]): void {
  const [first, ...others] = indices.map((index) => need(call, index).type);
  const other = others.find((type) => type !== first);
  if (other === undefined) return;
  const { node } = call;
  throw new WhylightError(
    'MODEL_CORRUPT',
    `Node "${node.name}" (${node.op}): its quantized inputs are ${first} and ${other}; they must be of one type.`,
    { details: { node: node.name, operator: node.op } },
  );
}

/** A bias on the integers of a layer: int32, one for each of its channels. */
function checkBias(call: Call, index: number, channels: number): void {
  const bias = call.inputs[index];
  if (bias === undefined) return;
  const { node } = call;
  if (bias.type !== 'int32') {
    throw new WhylightError(
      'MODEL_CORRUPT',
      `Node "${node.name}" (${node.op}): its bias "${node.inputs[index]}" is ${bias.type}, not int32.`,
      { details: { node: node.name, operator: node.op } },
    );
  }
  if (sizeOf(bias.dims) === channels) return;
  throw misfit(call, `its bias "${node.inputs[index]}" has ${sizeOf(bias.dims)} elements for ${channels} channels`);
}

const quantize: ShapeRule = (call) => {
  checkSteps(call, { scale: 1, zero: 2, of: 0, axis: usedAxis(call) });
  const type = call.inputs[2]?.type ?? typeAttribute(call, 'output_dtype', 'uint8');
  checkIntegers(call, type);
  const named = typeAttribute(call, 'output_dtype', type);
  if (named !== type && call.node.attributes.get('output_dtype')?.value !== 0) {
    throw misfit(call, `its output is said to be ${named}, but its zero point is ${type}`);
  }
  return [{ type, dims: need(call, 0).dims }];
};

const dequantize: ShapeRule = (call) => {
  checkIntegers(call, need(call, 0).type, ['int32']);
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
  checkBias(call, 8, need(call, 3).dims[0] ?? 1);
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
  checkAlike(call, 0, 3);
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
  checkBias(call, 6, need(call, 3).dims[axis] ?? 1);
  const inputs = [call.inputs[0], call.inputs[3], call.inputs[6]];
  const [{ dims }] = gemm({ ...call, inputs }) as [StaticType];
  return [{ type: call.inputs[7] === undefined ? 'float32' : (call.inputs[8] ?? need(call, 0)).type, dims }];
};

/** Inputs Y_scale, Y_zero_point, then tensor, scale and zero point of every part. */
const qLinearConcat: ShapeRule = (call) => {
  const parts: StaticType[] = [];
  for (let index = 2; index < call.inputs.length; index += 3) {
    checkTriples(call, index);
    checkAlike(call, 2, index);
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

/** Inputs A [.., K], B, scales, then what may be left out: zero points, group index, bias. */
const matMulNBits: ShapeRule = (call) => {
  const { node } = call;
  const fail = (what: string): WhylightError =>
    new WhylightError('MODEL_CORRUPT', `Node "${node.name}" (${node.op}): ${what}.`, {
      details: { node: node.name, operator: node.op },
    });
  const [k, n, bits, block] = ['K', 'N', 'bits', 'block_size'].map((name) =>
    intAttribute(node, name, name === 'bits' ? 4 : 0),
  ) as [number, number, number, number];
  if (k < 1 || n < 1) throw fail(`its weight is ${n} × ${k}; "N" and "K" must be above 0`);
  if (bits !== 4 && bits !== 8) throw fail(`its weights have ${bits} bits; 4 and 8 are known`);
  if (block < 16 || !Number.isInteger(Math.log2(block))) {
    throw fail(`its block_size is ${block}; it must be a power of 2, at least 16`);
  }
  const blocks = Math.ceil(k / block);
  const x = needRank(call, 0, 1);
  if (x.dims.at(-1) !== k) throw misfit(call, `its input has shape ${show(x.dims)}, but "K" is ${k}`);
  const sizes: readonly (readonly [index: number, what: string, size: number])[] = [
    [1, 'bytes of weights', n * blocks * ((block * bits) / 8)],
    [2, 'scales', n * blocks],
    [3, 'zero points', call.inputs[3]?.type === 'uint8' ? n * Math.ceil((blocks * bits) / 8) : n * blocks],
    [5, 'elements of a bias', n],
  ];
  for (const [index, what, size] of sizes) {
    const given = call.inputs[index] ?? (index < 3 ? need(call, index) : undefined);
    if (given !== undefined && sizeOf(given.dims) !== size) {
      throw misfit(call, `it has ${sizeOf(given.dims)} ${what} where ${n} × ${blocks} blocks of ${block} take ${size}`);
    }
  }
  if (call.inputs[4] !== undefined) {
    throw new UnsupportedOperatorError(node.name, node.op, 'its columns are reordered (g_idx).', node.domain);
  }
  const numbers = (index: number): Float64Array => {
    const constant = call.constants[index];
    return constant === undefined || (index === 3 && constant.type === 'uint8')
      ? new Float64Array()
      : numbersOf(constant);
  };
  if (numbers(2).some((step) => !Number.isFinite(step))) throw fail(`a scale "${node.inputs[2]}" is not finite`);
  if (numbers(3).some((point) => !(point >= 0 && point < 2 ** bits))) {
    throw fail(`a zero point "${node.inputs[3]}" lies outside of 0 to ${2 ** bits - 1}`);
  }
  return [{ type: x.type, dims: [...x.dims.slice(0, -1), n] }];
};

/** Inputs A, B, scale and zero point of B, bias. */
const dynamicQuantizeMatMul: ShapeRule = (call) => {
  checkSteps(call, { scale: 2, zero: 3, of: 1, axis: need(call, 1).dims.length - 1, integers: 1 });
  return [{ type: 'float32', dims: product(call, need(call, 0).dims, need(call, 1).dims) }];
};

/** Inputs A, B, scales of A and B, zero points of A and B, bias. */
const matMulIntegerToFloat: ShapeRule = (call) => {
  checkSteps(call, { scale: 2, zero: 4, of: 0, integers: 0 });
  checkSteps(call, { scale: 3, zero: 5, of: 1, axis: need(call, 1).dims.length - 1, integers: 1 });
  return [{ type: need(call, 2).type, dims: product(call, need(call, 0).dims, need(call, 1).dims) }];
};

/** Inputs condition, X and Y with scale and zero point each, then those of the output. */
const qLinearWhere: ShapeRule = (call) => {
  checkTriples(call, 1, 4);
  checkAlike(call, 1, 4);
  checkSteps(call, { scale: 7, zero: 8, of: 1, integers: 1 });
  const dims = [need(call, 0).dims, need(call, 1).dims, need(call, 4).dims];
  return [{ type: need(call, 1).type, dims: broadcast(call, dims) }];
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
  'com.microsoft.MatMulNBits': matMulNBits,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.MatMulIntegerToFloat': matMulIntegerToFloat,
  'com.microsoft.QLinearWhere': qLinearWhere,
  'com.microsoft.QGemm': qGemm,
  'com.microsoft.QLinearConcat': qLinearConcat,
};
