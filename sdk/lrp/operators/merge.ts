import { UnsupportedOperatorError } from '../../errors.js';
import type { Value } from '../emitter.js';
import { stableQuotient } from '../linear.js';
import { arriving, type NodeContext, type OperatorSupport, required } from './operator.js';

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
  const counted = constants.length > 0 && rule.bias === 'ignore' ? sum(wanted) : outputs[0]!;
  const s = stableQuotient(emit, relevance, counted, rule.stabilizer);
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
  explain: (context) => sharesOf(context, signsOf(context.inputs.length)),
});

/** Outputs of these hold weights between 0 and 1: they steer the signal and carry none themselves (Arras et al. 2017). */
const GATES = new Set(['Sigmoid', 'HardSigmoid', 'Softmax']);

function isGate(context: NodeContext, index: number): boolean {
  const moved = new Set(['Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Expand', 'Identity']);
  let producer = context.producer(required(context, index).name);
  while (producer !== undefined && moved.has(producer.op)) producer = context.producer(producer.inputs[0]!);
  return producer !== undefined && GATES.has(producer.op);
}

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
  const gates = [0, 1].filter((index) => isGate(context, index));
  if (node.op === 'Mul' && gates.length === 1) return to(1 - gates[0]!, relevance);
  throw new UnsupportedOperatorError(
    node.name,
    node.op,
    'both sides are activations and neither is a gate (a sigmoid or softmax).',
  );
}

const multiplied: OperatorSupport = {
  family: 'Merges',
  rules: ['pass', 'gradient'],
  source: 'thesis 2.37; gates after Arras et al. 2017',
  limits: 'by a constant, or a signal times its gate',
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
