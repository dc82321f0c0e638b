import { describe, expect, it } from 'vitest';
import { withOwnTypes } from '../../../sdk/graph/canonical/precision.js';
import { canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { Tensor } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { seeded } from '../../reference/random.js';
import { modelFiles, modelsAbsent } from './models.js';
import { difference, randomTensor, runModel } from './runtime.js';

/** What a model needs that its file leaves open, and how close it can come. */
const particulars: Readonly<
  Record<string, { shapes?: Record<string, number[]>; feeds?: Record<string, Tensor>; scale?: number; within?: number }>
> = {
  'silero_vad/silero_vad_16k_op15.onnx': {
    shapes: { input: [1, 576] },
    feeds: { sr: tensorOf('int64', [], [16000]) },
  },
  'silero_vad/silero_vad_op18_ifless.onnx': {
    shapes: { input: [1, 576] },
    feeds: { sr: tensorOf('int64', [], [16000]) },
  },
  'mnist_cntk/mnist.onnx': { scale: 255 },
  // a value on the edge between two quantization steps may fall to either side; dynamic.test.ts compares layer by layer
  'mobilenetv2_int8_arm_autopilot/mobilenetv2_int8.onnx': { within: 0.1 },
  // its activations are rounded to float16, ours are not
  'squeezenet_fp16/SqueezeNet_fp16.onnx': { scale: 100, within: 5e-3 },
};

describe.skipIf(modelsAbsent)('real models in canonical form', () => {
  for (const file of modelFiles) {
    it(`${file.name} computes the same`, { timeout: 120_000 }, async () => {
      const { shapes = {}, feeds = {}, scale = 1, within = 1e-5 } = particulars[file.name] ?? {};
      const bytes = new Uint8Array(file.read());
      const model = inferShapes(decodeModel(bytes), shapes);
      const { model: canonical, border, notes } = canonicalize(decodeModel(bytes), { inputShapes: shapes });
      for (const name of canonical.graph.nodes.flatMap((node) => node.outputs)) {
        if (name !== '') staticTypeOf(canonical.graph, name);
      }
      const random = seeded(7);
      const inputs = model.graph.inputs.map(({ name }) => [
        name,
        feeds[name] ?? randomTensor(staticTypeOf(model.graph, name), random, scale),
      ]);
      const expected = await runModel(bytes, Object.fromEntries(inputs));
      const found = await runModel(
        encodeModel({ ...canonical, graph: withOwnTypes(canonical.graph, border) }),
        Object.fromEntries(inputs),
      );
      expect([...found.keys()]).toEqual([...expected.keys()]);
      for (const [name, value] of expected) {
        expect(value.dims).toEqual(staticTypeOf(model.graph, name).dims);
        expect(difference(found.get(name), value), `${name}; ${notes.join(' ')}`).toBeLessThan(within);
      }
    });
  }
});
