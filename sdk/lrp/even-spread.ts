import { sizeOf } from '../graph/graph.js';
import type { Value } from './emitter.js';
import { arriving, type NodeContext, type OperatorSupport, required } from './operators/operator.js';

type Explain = OperatorSupport['explain'];

/** Divides the relevance by what ones would add up to, and lets the chain rule carry it to the inputs reached. */
function overReached(onesOf: (context: NodeContext) => Value | undefined) {
  return (context: NodeContext, explain: Explain): ReturnType<Explain> => {
    const { emit, rule } = context;
    const ones = onesOf(context);
    const relevance = ones === undefined ? arriving(context) : emit.div(arriving(context), ones);
    return explain({ ...context, rule: { ...rule, name: 'gradient' }, relevance: [relevance] });
  };
}

/** Every summand that relevance is wanted for gets the same share, whatever its value and sign. */
function amongSummands(context: NodeContext): ReturnType<Explain> {
  const { emit, inputs } = context;
  const wanted = inputs.filter((_, index) => context.wants(index)).length;
  const share = emit.expand(emit.mul(arriving(context), emit.scalar(1 / wanted)), context.outputs[0]!.dims);
  return inputs.map((input, index) =>
    input !== undefined && context.wants(index) ? emit.unbroadcast(share, input.dims) : undefined,
  );
}

/** The average of ones: less than one where a window reaches into padding that counts. */
function averageOfOnes(context: NodeContext): Value {
  const { emit, node, outputs } = context;
  const ones = emit.filled(1, [1, 1, ...required(context, 0).dims.slice(2)]);
  const dims = [1, 1, ...outputs[0]!.dims.slice(2)];
  return emit.op('AveragePool', [ones], dims, Object.fromEntries(node.attributes));
}

const toItsPlace = (context: NodeContext): ReturnType<Explain> => [arriving(context)];
const NORMALIZATIONS = [
  ...['BatchNormalization', 'InstanceNormalization', 'GroupNormalization', 'LayerNormalization', 'RMSNormalization'],
  ...['MeanVarianceNormalization', 'LRN'],
];

/**
 * How relevance that a flat layer has spread goes on through layers without weights (thesis 5.4.2). Their usual shares x_i / Σx would
 * lose it wherever a unit is silent; so they are flat themselves: every input that is reached gets the same.
 */
export const evenSpread: Readonly<Record<string, (context: NodeContext, explain: Explain) => ReturnType<Explain>>> = {
  Add: amongSummands,
  AveragePool: overReached(averageOfOnes),
  GlobalAveragePool: overReached(() => undefined),
  ReduceMean: overReached(() => undefined),
  ReduceSum: overReached((context) => {
    const { emit, outputs } = context;
    return emit.scalar(sizeOf(required(context, 0).dims) / sizeOf(outputs[0]!.dims));
  }),
  Resize: overReached(() => undefined),
  Sub: amongSummands,
  Sum: amongSummands,
  ...Object.fromEntries(NORMALIZATIONS.map((op) => [op, toItsPlace])),
};
