import { floatAttribute } from '../../graph/graph.js';
import { stableQuotient } from '../linear.js';
import { arriving, type OperatorSupport, required } from './operator.js';

/** A BatchNormalization that could not be merged: x·s·R / z (thesis 2.54), z = s·x + b as the forward pass computed it. */
const batchNormalization: OperatorSupport = {
  family: 'Normalisation',
  rules: ['z', 'epsilon', 'pass', 'gradient'],
  source: 'thesis 2.54 where it stands alone; merged into its linear layer where that is exact',
  explain(context) {
    const { emit, node, rule, outputs } = context;
    const x = required(context, 0);
    const relevance = arriving(context);
    if (rule.name === 'pass' || (rule.name !== 'gradient' && rule.bias !== 'absorb')) return [relevance];
    const channels = [1, x.dims[1]!, ...x.dims.slice(2).map(() => 1)];
    const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => emit.reshape(required(context, index), channels));
    const deviation = emit.op(
      'Sqrt',
      [emit.add(variance!, emit.scalar(floatAttribute(node, 'epsilon', 1e-5)))],
      channels,
    );
    const scale = emit.div(gamma!, deviation);
    if (rule.name === 'gradient') return [emit.mul(relevance, scale)];
    const s = stableQuotient(emit, relevance, outputs[0]!, rule.epsilon);
    context.absorb(emit.mul(emit.sub(beta!, emit.mul(scale, mean!)), s));
    return [emit.mul(emit.mul(x, scale), s)];
  },
};

/** Normalisation layers. */
export const normalizationOperators: Readonly<Record<string, OperatorSupport>> = {
  BatchNormalization: batchNormalization,
};
