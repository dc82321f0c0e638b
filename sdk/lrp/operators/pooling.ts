import { UnsupportedOperatorError } from '../../errors.js';
import { intAttribute, intsAttribute, sizeOf } from '../../graph/graph.js';
import type { TiePolicy } from '../composite.js';
import { type Emitter, LOWEST, type Value, type Window, windowOf } from '../emitter.js';
import { within } from '../limits.js';
import { relevanceQuotient } from '../linear.js';
import { reachedBy, transposedConvolution } from './convolution.js';
import { averageOfOnes, overReached } from './evenly.js';
import { maximaByAxis } from './maxima.js';
import {
  arriving,
  constantNumbers,
  type Evenly,
  fromFront,
  type NodeContext,
  type OperatorSupport,
  required,
} from './operator.js';
import { rescaledExtreme } from './rescale.js';

/**
 * Among cells of which `candidates` says (bool) which hold the maximum, those along `axes` that win: 1 for all of them and their
 * number (thesis 2.33–2.35: they share), or for the one that stands first in the order of `positions`.
 */
function winnersOf(
  emit: Emitter,
  candidates: Value,
  axes: readonly number[],
  positions: () => Value,
  count: number,
  ties: TiePolicy,
): { readonly mask: Value; readonly winners: Value | undefined } {
  if (ties === 'split') {
    const mask = emit.indicator(candidates);
    return { mask, winners: emit.reduce('Sum', mask, axes) };
  }
  const order = emit.where(candidates, positions(), emit.scalar(count));
  const first = emit.compare('Equal', order, emit.reduce('Min', order, axes));
  return { mask: emit.indicator(first), winners: undefined };
}

/** Windows that tile the input: no overlap, no gaps. */
const tiles = (window: Window): boolean =>
  window.kernel.every((kernel, axis) => window.strides[axis] === kernel && window.dilations[axis] === 1);

/** The cells that the windows of a tiling cover, cut or padded to whole windows, as [batch, channels, o₁, k₁, o₂, k₂, …]. */
function tiled(emit: Emitter, x: Value, window: Window, outputs: readonly number[], padding: number): Value {
  const rank = window.kernel.length;
  const behind = outputs.map((o, axis) => o * window.kernel[axis]! - window.pads[axis]! - x.dims[axis + 2]!);
  const axes = outputs.map((_, axis) => axis + 2);
  const cut = emit.slice(
    x,
    axes.map(() => 0),
    axes.map((axis, k) => x.dims[axis]! + Math.min(0, behind[k]!)),
    axes,
  );
  const begin = window.pads.slice(0, rank);
  const padded = emit.pad(cut, [0, 0, ...begin, 0, 0, ...behind.map((cells) => Math.max(0, cells))], padding);
  return emit.reshape(padded, [x.dims[0]!, x.dims[1]!, ...outputs.flatMap((o, axis) => [o, window.kernel[axis]!])]);
}

/** [batch, channels, o₁, 1, o₂, 1, …] → [batch, channels, o₁, k₁, o₂, k₂, …], every cell of a window the same. */
const stretched = (emit: Emitter, apart: Value, window: Window): Value =>
  window.kernel.reduce((value, kernel, axis) => emit.repeat(value, 3 + 2 * axis, kernel), apart);

/** The inverse of {@link tiled}: back to the input's shape, zero where no window came. */
function untiled(emit: Emitter, t: Value, window: Window, dims: readonly number[]): Value {
  const rank = window.kernel.length;
  const outputs = Array.from({ length: rank }, (_, axis) => t.dims[2 + 2 * axis]!);
  const whole = emit.reshape(t, [dims[0]!, dims[1]!, ...outputs.map((o, axis) => o * window.kernel[axis]!)]);
  const axes = outputs.map((_, axis) => axis + 2);
  const starts = window.pads.slice(0, rank);
  const ends = axes.map((axis, k) => Math.min(whole.dims[axis]!, starts[k]! + dims[axis]!));
  const kept = emit.slice(whole, starts, ends, axes);
  return emit.pad(kept, [0, 0, ...starts.map(() => 0), 0, 0, ...axes.map((axis) => dims[axis]! - kept.dims[axis]!)]);
}

