import { describe, expect, it } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, ints, type Model, type Node, sizeOf } from '../../../sdk/graph/graph.js';
import { inferShapes } from '../../../sdk/graph/shapes.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CalibrationFrame } from '../../../sdk/quantize/frames.js';
import { withTaps } from '../../../sdk/quantize/observe.js';
import type { QuantizationProgress, QuantizeOptions } from '../../../sdk/quantize/options.js';
import { quantize } from '../../../sdk/quantize/quantize.js';
import type { OpenModel } from '../../../sdk/quantize/runtime.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { type Dense, dense } from '../../reference/dense.js';
import { deviation, pearson } from '../../reference/deviation.js';
import { forward } from '../../reference/forward.js';
import type { Network } from '../../reference/layers.js';
import { onnxOf } from '../../reference/network.js';
import { denselyConnected, inception, mobile, residual } from '../../reference/networks.js';
import { seeded } from '../../reference/random.js';
import { activationAfter, byOutput, fakeQuantized, integerOf } from './oracle.js';

/** Counts models that are open now. */
const counts = { open: 0, opened: 0 };
const runtime = wasmRuntime();
const open: OpenModel = async (model) => {
  const opened = await runtime(model);
  counts.open++;
  counts.opened++;
  return {
    run: (inputs) => opened.run(inputs),
    async close() {
      counts.open--;
      await opened.close();
    },
  };
};

function frameOf(network: Network, seed: number): CalibrationFrame {
  const random = seeded(seed);
  return Object.fromEntries(
    network.inputs.map(({ name, dims }) => [
      name,
      {
        dims,
        data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random() * 2 - 1),
      },
    ]),
  );
}

const framesOf = (network: Network, count: number): CalibrationFrame[] =>
  Array.from({ length: count }, (_, index) => frameOf(network, index + 1));

const everywhere = { open, integers: 'everywhere' } as const;
const plain: QuantizeOptions = { ...everywhere, equalize: false, correctBias: false, rounding: 'nearest' };

