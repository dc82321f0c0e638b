import { textAttribute } from '../../graph/graph.js';
import type { Value } from '../emitter.js';
import { within } from '../limits.js';
import type { Evenly, NodeContext } from './operator.js';
import { required } from './operator.js';

/** How much of the relevance of every step comes to every step's input: [to, from], and to the state before the first, [from]. */
function sharesOverTime(length: number, inputs: number, hidden: number, reversed: boolean, carriesOn: boolean) {
  const kept = hidden / (inputs + hidden);
  const matrix = new Float32Array(within(length * length, 'pairs of steps'));
  const initial = new Float32Array(length);
  for (let from = 0; from < length; from++) {
    const stepsBefore = reversed ? length - 1 - from : from;
    for (let back = 0; back <= stepsBefore; back++) {
      const to = reversed ? from + back : from - back;
      // before the first step is nothing to carry on to, unless its state is wanted
      const ends = back === stepsBefore && !carriesOn;
      matrix[to * length + from] = kept ** back * (ends ? 1 : 1 - kept);
    }
    initial[from] = kept ** (stepsBefore + 1);
  }
  return { matrix, initial };
}

/** Relevance per step and sample, [time, batch], of one direction's outputs. */
function arrivingPerStep({ emit, relevance }: NodeContext, direction: number, length: number, last: number): Value {
  const [all, ...final] = relevance;
  const batch = (all ?? final.find((value) => value !== undefined))!.dims.at(-2)!;
  const row = (value: Value, axis: number): Value =>
    emit.reduce('Sum', emit.slice(value, [direction], [direction + 1], [axis]), [value.dims.length - 1]);
  const perStep = all && emit.reshape(row(all, 1), [length, batch]);
  const atLast = final.flatMap((value) => (value === undefined ? [] : [emit.reshape(row(value, 0), [1, batch])]));
  const [first, ...others] = atLast;
  if (first === undefined) return perStep ?? emit.filled(0, [length, batch]);
  const sum = others.reduce((total, value) => emit.add(total, value), first);
  const placed = emit.pad(sum, [last, 0, length - 1 - last, 0]);
  return perStep === undefined ? placed : emit.add(perStep, placed);
}

/**
 * A recurrent layer where the decomposition has ended: every step spreads its relevance evenly over what it reads, the I elements of
 * its input and the H of the state before it. So H/(I + H) of it goes on to the step before, and so forth: one small product with a
 * constant matrix over time, whatever the weights are.
 */
export const evenlyThroughTime: Evenly = (context) => {
  const { emit, node, inputs } = context;
  const x = required(context, 0);
  const [length, batch, features] = x.dims as [number, number, number];
  const hidden = required(context, 2).dims[2]!;
  const direction = textAttribute(node, 'direction', 'forward');
  const directions = (direction === 'bidirectional' ? [false, true] : [direction === 'reverse']).map(
    (reversed, index) => {
      const { matrix, initial } = sharesOverTime(length, features, hidden, reversed, context.wants(5));
      const perStep = arrivingPerStep(context, index, length, reversed ? 0 : length - 1);
      const over = (shares: Float32Array, rows: number, count: number): Value =>
        emit.mul(
          emit.op('MatMul', [emit.constant(shares, [rows, length]), perStep], [rows, batch]),
          emit.scalar(1 / count),
        );
      return {
        x: emit.expand(emit.reshape(over(matrix, length, features), [length, batch, 1]), x.dims),
        initial: () => emit.expand(emit.reshape(over(initial, 1, hidden), [1, batch, 1]), [1, batch, hidden]),
      };
    },
  );
  const result = new Array<Value | undefined>(inputs.length).fill(undefined);
  result[0] = directions.map((one) => one.x).reduce((sum, one) => emit.add(sum, one));
  if (context.wants(5)) {
    result[5] = emit.concat(
      directions.map((one) => one.initial()),
      0,
    );
  }
  return result;
};
