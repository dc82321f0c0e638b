import { arriving, type OperatorSupport } from './operator.js';

/**
 * A step of quantization changes how a value is stored, not what it stands for: relevance passes. What the layers around it see,
 * and what their rules share out, are the values as quantized.
 */
const passed: OperatorSupport = {
  family: 'Quantization',
  rules: ['pass'],
  source: 'thesis 2.37',
  explain: (context) => [arriving(context)],
};

/** QuantizeLinear and DequantizeLinear. */
export const quantizationOperators: Readonly<Record<string, OperatorSupport>> = {
  DequantizeLinear: passed,
  QuantizeLinear: passed,
};
