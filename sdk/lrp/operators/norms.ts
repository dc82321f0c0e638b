import { intAttribute, sizeOf } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { relevanceQuotient, stableQuotient } from '../linear.js';
import { arriving, type NodeContext, type OperatorSupport, required, type Way } from './operator.js';
import { acrossReduced, cellsReached, keptDims, overWindows, reducedAxes } from './pooling.js';
import { atReference, slope } from './rescale.js';

type Norm = 'L1' | 'L2' | 'squares';

const NORMS: Readonly<Record<string, Norm>> = { ReduceL1: 'L1', ReduceL2: 'L2', ReduceSumSquare: 'squares' };

const normOf = ({ node }: NodeContext): Norm => NORMS[node.op]!;

/** Σx² is a sum of products, so its multipliers are x + x′; those of its root 1 / (y + y′), those of |x| the slopes Δ|x| / Δx. */
const rescaledNorm: Way = (context) => {
  const { emit, outputs } = context;
  const x = required(context, 0);
  const reference = atReference(context, x);
  const kept = keptDims(x.dims, reducedAxes(context));
  const at = (value: Value): Value => emit.reshape(value, kept);
  const multiplier = at(arriving(context));
  const kind = normOf(context);
  if (kind === 'L1') {
    const absolute = (value: Value): Value => emit.op('Abs', [value], x.dims);
    const steep = emit.sub(
      emit.scalar(1),
      emit.mul(emit.scalar(2), emit.indicator(emit.compare('Less', x, emit.scalar(0)))),
    );
    return [
      emit.mul(multiplier, slope(emit, emit.sub(absolute(x), absolute(reference)), emit.sub(x, reference), steep)),
    ];
  }
  const toSum =
    kind === 'squares'
      ? multiplier
      : stableQuotient(
          emit,
          multiplier,
          emit.add(at(outputs[0]!), at(atReference(context, outputs[0]!))),
          context.stabilizer,
          'positive',
        );
  return [emit.mul(emit.add(x, reference), toSum)];
};

/**
 * y = Σ|x|, √Σx² or Σx² over some axes: every element gets its share of the sum (thesis 2.39), R_i = |x_i|^p / Σ|x|^p · R with p = 1
 * or 2. The sum is y itself, or y² under the root.
 */
const norm: OperatorSupport = {
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39 for powers of x',
  evenly: acrossReduced,
  rescale: rescaledNorm,
  explain(context) {
    const { emit, outputs, rule } = context;
    const x = required(context, 0);
    const kind = normOf(context);
    const kept = keptDims(x.dims, reducedAxes(context));
    const relevance = emit.reshape(arriving(context), kept);
    const y = emit.reshape(outputs[0]!, kept);
    if (rule.name === 'gradient') {
      if (kind === 'squares') return [emit.mul(emit.mul(x, emit.scalar(2)), relevance)];
      if (kind === 'L2') return [emit.mul(x, stableQuotient(emit, relevance, y, rule.stabilizer))];
      return [emit.mul(signOf(emit, x), relevance)];
    }
    const sum = kind === 'L2' ? emit.mul(y, y) : y;
    const weights = kind === 'L1' ? emit.op('Abs', [x], x.dims) : emit.mul(x, x);
    return [emit.mul(weights, relevanceQuotient(context, relevance, sum, rule.stabilizer, 'positive'))];
  },
};

/**
 * y = (Σ|x|^p)^(1/p) over windows, or over all of space: shares |x_i|^p / Σ|x|^p (thesis 2.39). The gradient is
 * sign(x) |x|^(p−1) / y^(p−1).
 */
const lpPool: OperatorSupport = {
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39 for powers of x',
  evenly(context) {
    return [overPlaces(context, context.emit.div(arriving(context), cellsOf(context)))];
  },
  explain(context) {
    const { emit, node, outputs, rule } = context;
    const x = required(context, 0);
    const p = intAttribute(node, 'p', 2);
    const absolute = emit.op('Abs', [x], x.dims);
    const y = outputs[0]!;
    if (rule.name !== 'gradient') {
      const s = relevanceQuotient(context, arriving(context), power(emit, y, p), rule.stabilizer, 'positive');
      return [emit.mul(power(emit, absolute, p), overPlaces(context, s))];
    }
    if (p === 1) return [emit.mul(signOf(emit, x), overPlaces(context, arriving(context)))];
    const s = stableQuotient(emit, arriving(context), power(emit, y, p - 1), rule.stabilizer);
    return [emit.mul(emit.mul(signOf(emit, x), power(emit, absolute, p - 1)), overPlaces(context, s))];
  },
};

/** 1, −1, or 0 where x is 0. */
export function signOf(emit: Emitter, x: Value): Value {
  const right = emit.indicator(emit.compare('Greater', x, emit.scalar(0)));
  return emit.sub(right, emit.indicator(emit.compare('Less', x, emit.scalar(0))));
}

/** x^p of values that are not negative, without a power where there is another way. */
function power(emit: Emitter, x: Value, p: number): Value {
  if (p === 0) return emit.filled(1, x.dims);
  if (p === 1) return x;
  return p === 2 ? emit.mul(x, x) : emit.op('Pow', [x, emit.scalar(p)], x.dims);
}

const isGlobal = ({ node }: NodeContext): boolean => node.op === 'GlobalLpPool';

/** A value per output at all cells that it reaches. */
const overPlaces = (context: NodeContext, perCell: Value): Value =>
  isGlobal(context)
    ? context.emit.expand(perCell, required(context, 0).dims)
    : overWindows(context, context.emit.expand(perCell, context.outputs[0]!.dims));

const cellsOf = (context: NodeContext): Value =>
  isGlobal(context) ? context.emit.scalar(sizeOf(required(context, 0).dims.slice(2))) : cellsReached(context);

/**
 * y = log Σ exp x: a maximum that is shared softly. Every element gets its softmax exp(x_i − y), which is its gradient too.
 */
const logSumExp: OperatorSupport = {
  family: 'Pooling',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.33–2.35, softly: the softmax shares',
  evenly: acrossReduced,
  explain(context) {
    const { emit, outputs } = context;
    const x = required(context, 0);
    const kept = keptDims(x.dims, reducedAxes(context));
    const share = emit.op('Exp', [emit.sub(x, emit.reshape(outputs[0]!, kept))], x.dims);
    return [emit.mul(share, emit.reshape(arriving(context), kept))];
  },
};

/** Norms along axes and over windows. */
export const normOperators: Readonly<Record<string, OperatorSupport>> = {
  ReduceL1: norm,
  ReduceL2: norm,
  ReduceSumSquare: norm,
  GlobalLpPool: lpPool,
  LpPool: lpPool,
  ReduceLogSumExp: logSumExp,
};
