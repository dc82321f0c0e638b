import type { Value } from '../emitter.js';
import { arriving, type Evenly, type NodeContext, required } from './operator.js';

/** Divides the relevance by what ones would add up to, and lets the chain rule carry it to the inputs reached. */
export function overReached(onesOf: (context: NodeContext) => Value | undefined): Evenly {
  return (context, explain) => {
    const { emit, rule } = context;
    const ones = onesOf(context);
    const relevance = ones === undefined ? arriving(context) : emit.div(arriving(context), ones);
    return explain({ ...context, rule: { ...rule, name: 'gradient' }, relevance: [relevance] });
  };
}

/** Every input that relevance is wanted for gets the same share, whatever its value and sign. */
export const amongInputs: Evenly = (context) => {
  const { emit, inputs } = context;
  const wanted = inputs.filter((_, index) => context.wants(index)).length;
  const share = emit.expand(emit.mul(arriving(context), emit.scalar(1 / wanted)), context.outputs[0]!.dims);
  return inputs.map((input, index) =>
    input !== undefined && context.wants(index) ? emit.unbroadcast(share, input.dims) : undefined,
  );
};

/** One to one, as if the operator only scaled every element. */
export const toItsPlace: Evenly = (context) => [arriving(context)];

/** The average of ones: less than one where a window reaches into padding that counts. */
export function averageOfOnes(context: NodeContext): Value {
  const { emit, node, outputs } = context;
  const ones = emit.filled(1, [1, 1, ...required(context, 0).dims.slice(2)]);
  const dims = [1, 1, ...outputs[0]!.dims.slice(2)];
  return emit.op('AveragePool', [ones], dims, Object.fromEntries(node.attributes));
}
