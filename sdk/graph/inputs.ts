import { WhylightError } from '../errors.js';
import type { Graph, NamedValue, StaticType, Tensor } from './graph.js';
import { sizeOf } from './graph.js';
import { impossible, show } from './shapes/call.js';
import { isNumeric, tensorOf } from './tensors.js';

/** Shapes for inputs whose dimensions the file leaves open, by input name. */
export type InputShapes = Readonly<Record<string, readonly number[]>>;

/** Values that inputs have once and for all, by input name: one number for all elements, or one for each. */
export type InputValues = Readonly<Record<string, number | readonly number[]>>;

/**
 * The inputs whose values are given, as constants of their `types`. Throws OPTION_INVALID naming the input where there is none of
 * that name, or where the values do not fit its shape or its type.
 */
export function fixedInputs(
  graph: Graph,
  values: InputValues,
  types: ReadonlyMap<string, StaticType>,
): Map<string, Tensor> {
  const fixed = new Map<string, Tensor>();
  for (const [name, given] of Object.entries(values)) {
    const refuse = (what: string): never => {
      throw new WhylightError('OPTION_INVALID', `inputValues gives ${what}.`, {
        details: { field: 'inputValues', input: name },
      });
    };
    const type = graph.inputs.some((input) => input.name === name) ? types.get(name) : undefined;
    if (type === undefined) {
      return refuse(
        `"${name}", which is no input of the model; it has ${graph.inputs.map((input) => `"${input.name}"`).join(', ')}`,
      );
    }
    const size = sizeOf(type.dims);
    const list = typeof given === 'number' ? new Array<number>(size).fill(given) : given;
    if (list.length !== size) refuse(`${list.length} values for input "${name}", whose shape is ${show(type.dims)}`);
    const whole = !type.type.startsWith('float') && type.type !== 'bfloat16';
    if (!isNumeric(type.type) || list.some((value) => Number.isNaN(value) || (whole && !Number.isInteger(value)))) {
      refuse(`[${list.slice(0, 4).join(', ')}] for input "${name}", which is ${type.type}`);
    }
    fixed.set(name, tensorOf(type.type, type.dims, list));
  }
  return fixed;
}

/**
 * Static types of a graph's inputs: what is given, else what the file says; a leading open dimension (the batch) is 1. An open
 * dimension with a name takes the size that another input gives to that name.
 *
 * Throws MODEL_SHAPE naming the input where a dimension stays open, or where a given shape contradicts the file.
 */
export function staticInputs(graph: Graph, given: InputShapes): Map<string, StaticType> {
  for (const name of Object.keys(given)) {
    if (!graph.inputs.some((input) => input.name === name)) {
      throw new WhylightError(
        'MODEL_SHAPE',
        `inputShapes names "${name}", which is no input of the model; it has ${graph.inputs.map((input) => `"${input.name}"`).join(', ')}.`,
        { details: { input: name } },
      );
    }
  }
  const symbols = new Map<string, number>();
  for (const input of graph.inputs) {
    const shape = Object.hasOwn(given, input.name) ? given[input.name] : undefined;
    if (shape !== undefined) checkGiven(input, shape);
    for (const [axis, dim] of input.dims.entries()) {
      if (typeof dim !== 'string' || dim === '' || symbols.has(dim)) continue;
      if (shape !== undefined) symbols.set(dim, shape[axis]!);
      else if (axis === 0) symbols.set(dim, 1);
    }
  }
  // shapes that were given weigh more than the batch of 1
  for (const input of graph.inputs) {
    const shape = Object.hasOwn(given, input.name) ? given[input.name] : undefined;
    for (const [axis, dim] of input.dims.entries()) {
      if (shape !== undefined && typeof dim === 'string' && dim !== '') symbols.set(dim, shape[axis]!);
    }
  }
  const types = new Map<string, StaticType>();
  for (const input of graph.inputs) {
    const shape = Object.hasOwn(given, input.name) ? given[input.name]! : input.dims;
    if (input.unranked === true && !Object.hasOwn(given, input.name)) throw open(input, 'its shape');
    const dims = shape.map((dim, axis) => {
      if (typeof dim === 'number' && (dim > 0 || axis > 0 || Object.hasOwn(given, input.name))) return dim;
      const size = typeof dim === 'string' && dim !== '' ? symbols.get(dim) : undefined;
      if (size !== undefined) return size;
      if (axis === 0) return 1;
      throw open(input, `dimension ${axis} of ${show(input.dims)}`);
    });
    const wrong = impossible(input.type, dims);
    if (wrong !== undefined) {
      throw new WhylightError('MODEL_SHAPE', `Input "${input.name}" with shape ${show(dims)} ${wrong}.`, {
        details: { input: input.name },
      });
    }
    types.set(input.name, { type: input.type, dims });
  }
  return types;
}

function open(input: NamedValue, what: string): WhylightError {
  return new WhylightError(
    'MODEL_SHAPE',
    `Input "${input.name}" leaves ${what} open; say it with inputShapes: { ${JSON.stringify(input.name)}: [...] }.`,
    { details: { input: input.name } },
  );
}

function checkGiven(input: NamedValue, shape: readonly number[]): void {
  const fits =
    shape.every((dim) => Number.isSafeInteger(dim) && dim > 0) &&
    (input.unranked === true ||
      (shape.length === input.dims.length &&
        input.dims.every((dim, axis) => typeof dim === 'string' || dim === shape[axis] || (dim === 0 && axis === 0))));
  if (!fits) {
    throw new WhylightError(
      'MODEL_SHAPE',
      `inputShapes gives ${show(shape)} for input "${input.name}", but the model declares ${input.unranked === true ? 'positive whole dimensions only' : show(input.dims)}.`,
      { details: { input: input.name } },
    );
  }
}
