import type { GraphBuilder } from '../graph/builder.js';
import { type Attribute, type Graph, int, ints, intsAttribute, type Node, sizeOf } from '../graph/graph.js';
import { elementwiseFormsFor } from './lower.js';
import type { LoweringTarget } from './report.js';

/** A tensor in the graph being written: its name, its static shape, and whether it depends on constants alone. */
export interface Value {
  readonly name: string;
  readonly dims: readonly number[];
  /** true when the runtime can compute it once, at session start */
  readonly constant: boolean;
}

/** Spatial geometry of a convolution or pooling window, one entry per spatial axis; pads are [begin…, end…] as in ONNX. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly number[];
}

/**
 * Writes backward nodes as small algebra over {@link Value}s. Equal nodes are written once. What depends on constants alone
 * (w⁺, flipped kernels, counts of inputs) goes to `main`, so that the runtime folds it at session start and a gated graph
 * shares it; everything else goes to `body`.
 */
export interface Emitter {
  /** Adds a node; `dims` is the shape of its only output. */
  op(op: string, inputs: readonly Value[], dims: readonly number[], attributes?: Record<string, Attribute>): Value;
  scalar(value: number): Value;
  constant(values: readonly number[] | Float32Array, dims: readonly number[]): Value;
  integers(values: readonly number[]): Value;
  /** 0, 1, 2 … as a constant, computed by the runtime instead of being stored. */
  range(count: number, dims: readonly number[]): Value;
  /** A constant filled with one number, computed by the runtime instead of being stored. */
  filled(value: number, dims: readonly number[]): Value;
  add(a: Value, b: Value): Value;
  sub(a: Value, b: Value): Value;
  mul(a: Value, b: Value): Value;
  div(a: Value, b: Value): Value;
  /** max(a, 0) */
  positive(a: Value): Value;
  /** min(a, 0) */
  negative(a: Value): Value;
  /** a + ε·sign(a) with sign 0 = +1 (thesis 2.22), for 0 < ε ≤ 1; of the sign of a, and never nearer to 0 than ε. What is too small for a normal float32 counts as 0, as on a GPU */
  awayFromZero(a: Value, epsilon: number): Value;
  /** 1 where `a` > 0, else 0, for `a` ≥ 0 */
  positiveMask(a: Value): Value;
  /** 1 where `a` compares so to `b`, else 0 is not materialised: the result is a bool tensor for {@link Emitter.where} */
  compare(op: 'Equal' | 'Greater' | 'GreaterOrEqual' | 'Less' | 'LessOrEqual', a: Value, b: Value): Value;
  where(condition: Value, a: Value, b: Value): Value;
  /** bool → 0 or 1 in float32 */
  indicator(condition: Value): Value;
  reshape(a: Value, dims: readonly number[]): Value;
  transpose(a: Value, permutation: readonly number[]): Value;
  expand(a: Value, dims: readonly number[]): Value;
  /** Reduction that keeps the reduced axes as 1. */
  reduce(op: 'Sum' | 'Max' | 'Min', a: Value, axes: readonly number[]): Value;
  /** Sums over the axes that broadcasting to `a`'s shape has stretched, so that the result has the shape `dims`. */
  unbroadcast(a: Value, dims: readonly number[]): Value;
  concat(list: readonly Value[], axis: number): Value;
  slice(
    a: Value,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): Value;
  /** Cuts an axis into equal parts. */
  split(a: Value, axis: number, parts: number): readonly Value[];
  /** Repeats an axis of length 1; for a few times faster than Expand, which ONNX Runtime does cell by cell on inner axes. */
  repeat(a: Value, axis: number, times: number): Value;
  /** Puts stride − 1 zeros between neighbours along an axis: length n becomes (n − 1)·stride + 1. */
  interleave(a: Value, axis: number, stride: number): Value;
  /** Pads [begin…, end…] per axis with a constant; returns `a` where nothing is to be added. */
  pad(a: Value, pads: readonly number[], value?: number): Value;
  /** Operators of all nodes written so far that run with every frame, in the order of writing. */
  readonly operators: readonly string[];
  /** c where `a` was written as `factor` ⊙ c */
  cofactor(a: Value, factor: Value): Value | undefined;
  /** the device that is written for */
  readonly target: LoweringTarget;
  /** Multiply-adds of all linear nodes written so far that run with every frame. */
  readonly multiplyAdds: number;
}

