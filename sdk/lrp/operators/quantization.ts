import { arriving, type OperatorSupport } from './operator.js';

/**
 * A step of quantization changes how a value is stored, not what it stands for: relevance passes. What the layers around it see,
 * and what their rules share out, are the values as quantized.
 */
const passed: OperatorSupport = {
  family: 'Quantization',
  rules: ['pass'],
  source: 'thesis 2.37',
  evenly: 'usual',
  rescale: 'linear',
  explain: (context) => [arriving(context)],
};

/** QuantizeLinear, DequantizeLinear, and DynamicQuantizeLinear, whose scale and zero point carry no relevance. */
export const quantizationOperators: Readonly<Record<string, OperatorSupport>> = {
  DequantizeLinear: passed,
  DynamicQuantizeLinear: passed,
  QuantizeLinear: passed,
};
