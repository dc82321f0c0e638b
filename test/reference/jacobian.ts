import { count, type Dense, filled, type Matrix, matrix } from './dense.js';
import { forward, merged } from './forward.js';
import { type Layer, outputsOf } from './layers.js';

/** An affine layer as y = J x + b, all inputs laid end to end, likewise all outputs. */
export interface AffineMap {
  /** J [outputs × inputs]; w_ij of the thesis is J_ji */
  readonly jacobian: Matrix;
  /** 1 where the layer connects input i with output j, whatever the weight is (also zero), and 0 elsewhere: padding has no inputs */
  readonly reached: Matrix;
  readonly bias: Float64Array;
}

const known = new WeakMap<Layer, AffineMap>();

/** Writes an affine layer as an explicit matrix, by giving it one unit vector after the other. */
export function affineMap(layer: Layer, dims: readonly (readonly number[])[]): AffineMap {
  const before = known.get(layer);
  if (before !== undefined) return before;
  const bias = outputAt(layer, dims);
  const map: AffineMap = {
    jacobian: unitResponses(layer, dims, bias),
    reached: unitResponses(withUnitWeights(layer), dims),
    bias,
  };
  for (const [entry, value] of map.reached.data.entries()) map.reached.data[entry] = value !== 0 ? 1 : 0;
  known.set(layer, map);
  return map;
}

/** J by its columns: f(e_i) − f(0). */
function unitResponses(layer: Layer, dims: readonly (readonly number[])[], zero = outputAt(layer, dims)): Matrix {
  const columns = dims.reduce((sum, shape) => sum + count(shape), 0);
  const result = matrix(zero.length, columns);
  for (let i = 0; i < columns; i++) {
    const response = outputAt(layer, dims, i);
    for (let j = 0; j < zero.length; j++) result.data[j * columns + i] = response[j]! - zero[j]!;
  }
  return result;
}

/** All outputs of the layer end to end, for inputs that are zero except for a one at element `unit`. */
function outputAt(layer: Layer, dims: readonly (readonly number[])[], unit = -1): Float64Array {
  let start = 0;
  const inputs = dims.map((shape): Dense => {
    const input = filled(shape, 0);
    if (unit >= start && unit < start + input.data.length) input.data[unit - start] = 1;
    start += input.data.length;
    return input;
  });
  const outputs = forward(layer, inputs);
  if (outputs.length !== outputsOf(layer).length) throw new RangeError(`${layer.name}: outputs do not fit their names`);
  if (outputs.length === 1) return outputs[0]!.data;
  return Float64Array.from(outputs.flatMap((output) => [...output.data]));
}

function withUnitWeights(layer: Layer): Layer {
  switch (layer.op) {
    case 'Conv': {
      const { bias: _, ...rest } = merged(layer);
      return { name: layer.name, inputs: layer.inputs, ...rest, weight: filled(layer.weight.dims, 1) };
    }
    case 'ConvTranspose':
    case 'MatMul': {
      const { bias: _, ...rest } = layer;
      return { ...rest, weight: filled(layer.weight.dims, 1) };
    }
    case 'Gemm': {
      const { bias: _, ...rest } = layer;
      return { ...rest, alpha: 1, weight: filled(layer.weight.dims, 1) };
    }
    default:
      return layer;
  }
}