/** Makes the smallest normal float32 (2⁻¹²⁶) larger than 2 ε for every ε ≤ 1, and leaves 1 finite. */
const STRETCH = 3e38;

/** Up to as many copies side by side are written as a Concat. */
const FEW_COPIES = 16;

/** Lowest float32: what a padded cell of a max-pool holds, without the NaN that 0 · −∞ would make. */
export const LOWEST = -3.4028234663852886e38;

/** The shape that two shapes broadcast to, by the rules of ONNX. Throws RangeError where they do not. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const m = a[axis - rank + a.length] ?? 1;
    const n = b[axis - rank + b.length] ?? 1;
    if (m !== n && m !== 1 && n !== 1) throw new RangeError(`[${a.join(', ')}] and [${b.join(', ')}] do not broadcast`);
    return m === 1 ? n : m;
  });
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((dim, axis) => dim === b[axis]);

/** Multiply-adds of a linear node with the given input and output shapes; 0 for every other operator. */
export function multiplyAddsOf(
  op: string,
  attributes: ReadonlyMap<string, Attribute>,
  inputs: readonly (readonly number[])[],
  output: readonly number[],
): number {
  const weights = inputs[1];
  if (weights === undefined) return 0;
  switch (op) {
    case 'Conv':
      return sizeOf(output) * sizeOf(weights.slice(1));
    case 'ConvTranspose':
      return sizeOf(inputs[0]!) * sizeOf(weights.slice(1));
    case 'Gemm': {
      const transposed = attributes.get('transB');
      return sizeOf(output) * (transposed?.kind === 'int' && transposed.value === 1 ? weights[1]! : weights[0]!);
    }
    case 'MatMul':
      return sizeOf(output) * (inputs[0]!.at(-1) ?? 1);
    // [directions, gates·hidden, …] for W and R, once for every step and sample of X [time, batch, …]
    case 'LSTM':
    case 'GRU':
    case 'RNN':
      return inputs[0]![0]! * inputs[0]![1]! * (sizeOf(weights) + sizeOf(inputs[2]!));
    default:
      return 0;
  }
}

/** Multiply-adds of a node of a graph whose shapes are known. */
export function forwardMultiplyAdds(graph: Graph, node: Node): number {
  const dims = (name: string | undefined): number[] => (graph.values.get(name ?? '')?.dims ?? []).map(Number);
  return multiplyAddsOf(node.op, node.attributes, node.inputs.map(dims), dims(node.outputs[0]));
}

