import { count, indexOf, offsetOf } from './dense.js';
import type { Windows } from './layers.js';

/** An element of a window that lies in the padding: it is zero, and for an average it may count. */
export const PADDING = -1;
/** An element of a window that lies beyond the padding, as `ceil_mode` makes them: it never counts. */
export const BEYOND = -2;

/** For each output position, the input position of every kernel element (row-major), or {@link PADDING}, or {@link BEYOND}. */
export interface WindowTable {
  readonly outputDims: readonly number[];
  readonly elements: readonly (readonly number[])[];
}

const known = new Map<string, WindowTable>();

/** Enumerates the windows of a convolution or pooling over the spatial dimensions `dims`; a geometry is enumerated once. */
export function windowsOver(
  dims: readonly number[],
  kernel: readonly number[],
  { strides = dims.map(() => 1), pads = [...dims, ...dims].map(() => 0), dilations = dims.map(() => 1) }: Windows,
  ceil = false,
): WindowTable {
  const key = JSON.stringify([dims, kernel, strides, pads, dilations, ceil]);
  const table = known.get(key) ?? enumerate(dims, kernel, { strides, pads, dilations }, ceil);
  known.set(key, table);
  return table;
}

function enumerate(
  dims: readonly number[],
  kernel: readonly number[],
  { strides, pads, dilations }: Required<Windows>,
  ceil: boolean,
): WindowTable {
  const outputDims = dims.map((size, axis) => {
    const reach = (kernel[axis]! - 1) * dilations[axis]! + 1;
    const steps = (size + pads[axis]! + pads[axis + dims.length]! - reach) / strides[axis]!;
    const positions = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // a window that ceil_mode would start beyond the input and its leading padding does not exist
    return ceil && (positions - 1) * strides[axis]! >= size + pads[axis]! ? positions - 1 : positions;
  });
  const elements = Array.from({ length: count(outputDims) }, (_, output) => {
    const start = indexOf(output, outputDims).map((at, axis) => at * strides[axis]! - pads[axis]!);
    return Array.from({ length: count(kernel) }, (_, element) => {
      const at = indexOf(element, kernel).map((k, axis) => start[axis]! + k * dilations[axis]!);
      if (at.some((position, axis) => position >= dims[axis]! + pads[axis + dims.length]!)) return BEYOND;
      if (at.some((position, axis) => position < 0 || position >= dims[axis]!)) return PADDING;
      return offsetOf(at, dims);
    });
  });
  return { outputDims, elements };
}
