import { expect, test } from 'vitest';
import { createBuilder, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { ints } from '../../../sdk/graph/graph.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { filled } from '../../reference/dense.js';
import { seeded, signed } from '../../reference/random.js';
import { weight } from './one-node.js';

const ARRAYS = [
  ...[Float32Array, Float64Array, Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array],
  ...[BigInt64Array, BigUint64Array, ArrayBuffer],
] as const;

/** Bytes of the larger arrays that are made while something runs; views into what is there already do not count. */
function allocatedBy(run: () => void): number {
  let bytes = 0;
  for (const original of ARRAYS) {
    const counting = new Proxy(original as new (...given: unknown[]) => ArrayBuffer, {
      construct(target, given, newTarget) {
        const made = Reflect.construct(target, given, newTarget === counting ? target : newTarget) as ArrayBuffer;
        if (!(given[0] instanceof ArrayBuffer) && made.byteLength > 4096) bytes += made.byteLength;
        return made;
      },
    });
    Object.defineProperty(globalThis, original.name, { value: counting, configurable: true, writable: true });
  }
  try {
    run();
  } finally {
    for (const original of ARRAYS) {
      Object.defineProperty(globalThis, original.name, { value: original, configurable: true, writable: true });
    }
  }
  return bytes;
}

/** Three convolutions of 2.4 MB each, with a BatchNormalization behind each where it is asked for. */
function convolutions(normalized: boolean): Uint8Array {
  const random = seeded(3);
  const builder = createBuilder();
  let x = builder.input('x', 'float32', [1, 256, 7, 7]);
  for (const k of [1, 2, 3]) {
    const inputs = [x, weight(builder, `w${k}`, signed(random, [256, 256, 3, 3], 0.05))];
    x = builder.node('Conv', inputs, { pads: ints([1, 1, 1, 1]) });
    if (normalized) {
      const parameters = ['scale', 'shift', 'mean', 'variance'].map((name) =>
        weight(builder, `${name}${k}`, filled([256], 0.5)),
      );
      x = builder.node('BatchNormalization', [x, ...parameters]);
    }
    x = builder.node('Relu', [x]);
  }
  builder.node('ReduceMean', [x], { axes: ints([2, 3]) }, { outputs: ['y'] });
  builder.output('y', 'float32', [1, 256, 1, 1]);
  return encodeModel(modelOf(builder.graph));
}

test.each([
  ['the compiled file alone, where weights stay what they are', false, 1.1],
  ['the compiled file and each merged weight once, where BatchNormalizations are merged', true, 2.2],
] as const)('compiling takes %s', (_, normalized, most) => {
  const model = convolutions(normalized);
  let length = 0;
  const allocated = allocatedBy(() => {
    length = compileExplanation(model, { composite: 'epsilon-alpha2-beta1-flat' }).model.length;
  });
  expect(length).toBeLessThan(1.1 * model.length);
  // the file that is written is counted, or nothing is
  expect(allocated).toBeGreaterThanOrEqual(length);
  expect(allocated / model.length).toBeLessThanOrEqual(most);
});
