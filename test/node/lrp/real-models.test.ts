import { describe, expect, test } from 'vitest';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { sizeOf } from '../../../sdk/graph/graph.js';
import { inferShapes, staticTypeOf } from '../../../sdk/graph/shapes.js';
import { numbersOf, tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { seeded } from '../../reference/random.js';
import { modelFile, modelsAbsent } from '../graph/models.js';
import { difference, randomTensor, runModel } from '../graph/runtime.js';

interface RealModel {
  readonly name: string;
  /** operators that it is here for */
  readonly shows: string;
  readonly shapes?: Record<string, number[]>;
  readonly scale?: number;
  /** value of an int64 input */
  readonly rate?: number;
  /** the same, fixed when the explanation is compiled */
  readonly fixedRate?: number;
  /** its strongest output of random input is negative: the z⁺-rule finds too little that speaks for it, and loses the rest */
  readonly losesNegative?: boolean;
}

const models: readonly RealModel[] = [
  {
    name: 'blazeface/face_detection_front_128x128_barracuda.onnx',
    shows: 'several outputs, pictures with channels last',
    losesNegative: true,
  },
  { name: 'cifar10_resnets/resnet20.onnx', shows: 'residual sums' },
  { name: 'deeplab_v3/deeplab_v3_1_default_1.onnx', shows: 'Resize' },
  { name: 'mnist_cntk/mnist.onnx', shows: 'weights among the inputs', scale: 255 },
  {
    name: 'silero_vad/silero_vad_16k_op15.onnx',
    shows: 'LSTM with its state, reflected pads',
    shapes: { input: [1, 576] },
    rate: 16000,
  },
  {
    name: 'silero_vad/silero_vad_op18_ifless.onnx',
    shows: 'an input whose value is fixed, because an If depends on it',
    shapes: { input: [1, 576] },
    fixedRate: 16000,
  },
  { name: 'stm32_mobilenet_v2_035_128/mobilenet_v2_0.35_128_tfs_channel_first.onnx', shows: 'BatchNorm alone, Pad' },
  { name: 'stm32_yamnet256_esc10/yamnet_256_64x96_tl.onnx', shows: 'sound' },
  { name: 'ultraface/version-slim-320.onnx', shows: 'a softmax over boxes' },
  { name: 'yolox_nano/yolox_nano.onnx', shows: 'Resize, SiLU written out, slices' },
  { name: 'yunet/face_detection_yunet_120x160.onnx', shows: 'three outputs' },
];

describe.skipIf(modelsAbsent)('real models with their explanation', () => {
  test.each(models.map((model) => [model.name, model] as const))('%s', { timeout: 180_000 }, async (_, one) => {
    const bytes = new Uint8Array(modelFile(one.name).read());
    const options = {
      ...(one.shapes === undefined ? {} : { inputShapes: one.shapes }),
      ...(one.fixedRate === undefined ? {} : { inputValues: { sr: one.fixedRate } }),
    };
    const original = inferShapes(decodeModel(bytes), one.shapes ?? {});
    const random = seeded(7);
    const feeds = Object.fromEntries(
      original.graph.inputs.map(({ name, type }) => [
        name,
        type === 'int64'
          ? tensorOf('int64', [], [one.rate ?? one.fixedRate ?? 0])
          : randomTensor(staticTypeOf(original.graph, name), random, one.scale ?? 1),
      ]),
    );
    const expected = await runModel(bytes, feeds);
    if (one.fixedRate !== undefined) delete feeds.sr;
    for (const composite of ['epsilon-plus', 'gradient'] as const) {
      const { model, report } = compileExplanation(bytes, { composite, audit: true, ...options });
      // all zeros: the strongest output
      const { shape } = report.explained;
      const target = tensorOf('float32', shape, new Float64Array(sizeOf(shape)));
      const found = await runModel(model, { ...feeds, target });
      for (const [name, value] of expected) expect(difference(found.get(name), value), name).toBeLessThan(1e-5);
      let largest = 0;
      for (const { name, shape: dims } of report.inputs) {
        const relevance = found.get(`relevance/${name}`)!;
        expect(relevance.dims).toEqual(dims);
        const values = numbersOf(relevance);
        expect(values.every(Number.isFinite), `${composite}: ${name} is finite`).toBe(true);
        largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), largest);
      }
      expect(largest, `${composite}: something is relevant`).toBeGreaterThan(0);
      if (composite !== 'epsilon-plus' || one.losesNegative === true) continue;
      const [conservation, absorbed] = ['conservation', 'absorbed'].map((name) => numbersOf(found.get(name)!));
      const accounted = conservation!.at(-1)! + absorbed!.at(-1)!;
      expect(accounted / conservation![0]!, 'what is not at the inputs is in biases').toBeCloseTo(1, 1);
    }
  });
});