describe('quantize, int8', () => {
  it.each(Object.entries({ residual, inception, denselyConnected, mobile }))(
    '%s computes the integers of the fake-quantized network in float64',
    async (_, network) => {
      const { model, report } = await quantize(onnxOf(network), framesOf(network, 4), plain);
      const lines = byOutput(report.layers);
      const decoded = inferShapes(decodeModel(model));
      const frame = frameOf(network, 99);
      const quantized = [...decoded.graph.values.keys()].filter((name) => name.endsWith('/uint8'));
      const names = quantized.map((name) => name.slice(0, -6)).filter((name) => decoded.graph.values.has(name));
      const opened = await open(encodeModel(withTaps(decoded, [...names, ...quantized, 'x/real'])));
      const values = await opened.run(frame);
      await opened.close();
      const value = (name: string): Dense | undefined => {
        const found = values[name === 'x' ? 'x/real' : name] ?? undefined;
        return found === undefined ? undefined : dense(found.data as Float32Array, found.dims);
      };
      let compared = 0;
      let apart = 0;
      for (const layer of network.layers) {
        const activation = activationAfter(network, layer.name);
        const output = activation?.name ?? layer.name;
        const line = lines.get(output);
        const inputs = layer.inputs.map(value);
        const weighted = layer.op === 'Conv' || layer.op === 'Gemm';
        if (line?.scale === undefined || inputs.some((input) => input === undefined)) continue;
        const inputScale = scaleOf(decoded, layer.inputs[0]!);
        const sums = fakeQuantized(layer, inputs as Dense[], weighted ? inputScale : 1);
        const found = values[`${output}/uint8`]!.data;
        for (const [at, sum] of sums.data.entries()) {
          const kept =
            activation?.op === 'Relu'
              ? Math.max(0, sum)
              : activation === undefined
                ? sum
                : Math.min(6, Math.max(0, sum));
          const integer = integerOf(kept, line.scale, line.zeroPoint!);
          compared++;
          // sums in float32 may fall to the other side of a half
          if (integer !== found[at]) apart++;
          expect(Math.abs(integer - Number(found[at]))).toBeLessThanOrEqual(1);
        }
      }
      expect(compared).toBeGreaterThan(150);
      expect(apart / compared).toBeLessThan(0.004);
    },
  );

  it.each(Object.entries({ residual, inception, mobile }))('%s is close to the original', async (_, network) => {
    const { report } = await quantize(onnxOf(network), framesOf(network, 8), everywhere);
    expect(report.outputs[0]!.sqnr).toBeGreaterThan(25);
    expect(report.bytes.quantized).toBeGreaterThan(0);
    expect(report.layers.filter(({ operator }) => operator === 'Conv').every(({ scheme }) => scheme === 'int8')).toBe(
      true,
    );
    for (const { saturation = 0, scale = 1, zeroPoint = 0 } of report.layers) {
      expect(saturation).toBeLessThan(0.05);
      expect(scale).toBeGreaterThan(0);
      expect(zeroPoint).toBeGreaterThanOrEqual(0);
    }
  });

  it('gives a model that can be explained: its own outputs, and nearly the relevance of the original', async () => {
    const original = onnxOf(residual);
    const { model } = await quantize(original, framesOf(residual, 4), everywhere);
    const feeds = { ...frameOf(residual, 5), target: { dims: [1, 4], data: Float32Array.of(0, 1, 0, 0) } };
    const run = async (bytes: Uint8Array) => {
      const opened = await open(bytes);
      const outputs = await opened.run(feeds);
      await opened.close();
      return (name: string) => outputs[name]!.data as Float32Array;
    };
    const explained = await run(compileExplanation(model, { composite: 'epsilon-plus' }).model);
    const float = await run(compileExplanation(original, { composite: 'epsilon-plus' }).model);
    const own = await run(model);
    expect(deviation(explained('logits'), own('logits'))).toBeLessThan(1e-3);
    expect(pearson(explained('relevance/x'), float('relevance/x'))).toBeGreaterThan(0.95);
  });

  it('has no ReLU whose integers are not its own: the zero point after one is 0', async () => {
    const { report } = await quantize(onnxOf(residual), framesOf(residual, 4), everywhere);
    const lines = byOutput(report.layers);
    for (const name of ['stem_relu', 'block1a_relu', 'add1_relu', 'add2_relu'])
      expect(lines.get(name)?.zeroPoint).toBe(0);
    // the sum at the end of the classifier comes out in float32
    expect(lines.get('logits')?.scale).toBeUndefined();
  });

  it('leaves layers in float32 by name, and says why', async () => {
    const { report } = await quantize(onnxOf(residual), framesOf(residual, 4), { ...everywhere, exclude: ['block1*'] });
    const floats = report.layers.filter(({ scheme }) => scheme === 'float32');
    expect(floats.map(({ name }) => name)).toEqual(['block1a', 'block1b']);
    expect(floats[0]!.reason).toBe('excluded by "block1*"');
  });

  // the first reads what an addition reads too
  it.each(['block1a', 'block2b'])(
    'computes %s between integers with its own weights where it is excluded',
    async (name) => {
      const { model } = await quantize(onnxOf(residual), framesOf(residual, 4), { ...plain, exclude: [name] });
      const layer = residual.layers.find((other) => other.name === name)!;
      const activation = activationAfter(residual, name)?.name;
      const [input] = layer.inputs as readonly [string];
      const decoded = inferShapes(decodeModel(model));
      const output = activation ?? name;
      const zeroPoint = decoded.graph.initializers.get(stepsNode(decoded, output).inputs[2]!)!.bytes[0]!;
      const opened = await open(encodeModel(withTaps(decoded, [input, `${output}/uint8`])));
      const values = await opened.run(frameOf(residual, 99));
      await opened.close();
      const x = dense(values[input]!.data as Float32Array, values[input]!.dims);
      const sums = forward(layer, [x])[0]!.data;
      const found = values[`${output}/uint8`]!.data as Uint8Array;
      const apart = [...sums].filter((sum, at) => integerOf(sum, scaleOf(decoded, output), zeroPoint) !== found[at]);
      expect(sums.length).toBeGreaterThanOrEqual(96);
      expect(new Set(found).size).toBeGreaterThan(30);
      // sums in float32 may fall to the other side of a half
      expect(apart.length / sums.length).toBeLessThan(0.004);
    },
  );

  it('computes what harms most in float32 until the outputs hold the bound, with integer weights where they do', async () => {
    const frames = framesOf(residual, 4);
    const options = { ...everywhere, method: 'min-max' } as const;
    const reached = async (bound: number) => {
      const { report, model } = await quantize(onnxOf(residual), frames, { ...options, bound });
      expect(report.outputs[0]!.sqnr).toBeGreaterThanOrEqual(bound);
      return { report, model, left: report.layers.filter(({ reason }) => reason?.includes('bound')) };
    };
    const { sqnr } = (await quantize(onnxOf(residual), frames, options)).report.outputs[0]!;

    const low = await reached(sqnr! + 4);
    expect(new Set(low.left.map(({ scheme }) => scheme))).toEqual(new Set(['int8-weights']));
    expect(low.report.layers.some(({ scheme }) => scheme === 'int8')).toBe(true);
    expect(low.report.notes.at(-1)).toMatch(/layers compute in float32 with integer weights, so that the outputs hold/);
    const stored = decodeModel(low.model).graph.initializers;
    const floats = [...stored.values()].filter(({ type, dims }) => type === 'float32' && dims.length > 1);
    expect(floats).toEqual([]);

    // more than weights of 8 bits can hold
    const high = await reached(100);
    expect(new Set(high.left.map(({ scheme }) => scheme))).toEqual(new Set(['float32']));
    expect(high.report.notes.at(-1)).toMatch(/layers stay in float32/);
  });

  it('does not store the zeros that pad channels', async () => {
    const random = seeded(5);
    const builder = createBuilder();
    const kernel = (name: string, to: number, from: number): string =>
      builder.initializer(name, floatTensor(Float32Array.from({ length: to * from }, random), [to, from, 1, 1]));
    builder.input('x', 'float32', [1, 4, 16, 16]);
    const conv = builder.node('Conv', ['x', kernel('k1', 4, 4)], { kernel_shape: ints([1, 1]) });
    const zeros = builder.node('ConstantOfShape', [builder.ints([1, 2, 16, 16])]);
    const padded = builder.node('Concat', [conv, zeros], { axis: int(1) });
    builder.node('Conv', [padded, kernel('k2', 3, 6)], { kernel_shape: ints([1, 1]) }, { outputs: ['y'] });
    builder.output('y', 'float32', [1, 3, 16, 16]);
    const frame = { x: { dims: [1, 4, 16, 16], data: Float32Array.from({ length: 1024 }, random) } };
    const { model, report } = await quantize(encodeModel(modelOf(builder.graph)), [frame], { open });
    expect(report.outputs[0]!.sqnr).toBeGreaterThan(35);
    const { graph } = decodeModel(model);
    expect(graph.nodes.filter(({ op }) => op === 'ConstantOfShape')).toHaveLength(1);
    expect([...graph.initializers.values()].every(({ bytes }) => bytes.length < 100)).toBe(true);
    // it runs, also with the relevance of its input
    const { model: compiled } = compileExplanation(model, { composite: 'epsilon' });
    for (const bytes of [model, compiled]) {
      const opened = await open(bytes);
      const target = { dims: [1, 3, 16, 16], data: new Float32Array(768) };
      const { y } = await opened.run({ ...frame, target });
      expect((y!.data as Float32Array).every((value) => value > 0)).toBe(true);
      await opened.close();
    }
  });

  it('stores layers that stay in float32 in half precision where the model was', async () => {
    const random = seeded(6);
    const builder = createBuilder();
    const half = (dims: readonly number[]): string =>
      builder.initializer(
        builder.name('k'),
        tensorOf('float16', dims, Float64Array.from({ length: sizeOf(dims) }, random)),
      );
    const x = builder.input('x', 'float16', [1, 24, 6, 6]);
    const conv = builder.node('Conv', [x, half([24, 24, 1, 1])], {}, { name: 'first' });
    builder.node('Conv', [conv, half([24, 24, 1, 1])], {}, { name: 'second', outputs: ['y'] });
    builder.output('y', 'float16', [1, 24, 6, 6]);
    const frame = { x: { dims: [1, 24, 6, 6], data: Float32Array.from({ length: 864 }, random) } };
    const options = { ...everywhere, exclude: ['second'] };
    const { model, report } = await quantize(encodeModel(modelOf(builder.graph)), [frame], options);
    expect(report.outputs[0]!.sqnr).toBeGreaterThan(35);
    const stored = [...decodeModel(model).graph.initializers.values()].filter(({ dims }) => sizeOf(dims) === 576);
    expect(stored.map(({ type }) => type).sort()).toEqual(['float16', 'int8']);
    // it can be explained, with the weights that it has
    const opened = await open(compileExplanation(model, { composite: 'epsilon' }).model);
    const bits = tensorOf('float16', [864], frame.x.data).bytes;
    const input = { type: 'float16' as const, dims: frame.x.dims, data: new Uint16Array(bits.buffer) };
    const target = { dims: [1, 24, 6, 6], data: new Float32Array(864).fill(1) };
    const outputs = await opened.run({ x: input, target });
    await opened.close();
    const relevance = outputs['relevance/x']!;
    expect(relevance.type).toBe('float32');
    expect((relevance.data as Float32Array).some((value) => value > 0)).toBe(true);
  });

  it('does not depend on how the frames come', async () => {
    const frames = framesOf(residual, 6);
    const fromArray = await quantize(onnxOf(residual), frames, everywhere);
    const fromGenerator = await quantize(
      onnxOf(residual),
      (async function* () {
        yield* frames;
      })(),
      { ...everywhere, measuredFrames: 6 },
    );
    expect(fromGenerator.model).toEqual(fromArray.model);
  });
});

