import { type ErrorDetails, WhylightError } from '../../errors.js';
import type { DataType, Node, StaticType, Tensor } from '../graph.js';
import { elementBytes, intsAttribute, sizeOf } from '../graph.js';
import { isNumeric, numbersOf } from '../tensors.js';

/** A node together with what is known of its inputs: what a shape rule looks at. */
export interface Call {
  readonly node: Node;
  /** Version of the operator set that the node comes from. */
  readonly opset: number;
  /** `undefined` where an optional input is left out. */
  readonly inputs: readonly (StaticType | undefined)[];
  /** The value of an input that is known before the model runs. */
  readonly constants: readonly (Tensor | undefined)[];
}

/** Types of a node's outputs, in order; may be longer than what the node uses. Throws MODEL_SHAPE where inputs do not fit. */
export type ShapeRule = (call: Call) => readonly StaticType[];

/** A MODEL_SHAPE error whose sentence starts with the node. */
export function misfit(call: Call, what: string, details: ErrorDetails = {}): WhylightError {
  return new WhylightError('MODEL_SHAPE', `Node "${call.node.name}" (${call.node.op}): ${what}.`, {
    details: { node: call.node.name, operator: call.node.op, ...details },
  });
}

/** A shape for reading. */
export function show(dims: readonly (number | string)[]): string {
  return `[${dims.map((dim) => (dim === '' ? '?' : dim)).join(', ')}]`;
}

/** Most bytes of a tensor: what WebAssembly can address. A few bytes of a file can ask for any number. */
const LARGEST = 2 ** 32;

/** Why a tensor cannot have these dimensions, as the end of a sentence; undefined where it can. */
export function impossible(type: DataType, dims: readonly number[]): string | undefined {
  const size = sizeOf(dims);
  if (dims.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || !Number.isSafeInteger(size)) return 'is no shape';
  const bytes = size * (elementBytes[type] ?? 1);
  return bytes > LARGEST
    ? `would take ${(bytes / 2 ** 30).toPrecision(2)} GB; at most 4 GB can be addressed`
    : undefined;
}

/** Type of an input that must be there. */
export function need(call: Call, index: number): StaticType {
  const type = call.inputs[index];
  if (type === undefined) {
    throw new WhylightError('MODEL_CORRUPT', `Node "${call.node.name}" (${call.node.op}) has no input ${index}.`, {
      details: { node: call.node.name },
    });
  }
  return type;
}

/** An input that must be there and have at least `rank` dimensions. */
export function needRank(call: Call, index: number, rank: number): StaticType {
  const type = need(call, index);
  if (type.dims.length < rank) {
    throw misfit(call, `input ${index} has shape ${show(type.dims)}, which has fewer than ${rank} dimensions`);
  }
  return type;
}

/** Values of an input which shapes depend on; `undefined` where it is left out. Throws MODEL_SHAPE where it is not constant. */
export function numbers(call: Call, index: number, meaning: string): number[] | undefined {
  if (call.inputs[index] === undefined) return undefined;
  const constant = call.constants[index];
  if (constant === undefined || !isNumeric(constant.type)) {
    throw misfit(
      call,
      `${meaning} (input "${call.node.inputs[index]}") is computed from data, so that shapes are not known before the model runs`,
    );
  }
  return [...numbersOf(constant)];
}

/** As {@link numbers} for an input that must be there. */
export function needNumbers(call: Call, index: number, meaning: string): number[] {
  need(call, index);
  return numbers(call, index, meaning)!;
}

/** A list that older operator sets keep in an attribute and newer ones in an input. */
export function listOf(call: Call, attribute: string, index: number): readonly number[] | undefined {
  const value = call.node.attributes.get(attribute);
  if (value?.kind === 'ints') return intsAttribute(call.node, attribute, []);
  return numbers(call, index, `"${attribute}"`);
}

/** An axis counted from the front. `rank` is one past the greatest. */
export function axisOf(call: Call, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || positive < 0 || positive >= rank) {
    throw misfit(call, `axis ${axis} is outside a tensor of ${rank} dimensions`);
  }
  return positive;
}

/** The shape that all broadcast to (numpy's rule). */
export function broadcast(call: Call, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length));
  const result = new Array<number>(rank).fill(1);
  for (const dims of shapes) {
    const lead = rank - dims.length;
    for (const [axis, dim] of dims.entries()) {
      const have = result[lead + axis]!;
      if (have === 1) result[lead + axis] = dim;
      else if (dim !== 1 && dim !== have)
        throw misfit(call, `shapes ${shapes.map(show).join(' and ')} do not broadcast`);
    }
  }
  return result;
}

/** The inputs that are given. */
export function present(call: Call): StaticType[] {
  return call.inputs.filter((type) => type !== undefined);
}
