/** A tensor of the oracle: row-major float64. */
export interface Dense {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** A matrix [rows × columns], row-major; row = output of a layer, column = input. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

export function count(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** A tensor from numbers; throws RangeError when they do not fill `dims`. */
export function dense(values: ArrayLike<number>, dims: readonly number[]): Dense {
  if (values.length !== count(dims)) throw new RangeError(`${values.length} values do not fill [${dims.join(', ')}]`);
  return { dims, data: Float64Array.from(values) };
}

export function filled(dims: readonly number[], value: number): Dense {
  return { dims, data: new Float64Array(count(dims)).fill(value) };
}

export function matrix(rows: number, columns: number): Matrix {
  return { rows, columns, data: new Float64Array(rows * columns) };
}

/** Row-major strides in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * dims[axis + 1]!;
  return strides;
}

/** The multi-index of a row-major offset. */
export function indexOf(offset: number, dims: readonly number[]): number[] {
  const index = dims.map(() => 0);
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    index[axis] = offset % dims[axis]!;
    offset = Math.floor(offset / dims[axis]!);
  }
  return index;
}

/** The row-major offset of a multi-index. */
export function offsetOf(index: readonly number[], dims: readonly number[]): number {
  let offset = 0;
  for (let axis = 0; axis < dims.length; axis++) offset = offset * dims[axis]! + index[axis]!;
  return offset;
}