/** What makes integers of a tensor. */
function stepsNode(model: Model, name: string): Node {
  return model.graph.nodes.find(({ op, outputs }) => op === 'QuantizeLinear' && outputs[0] === `${name}/uint8`)!;
}

/** The scale that the file gives a tensor. */
function scaleOf(model: Model, name: string): number {
  const scale = model.graph.initializers.get(stepsNode(model, name).inputs[1]!)!;
  return new DataView(scale.bytes.buffer, scale.bytes.byteOffset).getFloat32(0, true);
}

/** One convolution with the given weight, for what can be wrong with a model. */
function tinyModel(weight = 0.5, op = 'Relu'): Uint8Array {
  const builder = createBuilder();
  builder.input('x', 'float32', [1, 1, 4, 4]);
  const kernel = builder.initializer('kernel', floatTensor([weight], [1, 1, 1, 1]));
  const conv = builder.node('Conv', ['x', kernel], { kernel_shape: ints([1, 1]) }, { outputs: ['conv'] });
  const second = builder.node(op, [conv], {}, { outputs: ['act'] });
  builder.node('Conv', [second, kernel], { kernel_shape: ints([1, 1]), group: int(1) }, { outputs: ['y'] });
  builder.output('y', 'float32', [1, 1, 4, 4]);
  return encodeModel(modelOf(builder.graph));
}

