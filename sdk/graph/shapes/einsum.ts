import { textAttribute } from '../graph.js';
import { type Call, misfit, need, type ShapeRule, show } from './call.js';

/** An Einsum's equation with an index for every axis; the axes of an ellipsis have indices of their own. */
export interface Equation {
  /** indices of every input; an axis of one element that the others stretch has none, and is '' */
  readonly terms: readonly (readonly string[])[];
  readonly result: readonly string[];
  readonly sizes: ReadonlyMap<string, number>;
}

/** The indices that a term names, with `count` axes in the place of its ellipsis, of at most `most`. */
function indicesOf(term: string, count: number, most: number): string[] {
  const [before = '', after] = term.split('...');
  // axes of ellipses are aligned at their ends, as in broadcasting
  const middle = after === undefined ? [] : Array.from({ length: count }, (_, axis) => `.${most - count + axis}`);
  return [...before, ...middle, ...(after ?? '')];
}

/** Reads an Einsum's equation. Throws MODEL_SHAPE where it does not fit the inputs. */
export function equationOf(call: Call): Equation {
  const equation = textAttribute(call.node, 'equation', '').replace(/\s/g, '');
  const [left = '', right] = equation.split('->');
  const written = left.split(',');
  const axes = written.map((term, index) => need(call, index).dims.length - term.replace('...', '').length);
  const most = Math.max(0, ...axes.filter((_, index) => written[index]!.includes('...')));
  const sizes = new Map<string, number>();
  const terms = written.map((term, index) => {
    const { dims } = need(call, index);
    const indices = indicesOf(term, axes[index]!, most);
    if (indices.length !== dims.length || axes[index]! < 0) {
      throw misfit(call, `"${term}" does not fit input ${index} of shape ${show(dims)}`);
    }
    for (const [axis, letter] of indices.entries()) {
      const known = sizes.get(letter) ?? 1;
      if (known !== 1 && dims[axis] !== 1 && known !== dims[axis]) {
        throw misfit(call, `index "${letter}" of "${equation}" is both ${known} and ${dims[axis]}`);
      }
      sizes.set(letter, Math.max(known, dims[axis]!));
    }
    return indices;
  });
  // without "->" the axes of ellipses are kept, then the indices that occur once, in alphabetical order
  const once = [...new Set(left.replace(/[.,]/g, ''))].filter((letter) => left.split(letter).length === 2).sort();
  const result = indicesOf(right ?? `...${once.join('')}`, most, most);
  const unknown = result.find((letter) => !sizes.has(letter));
  if (unknown !== undefined) throw misfit(call, `index "${unknown}" of "${equation}" is in no input`);
  const own = terms.map((indices, index) =>
    indices.map((letter, axis) => (need(call, index).dims[axis] === sizes.get(letter) ? letter : '')),
  );
  return { terms: own, result, sizes };
}

const einsum: ShapeRule = (call) => {
  const { result, sizes } = equationOf(call);
  return [{ type: need(call, 0).type, dims: result.map((letter) => sizes.get(letter)!) }];
};

/** Products and sums by index. */
export const einsumShapes: Readonly<Record<string, ShapeRule>> = { Einsum: einsum };