/** Creates an emitter that writes for operator set `opset` (≥ 17) and a device. */
export function createEmitter(main: GraphBuilder, body: GraphBuilder, opset: number, target: LoweringTarget): Emitter {
  const forms = elementwiseFormsFor(target);
  const written = new Map<string, readonly Value[]>();
  const products = new Map<string, readonly Value[]>();
  const operators: string[] = [];
  let multiplyAdds = 0;

  const several = (
    name: string,
    inputs: readonly Value[],
    outputs: readonly (readonly number[])[],
    attributes: Record<string, Attribute> = {},
  ): readonly Value[] => {
    const key = `${name}(${inputs.map((input) => input.name).join()})${JSON.stringify(attributes)}`;
    const known = written.get(key);
    if (known !== undefined) return known;
    const constant = inputs.every((input) => input.constant);
    const builder = constant ? main : body;
    const names = builder.nodes(
      name,
      inputs.map((input) => input.name),
      outputs.length,
      attributes,
    );
    if (!constant) {
      operators.push(name);
      const shapes = inputs.map((input) => input.dims);
      multiplyAdds += multiplyAddsOf(name, new Map(Object.entries(attributes)), shapes, outputs[0]!);
    }
    const values = names.map((out, k) => ({ name: out, dims: outputs[k]!, constant }));
    written.set(key, values);
    if (name === 'Mul') products.set(names[0]!, inputs);
    return values;
  };
  const op: Emitter['op'] = (name, inputs, dims, attributes) => several(name, inputs, [dims], attributes)[0]!;
  const elementwise = (name: string, a: Value, b: Value): Value => op(name, [a, b], broadcast(a.dims, b.dims));
  const integers = (values: readonly number[]): Value => ({
    name: main.ints(values),
    dims: [values.length],
    constant: true,
  });
  const scalar = (value: number): Value => ({ name: main.floats([value]), dims: [], constant: true });

  const emitter: Emitter = {
    op,
    scalar,
    integers,
    constant: (values, dims) => ({ name: main.floats(values, dims), dims, constant: true }),
    range: (count, dims) => emitter.reshape(op('Range', [scalar(0), scalar(count), scalar(1)], [count]), dims),
    filled: (value, dims) => op('Expand', [scalar(value), integers(dims)], dims),
    add: (a, b) => elementwise('Add', a, b),
    sub: (a, b) => elementwise('Sub', a, b),
    mul: (a, b) => elementwise('Mul', a, b),
    div: (a, b) => elementwise('Div', a, b),
    positive: (a) => (forms === 'plain' || a.constant ? op('Relu', [a], a.dims) : op('Max', [a, scalar(0)], a.dims)),
    negative: (a) =>
      forms === 'plain' || a.constant
        ? op('Clip', [a, scalar(LOWEST), scalar(0)], a.dims)
        : op('Min', [a, scalar(0)], a.dims),
    awayFromZero(a, epsilon) {
      if (forms === 'plain') {
        // ε·sign a without a branch, which costs the runtime ten times as much: a is stretched until it is clipped at ±ε. It never
        // overflows, for a GPU need not know infinity
        const within = op('Clip', [a, scalar(-1), scalar(1)], a.dims);
        const stretched = emitter.add(emitter.mul(within, scalar(STRETCH)), scalar(epsilon));
        return emitter.add(a, op('Clip', [stretched, scalar(-epsilon), scalar(epsilon)], a.dims));
      }
      // of −1, 0, +1 the last two are above −½
      const sign = op('Sign', [emitter.add(op('Sign', [a], a.dims), scalar(0.5))], a.dims);
      return emitter.add(a, emitter.mul(sign, scalar(epsilon)));
    },
    positiveMask: (a) =>
      forms === 'plain' ? emitter.indicator(emitter.compare('Greater', a, scalar(0))) : op('Sign', [a], a.dims),
    compare: (name, a, b) => elementwise(name, a, b),
    where: (condition, a, b) => op('Where', [condition, a, b], broadcast(condition.dims, broadcast(a.dims, b.dims))),
    indicator: (condition) => op('Cast', [condition], condition.dims, { to: int(1) }),
    reshape: (a, dims) => (same(a.dims, dims) ? a : op('Reshape', [a, integers(dims)], dims)),
    transpose: (a, permutation) =>
      op(
        'Transpose',
        [a],
        permutation.map((axis) => a.dims[axis]!),
        { perm: ints(permutation) },
      ),
    expand: (a, dims) => (same(a.dims, dims) ? a : op('Expand', [a, integers(dims)], dims)),
    reduce(name, a, axes) {
      const dims = a.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
      if (same(dims, a.dims)) return a;
      // ReduceSum takes its axes as an input since opset 13, the other reductions since 18
      return name === 'Sum' || opset >= 18
        ? op(`Reduce${name}`, [a, integers(axes)], dims, { keepdims: int(1) })
        : op(`Reduce${name}`, [a], dims, { axes: ints(axes), keepdims: int(1) });
    },
    unbroadcast(a, dims) {
      const lead = a.dims.length - dims.length;
      const axes = a.dims.flatMap((dim, axis) => (dim !== 1 && (axis < lead || dims[axis - lead] === 1) ? [axis] : []));
      return emitter.reshape(emitter.reduce('Sum', a, axes), dims);
    },
    concat(list, axis) {
      const [first] = list;
      if (first === undefined) throw new RangeError('nothing to concatenate');
      if (list.length === 1) return first;
      const dims = [...first.dims];
      dims[axis] = list.reduce((sum, value) => sum + value.dims[axis]!, 0);
      return op('Concat', list, dims, { axis: int(axis) });
    },
    slice(a, starts, ends, axes, steps = axes.map(() => 1)) {
      const dims = [...a.dims];
      axes.forEach((axis, k) => {
        const step = steps[k]!;
        dims[axis] =
          step > 0
            ? Math.ceil((Math.min(ends[k]!, a.dims[axis]!) - starts[k]!) / step)
            : Math.ceil((Math.max(ends[k]!, -1) - starts[k]!) / step);
      });
      if (steps.every((step) => step === 1) && same(dims, a.dims)) return a;
      // a negative end counts from the back, so "down to the first element" is written as far below zero
      const stops = ends.map((end, k) => (steps[k]! < 0 && end < 0 ? -2147483648 : end));
      return op('Slice', [a, integers(starts), integers(stops), integers(axes), integers(steps)], dims);
    },
    split(a, axis, parts) {
      if (parts === 1) return [a];
      const dims = [...a.dims];
      dims[axis] = dims[axis]! / parts;
      const sizes = integers(new Array<number>(parts).fill(dims[axis]!));
      return several('Split', [a, sizes], new Array<readonly number[]>(parts).fill(dims), { axis: int(axis) });
    },
    repeat: (a, axis, times) =>
      times > FEW_COPIES
        ? emitter.expand(
            a,
            a.dims.map((dim, k) => (k === axis ? times : dim)),
          )
        : emitter.concat(new Array<Value>(times).fill(a), axis),
    interleave(a, axis, stride) {
      if (stride === 1) return a;
      const length = a.dims[axis]!;
      const apart = (size: number): number[] => [...a.dims.slice(0, axis + 1), size, ...a.dims.slice(axis + 1)];
      const between = emitter.filled(0, apart(stride - 1));
      const whole = emitter.concat([emitter.reshape(a, apart(1)), between], axis + 1);
      const dims = [...a.dims];
      dims[axis] = length * stride;
      return emitter.slice(emitter.reshape(whole, dims), [0], [(length - 1) * stride + 1], [axis]);
    },
    pad(a, pads, value = 0) {
      if (pads.every((pad) => pad === 0)) return a;
      const rank = a.dims.length;
      const dims = a.dims.map((dim, axis) => dim + pads[axis]! + pads[axis + rank]!);
      return op('Pad', [a, integers(pads), scalar(value)], dims);
    },
    operators,
    cofactor(a, factor) {
      const [b, c] = products.get(a.name) ?? [];
      return b?.name === factor.name ? c : c?.name === factor.name ? b : undefined;
    },
    target,
    get multiplyAdds() {
      return multiplyAdds;
    },
  };
  return emitter;
}

/** The window of a Conv, ConvTranspose or pooling node after canonicalization (explicit pads). */
export function windowOf(node: Node, kernel: readonly number[]): Window {
  const ones = kernel.map(() => 1);
  return {
    kernel,
    strides: intsAttribute(node, 'strides', ones),
    dilations: intsAttribute(node, 'dilations', ones),
    pads: intsAttribute(
      node,
      'pads',
      [...kernel, ...kernel].map(() => 0),
    ),
  };
}

/** The attributes that say a window in ONNX. */
export function windowAttributes(window: Window): Record<string, Attribute> {
  return {
    kernel_shape: ints(window.kernel),
    strides: ints(window.strides),
    dilations: ints(window.dilations),
    pads: ints(window.pads),
  };
}