const tinyFrame = (value = 1, dims: readonly number[] = [1, 1, 4, 4]): CalibrationFrame => ({
  x: { dims, data: new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value) },
});

async function failure(work: Promise<unknown>): Promise<WhylightError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WhylightError);
  return error as WhylightError;
}

describe('bad calibration', () => {
  it.each([
    ['no frame', [], /no calibration frame/],
    ['a missing input', [{}], /frame 0: input "x" is missing/],
    ['a wrong shape', [tinyFrame(), tinyFrame(1, [1, 1, 4, 5])], /frame 1: input "x" has the shape \[1, 1, 4, 5\]/],
    ['a value that is not finite', [tinyFrame(NaN)], /frame 0: input "x" has a value that is not finite/],
    ['too few values', [{ x: { dims: [1, 1, 4, 4], data: new Float32Array(3) } }], /3 values/],
    [
      'another type',
      [{ x: { type: 'int32', dims: [1, 1, 4, 4], data: new Int32Array(16) } }],
      /int32, the model takes float32/,
    ],
  ] as [string, CalibrationFrame[], RegExp][])('%s is CALIBRATION_INVALID', async (_, frames, sentence) => {
    const error = await failure(quantize(tinyModel(), frames, { open }));
    expect(error.code).toBe('CALIBRATION_INVALID');
    expect(error.message).toMatch(sentence);
  });

  it('a tensor that overflows is named, with its frame, and everything is closed', async () => {
    const error = await failure(
      quantize(tinyModel(1e19), [tinyFrame(0.1), tinyFrame(1e20)], { ...everywhere, equalize: false }),
    );
    expect(error.code).toBe('CALIBRATION_INVALID');
    expect(error.details).toEqual({ tensor: 'act', frame: 1 });
    expect(counts.open).toBe(0);
  });

  it.each([
    ['scheme', { scheme: 'int7' }],
    ['integers', { integers: 'nowhere' }],
    ['method', { method: 'best' }],
    ['rounding', { rounding: 'up' }],
    ['percentile', { percentile: 20 }],
    ['bound', { bound: NaN }],
    ['maxFrames', { maxFrames: 0 }],
    ['exclude', { exclude: ['nowhere*'] }],
    ['open', { open: undefined }],
  ])('the option %s is checked', async (field, options) => {
    const error = await failure(quantize(tinyModel(), [tinyFrame()], { ...everywhere, ...(options as object) }));
    expect(error.code).toBe('OPTION_INVALID');
    expect(error.details.field).toBe(field);
  });

  it('a model that is quantized already is refused', async () => {
    const { model } = await quantize(tinyModel(), [tinyFrame()], { open });
    expect((await failure(quantize(model, [tinyFrame()], { open }))).code).toBe('MODEL_TYPE');
  });

  it('a source is closed when a frame does not fit', async () => {
    let closed = false;
    function* source(): Generator<CalibrationFrame> {
      try {
        yield tinyFrame();
        yield tinyFrame(1, [1, 1, 2, 2]);
        yield tinyFrame();
      } finally {
        closed = true;
      }
    }
    await failure(quantize(tinyModel(), source(), { open }));
    expect(closed).toBe(true);
  });
});

