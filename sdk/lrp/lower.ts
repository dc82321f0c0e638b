import type { Window } from './emitter.js';
import type { TransposedForm } from './operators/convolution.js';
import type { LoweringTarget } from './report.js';

/**
 * Which form of a transposed convolution is the faster one. Flipped kernels win wherever nothing has to be inserted between the
 * elements, and for depthwise kernels always: the runtime's ConvTranspose has no depthwise kernel and multiplies group by group.
 */
export function transposedFormFor(
  _target: LoweringTarget,
): (window: Window, groups: number, channels: number) => TransposedForm {
  return (window, groups, channels) =>
    window.strides.every((stride) => stride === 1) || (groups > 1 && groups === channels)
      ? 'flipped-conv'
      : 'conv-transpose';
}
