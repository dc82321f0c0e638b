import { createBuilder, floatTensor, type GraphBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Composite } from '../../../sdk/lrp/composite.js';
import { count, type Dense, dense, type Matrix, matrix } from '../../reference/dense.js';
import { type Result, runModel } from '../../reference/run.js';

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** A model with float32 inputs of the given shapes whose only output is the tensor that `write` returns, of shape `dims`. */
export function modelWith(
  inputs: Shapes,
  dims: readonly number[],
  write: (graph: GraphBuilder) => string,
  opset = 18,
): Uint8Array {
  const graph = createBuilder();
  for (const [name, shape] of Object.entries(inputs)) graph.input(name, 'float32', shape);
  graph.output(graph.node('Identity', [write(graph)], {}, { outputs: ['y'] }), 'float32', dims);
  return encodeModel(modelOf(graph.graph, opset, 10));
}

/** A float32 initializer of a graph under construction. */
export function weight(graph: GraphBuilder, name: string, value: Dense): string {
  return graph.initializer(name, floatTensor(Float32Array.from(value.data), value.dims));
}

/** Explains the relevance `target` of the output y; gives y, and the relevance of every input under the input's name. */
export async function explained(
  model: Uint8Array,
  inputs: Readonly<Record<string, Dense>>,
  target: Dense,
  composite: Composite = { init: 'one', rules: [] },
): Promise<{ y: Result; relevance: Record<string, Result>; all: Record<string, Result> }> {
  const all = await runModel(compileExplanation(model, { composite, audit: true }).model, { ...inputs, target });
  const relevance = Object.fromEntries(Object.keys(inputs).map((name) => [name, all[`relevance/${name}`]!]));
  return { y: all.y!, relevance, all };
}

/** The Jacobian dy/dx of a function of float64 tensors by central differences, [outputs × inputs]. */
export function differences(f: (x: Dense) => Dense, x: Dense, step = 1e-5): Matrix {
  const rows = f(x).data.length;
  const jacobian = matrix(rows, x.data.length);
  for (let i = 0; i < x.data.length; i++) {
    const moved = (by: number): Float64Array =>
      f(
        dense(
          x.data.map((value, k) => (k === i ? value + by : value)),
          x.dims,
        ),
      ).data;
    const [up, down] = [moved(step), moved(-step)];
    for (let j = 0; j < rows; j++) jacobian.data[j * x.data.length + i] = (up[j]! - down[j]!) / (2 * step);
  }
  return jacobian;
}

/** Jᵀ·s. */
export function transposedTimes({ rows, columns, data }: Matrix, s: ArrayLike<number>): Float64Array {
  const result = new Float64Array(columns);
  for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++) result[i]! += data[j * columns + i]! * s[j]!;
  return result;
}

/** z + ε·sign z with sign 0 = +1 (thesis 2.22). */
export const stabilized = (z: number, epsilon = 1e-6): number => (z >= 0 ? z + epsilon : z - epsilon);

/** R / stab(z), element by element. */
export const quotient = (relevance: ArrayLike<number>, z: ArrayLike<number>, epsilon = 1e-6): Float64Array =>
  Float64Array.from(relevance, (r, j) => r / stabilized(z[j]!, epsilon));

/** A function of a tensor's elements, from the definition of its elements by multi-index. */
export function tabulated(dims: readonly number[], element: (...index: number[]) => number): Dense {
  const size = count(dims);
  const data = new Float64Array(size);
  for (let offset = 0; offset < size; offset++) {
    let rest = offset;
    const index = [...dims].map(() => 0);
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      index[axis] = rest % dims[axis]!;
      rest = Math.floor(rest / dims[axis]!);
    }
    data[offset] = element(...index);
  }
  return dense(data, dims);
}