describe('a long quantization', () => {
  it('tells how far it is, reads no more frames than asked for, and closes every model', async () => {
    const progress: QuantizationProgress[] = [];
    let read = 0;
    function* source(): Generator<CalibrationFrame> {
      for (;;) {
        read++;
        yield frameOf(residual, read);
      }
    }
    const opened = counts.opened;
    const { report } = await quantize(onnxOf(residual), source(), {
      ...{ open, maxFrames: 12, measuredFrames: 3, bound: 60 },
      onProgress: (step) => progress.push(step),
    });
    expect(read).toBe(12);
    expect(report.calibrationFrames).toBe(12);
    expect(report.measuredFrames).toBe(3);
    expect(progress.filter(({ stage }) => stage === 'calibrate')).toHaveLength(12);
    expect(progress.find(({ stage }) => stage === 'measure')).toEqual({ stage: 'measure', frames: 1, total: 3 });
    expect(progress.some(({ stage }) => stage === 'search')).toBe(true);
    expect(counts.opened).toBeGreaterThan(opened);
    expect(counts.open).toBe(0);
  });

  it('ends with ABORTED at the next frame, and closes every model and the source', async () => {
    const controller = new AbortController();
    let closed = false;
    function* source(): Generator<CalibrationFrame> {
      try {
        for (let index = 1; ; index++) yield frameOf(residual, index);
      } finally {
        closed = true;
      }
    }
    const error = await failure(
      quantize(onnxOf(residual), source(), {
        open,
        signal: controller.signal,
        onProgress: (step) => {
          if (step.stage === 'calibrate' && step.frames === 3) controller.abort();
        },
      }),
    );
    expect(error.code).toBe('ABORTED');
    expect(closed).toBe(true);
    expect(counts.open).toBe(0);
  });
});
