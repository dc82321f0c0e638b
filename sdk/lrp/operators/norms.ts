import { UnsupportedOperatorError } from '../../errors.js';
import { intAttribute } from '../../graph/graph.js';
import type { Value } from '../emitter.js';
import { relevanceQuotient, stableQuotient } from '../linear.js';
import { arriving, type NodeContext, type OperatorSupport, required, type Way } from './operator.js';
import { acrossReduced, keptDims, reducedAxes } from './pooling.js';
import { atReference, slope } from './rescale.js';

type Norm = 'L1' | 'L2' | 'squares';

const NORMS: Readonly<Record<string, Norm>> = { ReduceL1: 'L1', ReduceL2: 'L2', ReduceSumSquare: 'squares' };

function normOf({ node }: NodeContext): Norm {
  const known = NORMS[node.op];
  if (known !== undefined) return known;
  const p = intAttribute(node, 'p', 2);
  if (p !== 1 && p !== 2) throw new UnsupportedOperatorError(node.name, node.op, `its exponent is ${p}.`);
  return p === 1 ? 'L1' : 'L2';
}

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
  limits: 'exponents 1 and 2',
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
      const right = emit.indicator(emit.compare('Greater', x, emit.scalar(0)));
      const left = emit.indicator(emit.compare('Less', x, emit.scalar(0)));
      return [emit.mul(emit.sub(right, left), relevance)];
    }
    const sum = kind === 'L2' ? emit.mul(y, y) : y;
    const weights = kind === 'L1' ? emit.op('Abs', [x], x.dims) : emit.mul(x, x);
    return [emit.mul(weights, relevanceQuotient(context, relevance, sum, rule.stabilizer, 'positive'))];
  },
};

/** Norms along axes. */
export const normOperators: Readonly<Record<string, OperatorSupport>> = {
  ReduceL1: norm,
  ReduceL2: norm,
  ReduceSumSquare: norm,
  GlobalLpPool: norm,
};