/** {@link transposedConvolution} of a pooling window, which under ceil_mode reaches beyond the padding that it was given. */
function laidDown(emit: Emitter, s: Value, kernel: Value, window: Window, dims: readonly number[]): Value {
  const size = dims.slice(2);
  const begin = window.pads.slice(0, size.length);
  const end = size.map((length, k) => {
    const span = (s.dims[k + 2]! - 1) * window.strides[k]! + (window.kernel[k]! - 1) * window.dilations[k]! + 1;
    return Math.max(0, span - begin[k]! - length);
  });
  return transposedConvolution(emit, s, kernel, { ...window, pads: [...begin, ...end] }, 1, size);
}

function poolWindow(context: NodeContext): Window {
  return windowOf(context.node, intsAttribute(context.node, 'kernel_shape', []));
}

const maxPool: OperatorSupport = {
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.33–2.35: all to the winner, ties share',
  limits: 'first output only',
  evenly: 'usual',
  rescale: rescaledExtreme('Max'),
  explain(context) {
    const { emit, node, outputs, rule } = context;
    if (outputs.length > 1 && context.relevance[1] !== undefined) {
      throw new UnsupportedOperatorError(node.name, node.op, 'its indices are used.');
    }
    const x = required(context, 0);
    const y = outputs[0]!;
    const window = poolWindow(context);
    const size = y.dims.slice(2);
    const relevance = arriving(context);
    if (!tiles(window)) return [maximaByAxis(emit, x, y, window, rule.ties, relevance)];
    const apart = [...y.dims.slice(0, 2), ...size.flatMap((o) => [o, 1])];
    const axes = size.map((_, axis) => 3 + 2 * axis);
    const spread = (value: Value): Value => stretched(emit, emit.reshape(value, apart), window);
    const maximum = emit.compare('GreaterOrEqual', tiled(emit, x, window, size, LOWEST), spread(y));
    const positions = () => emit.range(sizeOf(window.kernel), [1, 1, ...window.kernel.flatMap((k) => [1, k])]);
    const { mask, winners } = winnersOf(emit, maximum, axes, positions, sizeOf(window.kernel), rule.ties);
    const each = emit.reshape(relevance, apart);
    const share = emit.mul(mask, stretched(emit, winners === undefined ? each : emit.div(each, winners), window));
    return [untiled(emit, share, window, x.dims)];
  },
};

/** What every output has for each of its cells, added up at the cells of the input: [batch, channels, …] in the input's shape. */
export function overWindows(context: NodeContext, perCell: Value): Value {
  const { emit } = context;
  const { dims } = required(context, 0);
  const window = poolWindow(context);
  const [batch, size] = [dims[0]! * dims[1]!, perCell.dims.slice(2)];
  if (tiles(window)) {
    const apart = emit.reshape(perCell, [...dims.slice(0, 2), ...size.flatMap((o) => [o, 1])]);
    return untiled(emit, stretched(emit, apart, window), window, dims);
  }
  const ones = emit.constant(new Float32Array(within(sizeOf(window.kernel), 'cells of a window')).fill(1), [
    1,
    1,
    ...window.kernel,
  ]);
  const flat = emit.reshape(perCell, [batch, 1, ...size]);
  return emit.reshape(laidDown(emit, flat, ones, window, [batch, 1, ...dims.slice(2)]), dims);
}

/** Cells of the input that each output of a pooling reaches, at least one, [1, 1, …]. */
export function cellsReached(context: NodeContext): Value {
  const size = context.outputs[0]!.dims.slice(2);
  const counts = reachedBy(required(context, 0).dims.slice(2), size, poolWindow(context));
  return context.emit.constant(
    counts.map((count) => Math.max(1, count)),
    [1, 1, ...size],
  );
}

