import { activationOperators } from './activation.js';
import { attentionOperators } from './attention.js';
import { linearOperators } from './linear.js';
import { mergeOperators } from './merge.js';
import { moveOperators } from './move.js';
import { normalizationOperators } from './normalization.js';
import { normOperators } from './norms.js';
import type { OperatorSupport } from './operator.js';
import { poolingOperators } from './pooling.js';
import { quantizationOperators } from './quantization.js';
import { recurrentOperators } from './recurrent.js';
import { resamplingOperators } from './resampling.js';
import { selectionOperators } from './selection.js';

/** Every ONNX operator of the default domain that can be explained; the support table is made from it. */
export const operators: Readonly<Record<string, OperatorSupport>> = {
  ...linearOperators,
  ...normalizationOperators,
  ...activationOperators,
  ...poolingOperators,
  ...normOperators,
  ...mergeOperators,
  ...moveOperators,
  ...resamplingOperators,
  ...selectionOperators,
  ...attentionOperators,
  ...recurrentOperators,
  ...quantizationOperators,
};
