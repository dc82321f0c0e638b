import type { DataType } from '../../graph/graph.js';
import { intAttribute, sizeOf } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { rounded } from './elementwise.js';
import type { Call, Rewrite } from './kernel.js';

/** Smallest and largest integer of the types that activations are quantized to. */
const RANGES: Partial<Record<DataType, readonly [low: number, high: number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
};

/** Scales or zero points in a shape that broadcasts to the data: one, or one for each element of the node's axis. */
function alongAxis({ emit, node }: Call, steps: Value, dims: readonly number[]): Value {
  if (sizeOf(steps.dims) === 1) return emit.reshape(steps, []);
  const given = intAttribute(node, 'axis', 1);
  const axis = given < 0 ? given + dims.length : given;
  return emit.reshape(
    steps,
    dims.map((dim, k) => (k === axis ? dim : 1)),
  );
}

/** A zero point as float32; undefined where it is left out. A constant one is cast at session start. */
function zeroOf(call: Call): Value | undefined {
  const [data, , zero] = call.inputs;
  if (zero === undefined) return undefined;
  return alongAxis(call, call.isWidened(2) ? zero : call.emit.indicator(zero), data!.dims);
}

/** The integers nearest to x / scale + zero point, as float32. */
function integers(emit: Emitter, x: Value, scale: Value, zero: Value | undefined, type: DataType): Value | undefined {
  const range = RANGES[type];
  if (range === undefined) return undefined;
  const steps = rounded(emit, emit.div(x, scale));
  const from = zero === undefined ? steps : emit.add(steps, zero);
  return emit.op('Clip', [from, emit.scalar(range[0]), emit.scalar(range[1])], x.dims);
}

/** Integers are float32 on the GPU: Floor and Clip find them, halves to the even neighbour as on the CPU. */
const quantize: Rewrite = (call) => {
  const [x, scale] = call.inputs as [Value, Value];
  if (call.inputTypes[0]?.type !== 'float32') return undefined;
  const written = integers(call.emit, x, alongAxis(call, scale, x.dims), zeroOf(call), call.outputTypes[0]!.type);
  return written && [written];
};

/** (q − zero point) · scale, for integers that are float32; those that are constants stay integers, in memory too. */
const dequantize: Rewrite = (call) => {
  const { emit } = call;
  const [q, scale] = call.inputs as [Value, Value];
  if (!call.isWidened(0)) return undefined;
  const zero = zeroOf(call);
  return [emit.mul(zero === undefined ? q : emit.sub(q, zero), alongAxis(call, scale, q.dims))];
};

/** uint8 over the range of the tensor with 0 in it. */
const quantizeDynamically: Rewrite = ({ emit, inputs, outputTypes }) => {
  const [x] = inputs as [Value];
  const all = x.dims.map((_, axis) => axis);
  const zero = emit.scalar(0);
  const end = (which: 'Max' | 'Min'): Value => {
    const most = emit.reshape(emit.reduce(which, x, all), []);
    return emit.op(which, [most, zero], []);
  };
  const [high, low] = [end('Max'), end('Min')];
  const range = emit.sub(high, low);
  const isNone = emit.compare('Equal', range, zero);
  const scale = emit.where(isNone, emit.scalar(1), emit.mul(range, emit.scalar(1 / 255)));
  const start = emit.div(emit.sub(zero, low), scale);
  const point = rounded(emit, emit.op('Clip', [start, zero, emit.scalar(255)], []));
  return [integers(emit, x, scale, point, 'uint8'), scale, outputTypes[2] && point];
};

/** Steps between activations and integers, for which the GPU has no kernel. */
export const quantizationRewrites: Readonly<Record<string, Rewrite>> = {
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: quantizeDynamically,
  QuantizeLinear: quantize,
};
