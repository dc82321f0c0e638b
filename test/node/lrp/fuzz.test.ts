import { describe, expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { createBuilder, intTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { gpuNetworks } from '../../reference/gpu-networks.js';
import { mutated } from '../../reference/mutations.js';
import { onnxOf } from '../../reference/network.js';
import { smallNetworks } from '../../reference/networks.js';
import { operatorModels } from '../../reference/operator-models.js';
import { seeded } from '../../reference/random.js';
import { modelFile, modelsAbsent } from '../graph/models.js';
import { modelWith } from './one-node.js';

// WHYLIGHT_FUZZ=20000 WHYLIGHT_FUZZ_SEED=7 npx vitest run test/node/lrp/fuzz.test.ts is a longer run
const rounds = Number(process.env.WHYLIGHT_FUZZ ?? 1000);
const seed = Number(process.env.WHYLIGHT_FUZZ_SEED ?? 1);

const own: readonly (readonly [string, Uint8Array])[] = [
  ...Object.entries(operatorModels).map(
    ([name, { inputs, dims, write, opset }]) => [name, modelWith(inputs, dims, write, opset)] as const,
  ),
  ...Object.entries(smallNetworks).map(([name, network]) => [name, onnxOf(network)] as const),
  ...gpuNetworks(['epsilon']).map(({ name, bytes }) => [name, bytes] as const),
];
const composites = ['epsilon-plus', 'epsilon-alpha2-beta1-flat', 'gradient', 'attn-lrp', 'integrated-gradients', 'cam'];
const optionsOf = (round: number): CompileOptions => ({
  composite: composites[round % composites.length]!,
  ...(round % 3 === 0 ? { target: 'webgpu' } : {}),
  ...(round % 5 === 0 ? { gated: true } : {}),
});

const ARRAYS = 'Float64Array Float32Array Uint8Array Uint16Array Uint32Array Int32Array BigInt64Array'.split(' ');
type Constructor = (new (...args: unknown[]) => object) & { readonly BYTES_PER_ELEMENT: number };

/** Bytes of all typed arrays that `run` makes by their length or from a list, whether they live on or not. */
function allocatedBy(run: () => void): number {
  const globals = globalThis as unknown as Record<string, Constructor>;
  const before = ARRAYS.map((name) => globals[name]!);
  let bytes = 0;
  for (const [index, name] of ARRAYS.entries()) {
    const array = before[index]!;
    globals[name] = new Proxy(array, {
      construct(target, args: unknown[], self) {
        const [first] = args;
        const length = typeof first === 'number' ? first : Array.isArray(first) ? first.length : 0;
        bytes += length * array.BYTES_PER_ELEMENT;
        if (bytes > 2 ** 31) throw new Error(`${name} of ${length}: more than 2 GB are allocated`);
        return Reflect.construct(target, args, self);
      },
    });
  }
  try {
    run();
  } finally {
    for (const [index, name] of ARRAYS.entries()) globals[name] = before[index]!;
  }
  return bytes;
}

/** Compiles damaged files; says how many were compiled all the same and how many refused. */
function survive(files: readonly (readonly [string, Uint8Array])[], count: number) {
  const outcomes = { compiled: 0, refused: 0 };
  for (let round = 0; round < count; round++) {
    const random = seeded(seed * 1_000_003 + round);
    const [name, original] = files[Math.floor(random() * files.length)]!;
    const { bytes, how } = mutated(original, random);
    const what = `round ${round}, ${name}: ${how}`;
    const started = process.cpuUsage();
    const allocated = allocatedBy(() => {
      try {
        compileExplanation(bytes, optionsOf(round));
        outcomes.compiled += 1;
      } catch (thrown) {
        if (!(thrown instanceof WhylightError)) throw new Error(what, { cause: thrown });
        outcomes.refused += 1;
      }
    });
    const { user } = process.cpuUsage(started);
    expect(user, `${what}: microseconds`).toBeLessThan(5e6);
    // constants are computed in float64 and may be made anew a few times; 64 MB for what shapes alone ask for
    expect(allocated, `${what}: bytes from ${bytes.length}`).toBeLessThan(64 * bytes.length + 2 ** 26);
  }
  return outcomes;
}

describe('damaged files end in a WhylightError or a model, in time and in bounds', () => {
  test('our own small models', { timeout: 600_000 }, () => {
    const { compiled, refused } = survive(own, rounds);
    expect(compiled).toBeGreaterThan(rounds / 10);
    expect(refused).toBeGreaterThan(rounds / 2);
  });

  test.skipIf(modelsAbsent)('real models', { timeout: 600_000 }, () => {
    const names = [
      'mnist_cntk/mnist.onnx',
      'mlp_tanh/model.onnx',
      'blazeface/face_detection_front_128x128_barracuda.onnx',
    ];
    const files = names.map((name) => [name, new Uint8Array(modelFile(name).read())] as const);
    const { compiled, refused } = survive(files, Math.ceil(rounds / 10));
    expect(compiled + refused).toBe(Math.ceil(rounds / 10));
  });
});

describe('a small file that asks for gigabytes', () => {
  const sizes = { some: [2 ** 10, 2 ** 10, 2 ** 9], absurd: [2 ** 40, 2 ** 40] };
  const greedy: readonly (readonly [
    string,
    readonly number[],
    (graph: ReturnType<typeof createBuilder>, big: string) => string,
  ])[] = [
    ['ConstantOfShape', sizes.some, (g, big) => g.node('ConstantOfShape', [big], {}, { name: 'greedy' })],
    ['Expand', sizes.some, (g, big) => g.node('Expand', [g.floats([1]), big], {}, { name: 'greedy' })],
    ['Tile', sizes.some, (g, big) => g.node('Tile', [g.floats([1], [1, 1, 1]), big], {}, { name: 'greedy' })],
    [
      'Range',
      sizes.some,
      (g) => g.node('Range', [g.floats([0]), g.floats([2 ** 29]), g.floats([1])], {}, { name: 'greedy' }),
    ],
    [
      'Expand of the input',
      [2 ** 11, 2 ** 10, 2 ** 11],
      (g, big) => g.node('Expand', ['x', big], {}, { name: 'greedy' }),
    ],
    [
      'Resize of the input',
      [],
      (g) => g.node('Resize', ['x', '', g.floats([2 ** 14, 2 ** 14, 2 ** 4])], {}, { name: 'greedy' }),
    ],
    ['an absurd shape', sizes.absurd, (g, big) => g.node('ConstantOfShape', [big], {}, { name: 'greedy' })],
  ];
  const fileOf = (write: (graph: ReturnType<typeof createBuilder>) => string): Uint8Array => {
    const g = createBuilder();
    g.input('x', 'float32', [1, 1, 1]);
    const sum = g.node('Mul', ['x', g.node('ReduceMax', [write(g)], { keepdims: { kind: 'int', value: 0 } })]);
    g.node('Identity', [sum], {}, { outputs: ['y'] });
    g.output('y', 'float32', [1, 1, 1]);
    return encodeModel(modelOf(g.graph));
  };

  test.each(greedy)('%s is refused by name before it is made', (_, shape, write) => {
    const bytes = fileOf((g) => write(g, g.initializer('big', intTensor(shape))));
    expect(bytes.length).toBeLessThan(1000);
    const allocated = allocatedBy(() => {
      expect(() => compileExplanation(bytes)).toThrow(
        expect.objectContaining({ code: 'MODEL_SHAPE', details: expect.objectContaining({ node: 'greedy' }) }),
      );
    });
    expect(allocated).toBeLessThan(2 ** 20);
  });

  test('many that are each within bounds do not add up', () => {
    const bytes = fileOf((g) => {
      const big = g.initializer('big', intTensor([2 ** 20]));
      const parts = Array.from({ length: 200 }, (_, k) => g.node('Expand', [g.floats([k]), big]));
      return g.node('Concat', parts, { axis: { kind: 'int', value: 0 } });
    });
    expect(allocatedBy(() => compileExplanation(bytes))).toBeLessThan(2 ** 29);
  });
});
