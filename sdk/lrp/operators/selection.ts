import { UnsupportedOperatorError } from '../../errors.js';
import { int, intAttribute, sizeOf, text, textAttribute } from '../../graph/graph.js';
import { numbersOf, stridesOf } from '../../graph/tensors.js';
import type { Value } from '../emitter.js';
import { within } from '../limits.js';
import { relevanceQuotient } from '../linear.js';
import { amongInputs } from './evenly.js';
import { arriving, fromFront, type NodeContext, type OperatorSupport, required, type Way } from './operator.js';
import { elementsBack, scatteredBack } from './positions.js';
import { rescaledExtreme, takenAlike } from './rescale.js';

/** The input of operators that gather and scatter which names the elements. */
const indicesAt = 1;

const moving = (
  explain: OperatorSupport['explain'],
  limits?: string,
  rescale: Way = takenAlike(indicesAt),
): OperatorSupport => ({
  family: 'Selection',
  rules: [],
  source: 'thesis 2.41: relevance moves with the data',
  evenly: 'usual',
  rescale,
  ...(limits === undefined ? {} : { limits }),
  explain,
});

/** Relevance goes to the side that was taken; the condition gets none. */
const where = moving(
  (context) => {
    const { emit } = context;
    const condition = required(context, 0);
    const relevance = arriving(context);
    const nothing = emit.scalar(0);
    return [
      undefined,
      context.wants(1)
        ? emit.unbroadcast(emit.where(condition, relevance, nothing), required(context, 1).dims)
        : undefined,
      context.wants(2)
        ? emit.unbroadcast(emit.where(condition, nothing, relevance), required(context, 2).dims)
        : undefined,
    ];
  },
  undefined,
  takenAlike(0),
);

/**
 * y = max or min of several tensors: all to the winner, ties share equally or go to the first (thesis 2.33–2.35). What a constant
 * wins is absorbed like a bias.
 */
const extreme: OperatorSupport = {
  family: 'Selection',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.33–2.35: all to the winner, ties share',
  evenly: amongInputs,
  rescale: (context, explain) => rescaledExtreme(context.node.op === 'Min' ? 'Min' : 'Max')(context, explain),
  explain(context) {
    const { emit, inputs, outputs, rule } = context;
    const relevance = arriving(context);
    const y = outputs[0]!;
    const won = inputs.map((_, index) => emit.indicator(emit.compare('Equal', required(context, index), y)));
    let shares: Value[];
    if (rule.ties === 'split') {
      const quotient = emit.div(
        relevance,
        won.reduce((sum, one) => emit.add(sum, one)),
      );
      shares = won.map((one) => emit.mul(one, quotient));
    } else {
      let left = relevance;
      shares = won.map((one) => {
        const share = emit.mul(one, left);
        left = emit.sub(left, share);
        return share;
      });
    }
    return inputs.map((input, index) => {
      if (context.wants(index)) return emit.unbroadcast(shares[index]!, input!.dims);
      context.absorb(shares[index]!);
      return undefined;
    });
  },
};

/** The k largest or smallest values: each moves back to where the indices say it was taken. */
const topK = moving(
  (context) => {
    const { emit, node, outputs } = context;
    const x = required(context, 0);
    const axis = fromFront(intAttribute(node, 'axis', -1), x.dims.length);
    const indices = outputs[1];
    if (indices === undefined) {
      throw new UnsupportedOperatorError(node.name, node.op, 'its second output, the indices, is left out.');
    }
    const nothing = emit.filled(0, x.dims);
    return [emit.op('ScatterElements', [nothing, indices, arriving(context)], x.dims, { axis: int(axis) })];
  },
  undefined,
  takenAlike(),
);