const averagePool: OperatorSupport = {
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39',
  evenly: overReached(averageOfOnes),
  rescale: 'linear',
  explain(context) {
    const { emit, outputs, rule } = context;
    const x = required(context, 0);
    const y = outputs[0]!;
    const relevance = arriving(context);
    const s = rule.name === 'gradient' ? relevance : relevanceQuotient(context, relevance, y, rule.stabilizer);
    // y = Σx / n; the runtime itself says what n is at the border: the average of ones is (cells reached) / n
    const perCell = emit.mul(s, emit.div(averageOfOnes(context), cellsReached(context)));
    const spread = overWindows(context, perCell);
    return [rule.name === 'gradient' ? spread : emit.mul(x, spread)];
  },
};

/** The axes that a reduction takes away, counted from the front. */
export function reducedAxes(context: NodeContext): number[] {
  const { node } = context;
  const rank = required(context, 0).dims.length;
  if (node.op.startsWith('Global')) return Array.from({ length: rank - 2 }, (_, k) => k + 2);
  const attribute = node.attributes.get('axes');
  const axes = attribute?.kind === 'ints' ? attribute.value : (constantNumbers(context, 1) ?? []);
  if (axes.length > 0) return axes.map((axis) => fromFront(axis, rank));
  return intAttribute(node, 'noop_with_empty_axes', 0) === 1 ? [] : Array.from({ length: rank }, (_, axis) => axis);
}

/** A shape with the given axes reduced to 1. */
export const keptDims = (dims: readonly number[], axes: readonly number[]): number[] =>
  dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));

/** Every element along the reduced axes gets the same share. */
export const acrossReduced: Evenly = (context) => {
  const { emit } = context;
  const { dims } = required(context, 0);
  const axes = reducedAxes(context);
  const count = sizeOf(axes.map((axis) => dims[axis]!));
  const share = emit.mul(arriving(context), emit.scalar(1 / count));
  return [emit.expand(emit.reshape(share, keptDims(dims, axes)), dims)];
};

const reduction = (kind: 'mean' | 'sum'): OperatorSupport => ({
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39',
  evenly: acrossReduced,
  rescale: 'linear',
  explain(context) {
    const { emit, outputs, rule } = context;
    const x = required(context, 0);
    const axes = reducedAxes(context);
    const kept = keptDims(x.dims, axes);
    const count = sizeOf(axes.map((axis) => x.dims[axis]!));
    const relevance = emit.reshape(arriving(context), kept);
    const y = emit.reshape(outputs[0]!, kept);
    const s = rule.name === 'gradient' ? relevance : relevanceQuotient(context, relevance, y, rule.stabilizer);
    const perCell = kind === 'mean' ? emit.mul(s, emit.scalar(1 / count)) : s;
    return [rule.name === 'gradient' ? emit.expand(perCell, x.dims) : emit.mul(x, perCell)];
  },
});

const extreme = (which: 'Max' | 'Min'): OperatorSupport => ({
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.33–2.35',
  evenly: 'usual',
  rescale: rescaledExtreme(which),
  explain(context) {
    const { emit, outputs, rule } = context;
    const x = required(context, 0);
    const axes = reducedAxes(context);
    const kept = keptDims(x.dims, axes);
    const candidates = emit.compare('Equal', x, emit.reshape(outputs[0]!, kept));
    const along = x.dims.map((dim, axis) => (axes.includes(axis) ? dim : 1));
    const positions = () => emit.range(count, along);
    const count = sizeOf(along);
    const { mask, winners } = winnersOf(emit, candidates, axes, positions, count, rule.ties);
    const relevance = emit.reshape(arriving(context), kept);
    return [emit.mul(mask, winners === undefined ? relevance : emit.div(relevance, winners))];
  },
});

/** Pooling and reductions. */
export const poolingOperators: Readonly<Record<string, OperatorSupport>> = {
  AveragePool: averagePool,
  GlobalAveragePool: reduction('mean'),
  GlobalMaxPool: extreme('Max'),
  MaxPool: maxPool,
  ReduceMax: extreme('Max'),
  ReduceMin: extreme('Min'),
  ReduceMean: reduction('mean'),
  ReduceSum: reduction('sum'),
};
