import type { Value } from '../emitter.js';
import { type LinearRule, relevanceQuotient } from '../linear.js';

/**
 * Messages x_i w_ij − l_i w⁺_ij − h_i w⁻_ij for inputs within [l, h] (Montavon et al. 2017); the bias cancels.
 * With U = J(w)ᵀs and A = J(w⁺)ᵀs, R = (x − h)·U + (h − l)·A. `low` and `high` broadcast to the input.
 */
export const zBoxRule: LinearRule<{ low: Value; high: Value }> = (layer, relevance, context, { low, high }) => {
  const { emit, stabilizer } = context;
  const positive = emit.positive(layer.weights);
  const lowest = layer.forward(emit.expand(low, layer.input.dims), positive);
  const highest = layer.forward(emit.expand(high, layer.input.dims), emit.negative(layer.weights));
  const border = emit.add(lowest, highest);
  const z = emit.sub(
    context.rectified ?? layer.output,
    layer.bias === undefined ? border : emit.add(border, layer.bias),
  );
  const s = relevanceQuotient(context, relevance, z, stabilizer);
  const u = layer.backward(s, layer.weights);
  const a = layer.backward(s, positive);
  return emit.add(emit.mul(emit.sub(layer.input, high), u), emit.mul(emit.sub(high, low), a));
};