/** Indices and their shape. */
interface Indices {
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

/** The indices of a node where they are constant. */
function constantIndices(context: NodeContext): Indices | undefined {
  const tensor = context.constantAt(1);
  return tensor === undefined ? undefined : { dims: tensor.dims, values: [...numbersOf(tensor)] };
}

/** For every element of `indices` along `axis` of `dims`: the flat position that it points to. */
function elementPositions(indices: Indices, axis: number, dims: readonly number[]): Int32Array {
  const strides = stridesOf(dims);
  const own = stridesOf(indices.dims);
  return Int32Array.from(indices.values, (value, k) =>
    dims.reduce((at, length, d) => {
      const index = d === axis ? fromFront(value, length) : Math.floor(k / own[d]!) % indices.dims[d]!;
      return at + index * strides[d]!;
    }, 0),
  );
}

/** For every element that index tuples point to, after `batch` common axes: its flat position in `dims`. */
function tuplePositions(indices: Indices, dims: readonly number[], batch: number): Int32Array {
  const depth = indices.dims.at(-1)!;
  const tuples = sizeOf(indices.dims) / depth;
  const batches = sizeOf(dims.slice(0, batch));
  const inner = sizeOf(dims.slice(batch + depth));
  const strides = stridesOf(dims);
  const perBatch = sizeOf(dims.slice(batch));
  const positions = new Int32Array(tuples * inner);
  for (let tuple = 0; tuple < tuples; tuple++) {
    let at = Math.floor((tuple * batches) / tuples) * perBatch;
    for (let d = 0; d < depth; d++) {
      at += fromFront(indices.values[tuple * depth + d]!, dims[batch + d]!) * strides[batch + d]!;
    }
    for (let k = 0; k < inner; k++) positions[tuple * inner + k] = at + k;
  }
  return positions;
}

const axisOf = ({ node }: NodeContext, rank: number): number => fromFront(intAttribute(node, 'axis', 0), rank);

const gatherElements = moving((context) => {
  const { emit } = context;
  const { dims } = required(context, 0);
  const axis = axisOf(context, dims.length);
  const indices = constantIndices(context);
  if (indices === undefined) return [scatteredBack(emit, arriving(context), required(context, 1), axis, dims)];
  return [elementsBack(emit, arriving(context), elementPositions(indices, axis, dims), dims)];
});

const gatherND = moving((context) => {
  const { emit, node } = context;
  const { dims } = required(context, 0);
  const batch = intAttribute(node, 'batch_dims', 0);
  const indices = constantIndices(context);
  if (indices !== undefined) {
    return [elementsBack(emit, arriving(context), tuplePositions(indices, dims, batch), dims)];
  }
  if (batch !== 0) throw new UnsupportedOperatorError(node.name, node.op, 'its indices are computed, per batch.');
  const relevance = emit.expand(arriving(context), context.outputs[0]!.dims);
  return [
    emit.op('ScatterND', [emit.filled(0, dims), required(context, 1), relevance], dims, { reduction: text('add') }),
  ];
}, 'computed indices without batch_dims');

/** How the two operators that scatter name cells: what they write there, and what is found there. */
interface Scattering {
  readonly positions: (context: NodeContext, indices: Indices, dims: readonly number[]) => Int32Array;
  readonly write: (context: NodeContext, data: Value, updates: Value) => Value;
  readonly read: (context: NodeContext, data: Value, dims: readonly number[]) => Value;
}

/** What an update overwrote gets no relevance, the update gets that of the cell it was written to. */
const scatter = ({ positions, write, read }: Scattering): OperatorSupport => ({
  ...moving((context) => {
    const { emit } = context;
    const data = required(context, 0);
    const updates = required(context, 2);
    const relevance = emit.expand(arriving(context), data.dims);
    const indices = constantIndices(context);
    if (indices === undefined) {
      return [
        context.wants(0) ? write(context, relevance, emit.filled(0, updates.dims)) : undefined,
        undefined,
        context.wants(2) ? read(context, relevance, updates.dims) : undefined,
      ];
    }
    const places = positions(context, indices, data.dims);
    const kept = new Float32Array(within(sizeOf(data.dims), 'cells')).fill(1);
    // of several updates of one cell the last one stays
    const writers = new Int32Array(kept.length).fill(-1);
    places.forEach((at, k) => {
      kept[at] = 0;
      writers[at] = k;
    });
    return [
      context.wants(0) ? emit.mul(relevance, emit.constant(kept, data.dims)) : undefined,
      undefined,
      context.wants(2) ? elementsBack(emit, relevance, writers, updates.dims) : undefined,
    ];
  }, 'updates that are added up; no other reduction'),
  variant: (node) => (textAttribute(node, 'reduction', 'none') === 'none' ? undefined : accumulated(read)),
});

/** y = data + Σ updates at their cells: every summand gets its share (thesis 2.39). */
const accumulated = (read: Scattering['read']): OperatorSupport => ({
  family: 'Selection',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39',
  evenly(context, explain) {
    const { emit, node, rule } = context;
    const [data, updates] = [required(context, 0), required(context, 2)];
    const ones = [emit.filled(1, data.dims), indexValue(context), emit.filled(1, updates.dims)];
    const counts = emit.op(node.op, ones, data.dims, Object.fromEntries(node.attributes));
    const relevance = [emit.div(arriving(context), counts)];
    return explain({ ...context, rule: { ...rule, name: 'gradient' }, relevance });
  },
  rescale: takenAlike(indicesAt),
  explain(context) {
    const { emit, node, rule, outputs } = context;
    if (textAttribute(node, 'reduction', 'none') !== 'add') {
      throw new UnsupportedOperatorError(node.name, node.op, 'it reduces what it scatters, other than by a sum.');
    }
    const [data, updates] = [required(context, 0), required(context, 2)];
    const relevance = emit.expand(arriving(context), data.dims);
    const gradient = rule.name === 'gradient';
    const s = gradient ? relevance : relevanceQuotient(context, relevance, outputs[0]!, rule.stabilizer);
    const share = (own: Value, back: Value): Value => (gradient ? back : emit.mul(own, back));
    return [
      context.wants(0) ? share(data, s) : undefined,
      undefined,
      context.wants(2) ? share(updates, read(context, s, updates.dims)) : undefined,
    ];
  },
});

/** The indices as a value, for nodes that are written with them. */
function indexValue(context: NodeContext): Value {
  const tensor = context.constantAt(1);
  if (tensor === undefined) return required(context, 1);
  return context.emit.reshape(context.emit.integers([...numbersOf(tensor)]), tensor.dims);
}

const scatterElements = scatter({
  positions: (context, indices, dims) => elementPositions(indices, axisOf(context, dims.length), dims),
  write: (context, data, updates) =>
    context.emit.op('ScatterElements', [data, indexValue(context), updates], data.dims, {
      axis: int(axisOf(context, data.dims.length)),
    }),
  read: (context, data, dims) =>
    context.emit.op('GatherElements', [data, indexValue(context)], dims, {
      axis: int(axisOf(context, data.dims.length)),
    }),
});

const scatterND = scatter({
  positions: (_, indices, dims) => tuplePositions(indices, dims, 0),
  write: (context, data, updates) => context.emit.op('ScatterND', [data, indexValue(context), updates], data.dims),
  read: (context, data, dims) => context.emit.op('GatherND', [data, indexValue(context)], dims),
});

/** Operators that pick elements by condition, by size or by index. */
export const selectionOperators: Readonly<Record<string, OperatorSupport>> = {
  Where: where,
  Max: extreme,
  Min: extreme,
  TopK: topK,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
};
