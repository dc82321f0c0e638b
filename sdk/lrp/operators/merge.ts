import { UnsupportedOperatorError } from '../../errors.js';
import type { Value } from '../emitter.js';
import { type Denominator, outputDenominator, relevanceQuotient } from '../linear.js';
import { amongInputs } from './evenly.js';
import { activatedFactor, isGate, isInverse } from './gates.js';
import { arriving, type NodeContext, type OperatorSupport, required, type Way } from './operator.js';
import { atReference, midway, throughProduct } from './rescale.js';

/**
 * y = ±a ± b ± … : every summand gets its share a/Σ of the relevance (thesis 2.39). A constant summand is a bias and is treated
 * as the composite says: absorbed, left out of the sum, or handed to the others.
 */
function sharesOf(context: NodeContext, signs: readonly (1 | -1)[]): (Value | undefined)[] {
  const { emit, rule, inputs, outputs } = context;
  const relevance = arriving(context);
  const signed = (index: number): Value => {
    const value = required(context, index);
    return signs[index] === 1 ? value : emit.mul(value, emit.scalar(-1));
  };
  const each = (share: (index: number) => Value): (Value | undefined)[] =>
    inputs.map((input, index) =>
      input !== undefined && context.wants(index) ? emit.unbroadcast(share(index), input.dims) : undefined,
    );
  if (rule.name === 'gradient') {
    return each((index) =>
      emit.expand(signs[index] === 1 ? relevance : emit.mul(relevance, emit.scalar(-1)), outputs[0]!.dims),
    );
  }
  const indices = inputs.map((_, index) => index);
  const wanted = indices.filter((index) => context.wants(index));
  const constants = indices.filter((index) => inputs[index] !== undefined && !context.wants(index));
  if (wanted.length === 1 && (constants.length === 0 || rule.bias !== 'absorb')) return each(() => relevance);

  const sum = (list: readonly number[]): Value => list.map(signed).reduce((total, value) => emit.add(total, value));
  const counted: Denominator =
    constants.length > 0 && rule.bias === 'ignore'
      ? { value: sum(wanted), sign: 'any' }
      : outputDenominator(outputs[0]!, context);
  const s = relevanceQuotient(context, relevance, counted.value, rule.stabilizer, counted.sign);
  if (constants.length > 0 && rule.bias === 'absorb') context.absorb(emit.mul(sum(constants), s));
  const handed =
    constants.length > 0 && rule.bias === 'distribute'
      ? emit.mul(emit.mul(sum(constants), s), emit.scalar(1 / wanted.length))
      : undefined;
  return each((index) => {
    const share = emit.mul(signed(index), s);
    return handed === undefined ? share : emit.add(share, handed);
  });
}

const merged = (signsOf: (count: number) => readonly (1 | -1)[]): OperatorSupport => ({
  family: 'Merges',
  rules: ['norm', 'gradient'],
  source: 'thesis 2.39',
  evenly: amongInputs,
  rescale: 'linear',
  explain: (context) => sharesOf(context, signsOf(context.inputs.length)),
});

/**
 * y = a·b or a/b. A constant factor passes relevance on; a gate gets none, the signal that it weighs all (Arras et al. 2017). An
 * activation written out as a product of two functions of x is an activation. Otherwise both factors get half: each alone, by
 * a_i · ∂y/∂a_i = y, would claim the whole of it (Achtibat et al. 2024). A divisor that depends on the input, also one
 * that is multiplied with as its inverse, is a normaliser, held constant.
 */
function product(context: NodeContext): (Value | undefined)[] {
  const { emit, node, rule, inputs, outputs } = context;
  const relevance = arriving(context);
  const factors = [required(context, 0), required(context, 1)] as const;
  const wanted = [0, 1].filter((index) => context.wants(index));
  const to = (index: number, value: Value): (Value | undefined)[] =>
    inputs.map((input, k) => (k === index && input !== undefined ? emit.unbroadcast(value, input.dims) : undefined));

  if (rule.name === 'gradient') {
    if (node.op === 'Mul') {
      return [0, 1].map((index) =>
        context.wants(index)
          ? emit.unbroadcast(emit.mul(relevance, factors[1 - index]!), factors[index]!.dims)
          : undefined,
      );
    }
    const quotient = emit.div(relevance, factors[1]);
    const toDivisor = emit.mul(emit.mul(quotient, outputs[0]!), emit.scalar(-1));
    return [
      context.wants(0) ? emit.unbroadcast(quotient, factors[0].dims) : undefined,
      context.wants(1) ? emit.unbroadcast(toDivisor, factors[1].dims) : undefined,
    ];
  }
  if (wanted.length === 1) {
    if (node.op === 'Div' && wanted[0] === 1) {
      throw new UnsupportedOperatorError(node.name, node.op, 'a constant is divided by an activation.');
    }
    return to(wanted[0]!, emit.expand(relevance, outputs[0]!.dims));
  }
  if (node.op === 'Div') return to(0, relevance);
  const gates = rule.gates === 'halves' ? [] : [0, 1].filter((index) => isGate(context, index));
  if (gates.length === 1) return to(1 - gates[0]!, relevance);
  const activated = activatedFactor(context);
  if (activated !== undefined) return to(activated, relevance);
  const inverses = [0, 1].filter((index) => isInverse(context, index));
  if (inverses.length === 1) return to(1 - inverses[0]!, relevance);
  const half = emit.mul(emit.expand(relevance, outputs[0]!.dims), emit.scalar(0.5));
  return factors.map((factor) => emit.unbroadcast(half, factor.dims));
}

/** Multipliers of a quotient: those of the product with 1/b, whose slope is −1 / (b·b′). */
const rescaledQuotient: Way = (context) => {
  const { emit } = context;
  const [a, b] = [required(context, 0), required(context, 1)];
  const [inverse, reference] = [b, atReference(context, b)].map((value) => emit.op('Reciprocal', [value], b.dims)) as [
    Value,
    Value,
  ];
  const to = (index: number, factor: Value, slopes: Value): Value | undefined =>
    context.wants(index) ? emit.unbroadcast(emit.mul(arriving(context), slopes), factor.dims) : undefined;
  const inverses = emit.mul(emit.add(inverse, reference), emit.scalar(0.5));
  const steep = emit.mul(emit.mul(inverse, reference), emit.scalar(-1));
  return [to(0, a, inverses), to(1, b, emit.mul(midway(context, a), steep))];
};

const multiplied: OperatorSupport = {
  family: 'Merges',
  rules: ['pass', 'gradient'],
  source: 'thesis 2.37; gates after Arras et al. 2017, other products in halves after Achtibat et al. 2024',
  evenly: 'usual',
  rescale: (context, explain) => (context.node.op === 'Div' ? rescaledQuotient : throughProduct)(context, explain),
  explain: product,
};

/** Sums, differences, and products with constants or gates. */
export const mergeOperators: Readonly<Record<string, OperatorSupport>> = {
  Add: merged(() => [1, 1]),
  Sum: merged((count) => new Array<1>(count).fill(1)),
  Sub: merged(() => [1, -1]),
  Mul: multiplied,
  Div: multiplied,
};
