import type { TiePolicy } from '../composite.js';
import { type Emitter, LOWEST, type Value, type Window, windowAttributes } from '../emitter.js';
import { within } from '../limits.js';

/** Every cell of a window takes nodes of its own. */
const MOST_CELLS = 2 ** 12;

/** A window along one axis of a tensor. */
interface Line {
  readonly axis: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** padding in front */
  readonly begin: number;
  /** number of windows */
  readonly outputs: number;
}

/** Where the k-th cell of every window stands, once the axis is cut into `stride` phases: in phase `phase`, `shift` cells on. */
const placeOf = ({ stride, dilation }: Line, k: number): { phase: number; shift: number } => ({
  phase: (k * dilation) % stride,
  shift: Math.floor((k * dilation) / stride),
});

/** Cells of a phase, those that no window reaches included. */
const phaseLength = ({ kernel, stride, dilation, outputs }: Line): number =>
  outputs + Math.floor(((kernel - 1) * dilation) / stride);

const withAxis = (dims: readonly number[], axis: number, ...sizes: readonly number[]): number[] => [
  ...dims.slice(0, axis),
  ...sizes,
  ...dims.slice(axis + 1),
];

/** Pads [begin, end] along one axis. */
function padAxis(emit: Emitter, a: Value, axis: number, begin: number, end: number, value = 0): Value {
  const pads = new Array<number>(2 * a.dims.length).fill(0);
  pads[axis] = begin;
  pads[axis + a.dims.length] = end;
  return emit.pad(a, pads, value);
}

/** The k-th cells of all windows, k = 0, 1, …: each with `outputs` cells along the axis. */
function cellsOf(emit: Emitter, x: Value, line: Line, padding: number): Value[] {
  const { axis, kernel, stride, begin, outputs } = line;
  const length = phaseLength(line);
  const cells = length * stride;
  const reached = Math.min(x.dims[axis]!, cells - begin);
  const whole = padAxis(emit, emit.slice(x, [0], [reached], [axis]), axis, begin, cells - begin - reached, padding);
  const apart = emit.reshape(whole, withAxis(x.dims, axis, length, stride));
  const phases = emit
    .split(apart, axis + 1, stride)
    .map((phase) => emit.reshape(phase, withAxis(x.dims, axis, length)));
  return Array.from({ length: kernel }, (_, k) => {
    const { phase, shift } = placeOf(line, k);
    return emit.slice(phases[phase]!, [shift], [shift + outputs], [axis]);
  });
}

/** The inverse of {@link cellsOf}: what the cells of all windows hold is added up at their place along the axis. */
function laidDown(emit: Emitter, cells: readonly Value[], line: Line, dims: readonly number[]): Value {
  const { axis, stride, begin, outputs } = line;
  const length = phaseLength(line);
  const phases = Array.from({ length: stride }, (_, phase) => {
    const own = cells.flatMap((cell, k) => {
      const place = placeOf(line, k);
      if (place.phase !== phase) return [];
      return padAxis(emit, cell, axis, place.shift, length - outputs - place.shift);
    });
    const sum = own.length === 0 ? undefined : own.reduce((total, value) => emit.add(total, value));
    return emit.reshape(sum ?? emit.filled(0, withAxis(dims, axis, length)), withAxis(dims, axis, length, 1));
  });
  const whole = emit.reshape(emit.concat(phases, axis + 1), withAxis(dims, axis, length * stride));
  const reached = Math.min(dims[axis]!, length * stride - begin);
  const kept = emit.slice(whole, [begin], [begin + reached], [axis]);
  return padAxis(emit, kept, axis, 0, dims[axis]! - reached);
}

/**
 * Max-pool relevance for windows that overlap, axis by axis, which takes Σk instead of Πk comparisons a window. The maximum over an
 * area is that over the maxima of its lines, and a cell wins the area when it wins its line and its line wins. Every winner gets
 * the same share s = R/n (thesis 2.33–2.35), n being the number of winners: those of a line are counted first, then those of the
 * lines that win. With `ties: first` a line's first winner and the first winning line are the first in row-major order.
 */
export function maximaByAxis(
  emit: Emitter,
  x: Value,
  y: Value,
  window: Window,
  ties: TiePolicy,
  relevance: Value,
): Value {
  const lines = window.kernel
    .map(
      (kernel, k): Line => ({
        axis: k + 2,
        kernel: within(kernel, 'cells of a window', MOST_CELLS),
        stride: within(window.strides[k]!, 'cells between windows', MOST_CELLS),
        dilation: window.dilations[k]!,
        begin: window.pads[k]!,
        outputs: y.dims[k + 2]!,
      }),
    )
    .filter(
      ({ kernel, stride, begin, axis, outputs }) => kernel > 1 || stride > 1 || begin > 0 || outputs !== x.dims[axis],
    )
    .reverse();
  const steps: { line: Line; masks: readonly Value[]; dims: readonly number[] }[] = [];
  let values = x;
  let count: Value | undefined;
  lines.forEach((line, k) => {
    const maxima = k === lines.length - 1 ? y : maximaAlong(emit, values, line, window.kernel.length);
    const candidates = cellsOf(emit, values, line, LOWEST).map((cell) =>
      emit.indicator(emit.compare('GreaterOrEqual', cell, maxima)),
    );
    const masks = ties === 'split' ? candidates : firstOf(emit, candidates);
    steps.push({ line, masks, dims: values.dims });
    if (ties === 'split') {
      const before = count && cellsOf(emit, count, line, 0);
      count = masks
        .map((mask, cell) => (before ? emit.mul(mask, before[cell]!) : mask))
        .reduce((a, b) => emit.add(a, b));
    }
    values = maxima;
  });
  const share = count === undefined ? relevance : emit.div(relevance, count);
  return steps.reduceRight(
    (value, { line, masks, dims }) =>
      laidDown(
        emit,
        masks.map((mask) => emit.mul(mask, value)),
        line,
        dims,
      ),
    share,
  );
}

/** The maxima of all windows along one axis. */
function maximaAlong(emit: Emitter, x: Value, line: Line, rank: number): Value {
  const along = (value: number, other: number): number[] =>
    Array.from({ length: rank }, (_, k) => (k + 2 === line.axis ? value : other));
  const span = (line.outputs - 1) * line.stride + (line.kernel - 1) * line.dilation + 1;
  const behind = Math.max(0, span - line.begin - x.dims[line.axis]!);
  return emit.op(
    'MaxPool',
    [x],
    withAxis(x.dims, line.axis, line.outputs),
    windowAttributes({
      kernel: along(line.kernel, 1),
      strides: along(line.stride, 1),
      dilations: along(line.dilation, 1),
      pads: [...along(line.begin, 0), ...along(behind, 0)],
    }),
  );
}

/** Of masks in their order, each less what an earlier one has taken. */
function firstOf(emit: Emitter, candidates: readonly Value[]): Value[] {
  let taken: Value | undefined;
  return candidates.map((mask) => {
    const first = taken === undefined ? mask : emit.sub(mask, emit.mul(mask, taken));
    taken = taken === undefined ? mask : emit.add(taken, first);
    return first;
  });
}
