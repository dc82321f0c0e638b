import type { Node, StaticType, Tensor } from '../../graph/graph.js';
import { numbersOf } from '../../graph/tensors.js';
import type { Emitter, Value } from '../emitter.js';

/** A node for which ONNX Runtime's WebGPU has no kernel, or a wrong one, with what is known of its surroundings. */
export interface Call {
  readonly emit: Emitter;
  readonly node: Node;
  /** version of ai.onnx that the graph is written in */
  readonly opset: number;
  /** the node's inputs; undefined where one is left out */
  readonly inputs: readonly (Value | undefined)[];
  readonly inputTypes: readonly (StaticType | undefined)[];
  /** types of the node's outputs; undefined where one is left out */
  readonly outputTypes: readonly (StaticType | undefined)[];
  /** whether an input that the model has as integers is float32 here, because what quantized it was rewritten */
  isWidened(input: number): boolean;
  /** the initializer behind an input, where it is one */
  constantAt(input: number): Tensor | undefined;
}

/** The values that stand for a node's outputs. */
export type Written = readonly (Value | undefined)[];

/** Writes a node with operators that run on the GPU; undefined where it may stay as it is. */
export type Rewrite = (call: Call) => Written | undefined;

/** The shape of the first output. */
export const outputDims = (call: Call): readonly number[] => call.outputTypes[0]!.dims;

/** A {@link Rewrite} of a node whose first input is float32, as a function of that input. */
export function ofFloat(write: (call: Call, x: Value) => Value | undefined): Rewrite {
  return (call) => {
    const [x] = call.inputs;
    if (x === undefined || call.inputTypes[0]?.type !== 'float32') return undefined;
    const written = write(call, x);
    return written && [written];
  };
}

/** The numbers of a constant input; undefined where it is left out or computed. */
export function numbersAt(call: Call, input: number): readonly number[] | undefined {
  const tensor = call.constantAt(input);
  return tensor === undefined ? undefined : [...numbersOf(tensor)];
}

/** An operator of one input that keeps its shape. */
export const unary = (emit: Emitter, op: string, x: Value): Value => emit.op(op, [x], x.dims);

/** x^p */
export const power = (emit: Emitter, x: Value, exponent: number): Value =>
  emit.op('Pow', [x, emit.scalar(exponent)], x.dims);
