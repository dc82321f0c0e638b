import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createBuilder, type GraphBuilder } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, sizeOf } from '../../../sdk/graph/graph.js';
import { sortNodes } from '../../../sdk/graph/order.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { OpenedModel } from '../../../sdk/quantize/runtime.js';
import { type CheckedRun, type Comparison, checkDevice, isRounding } from '../../../sdk/runtime/startup-check.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';

const shape = [1, 3, 128, 128];
const read = (name: string) => new Uint8Array(readFileSync(`samples/models/glyphs/${name}.onnx`));
const compiled = (model: Uint8Array, target: 'wasm' | 'webgpu') =>
  compileExplanation(model, { target, inputShapes: { image: shape }, inputRanges: { image: [-1, 1] } });

const int8 = read('glyphs-hans-int8');
const forCpu = compiled(int8, 'wasm');
/** The graph for a GPU: on the processor it is a right device whose sums are in another order, as a GPU's are. */
const forGpu = compiled(int8, 'webgpu');
const { output, shape: scores } = forCpu.report.explained;
const open = wasmRuntime();
const reference = await open(forCpu.model);

const runOf =
  (model: OpenedModel): CheckedRun =>
  async (image, target) =>
    (await model.run({
      image: { dims: shape, data: image },
      target: { dims: scores, data: target },
    })) as Awaited<ReturnType<CheckedRun>>;

async function checked(
  device: CheckedRun,
  rounding = true,
  high = 1,
): Promise<Comparison & { readonly frames: number }> {
  let frames = 0;
  const comparison = await checkDevice({
    reference: runOf(reference),
    device: (...given) => {
      frames++;
      return device(...given);
    },
    input: { size: shape.reduce((product, dim) => product * dim, 1), range: [-1, high] },
    explained: { output, size: sizeOf(scores) },
    rounding,
  });
  return { ...comparison, frames };
}

/** The graph for a GPU with a fault behind the layer that computes a tensor. */
async function faulty(tensor: string, fault: (g: GraphBuilder, right: string, dims: readonly number[]) => string) {
  const model = decodeModel(forGpu.model);
  const { outputShape } = forGpu.report.layers.find((layer) => layer.tensor === tensor)!;
  const right = `${tensor}/right`;
  const nodes = model.graph.nodes.map((node) => ({
    ...node,
    outputs: node.outputs.map((name) => (name === tensor ? right : name)),
  }));
  const g = createBuilder({ ...model.graph, nodes });
  g.node('Identity', [fault(g, right, outputShape)], {}, { outputs: [tensor] });
  return open(encodeModel({ ...model, graph: { ...g.graph, nodes: sortNodes(g.graph.nodes) } }));
}

const first = '/0/Conv_output_0';
const inner = '/3/body/body.0/Conv_output_0';
const deep = '/5/body/body.0/Conv_output_0';

/** The tensor times a factor at some places. */
const scaled =
  (factor: number, at: (index: number, dims: readonly number[]) => boolean) =>
  (g: GraphBuilder, right: string, dims: readonly number[]) => {
    const factors = Float32Array.from({ length: sizeOf(dims) }, (_, index) => (at(index, dims) ? factor : 1));
    return g.node('Mul', [right, g.floats(factors, dims)]);
  };

/** Columns read from elsewhere. */
const columns =
  (from: (x: number, width: number) => number) => (g: GraphBuilder, right: string, dims: readonly number[]) => {
    const width = dims[3]!;
    return g.node('Gather', [right, g.ints(Array.from({ length: width }, (_, x) => from(x, width)))], { axis: int(3) });
  };

const faults: readonly [string, string, Parameters<typeof faulty>[1]][] = [
  [
    'sums in half precision',
    inner,
    (g, right) => g.node('Cast', [g.node('Cast', [right], { to: int(10) })], { to: int(1) }),
  ],
  [
    'one channel a hundredth too large',
    inner,
    scaled(1.01, (index, dims) => Math.floor(index / (dims[2]! * dims[3]!)) === 3),
  ],
  ['the end of large tensors missing', first, scaled(0, (index, dims) => index >= 0.99 * sizeOf(dims))],
  [
    'the last row of each channel missing',
    deep,
    scaled(0, (index, dims) => Math.floor(index / dims[3]!) % dims[2]! === dims[2]! - 1),
  ],
  ['every sixteenth column its neighbour', first, columns((x) => (x % 16 === 15 ? x - 1 : x))],
  ['columns in the wrong order', deep, columns((x, width) => width - 1 - x)],
  [
    'zeros that are not quite',
    '/3/body/body.2/Relu_output_0',
    (g, right) => g.node('Where', [g.node('Equal', [right, g.floats([0])]), g.floats([0.02]), right]),
  ],
  ['everything doubled', deep, (g, right) => g.node('Mul', [right, g.floats([2])])],
];

test.each(faults)('refused: %s', async (_, tensor, fault) => {
  const device = await faulty(tensor, fault);
  const { agree } = await checked(runOf(device));
  expect(agree).toBe(false);
  await device.close();
});

test('a right device is accepted, whichever way a number is rounded that lies between two integers', async () => {
  const device = await open(forGpu.model);
  const frames: number[] = [];
  for (let index = 0; index < 20; index++) {
    const seen = await checked(runOf(device), true, 1 - index / 100);
    expect(seen.agree, seen.sentence).toBe(true);
    frames.push(seen.frames);
  }
  console.log(`frames until one agreed: ${frames.join(' ')}`);
  // otherwise this has shown nothing
  expect(Math.max(...frames)).toBeGreaterThan(1);
  // one frame is what most starts take
  expect(frames.filter((count) => count === 1).length).toBeGreaterThan(10);
  await device.close();
});

const spoiling = (factors: readonly number[]): CheckedRun => {
  let run = 0;
  return async (...given) => {
    const factor = factors[run++] ?? 1;
    const right = await runOf(reference)(...given);
    return Object.fromEntries(
      Object.entries(right).map(([name, { dims, data }]) => [
        name,
        { dims, data: data.map((value) => value * factor) },
      ]),
    );
  };
};

test('a device that was far off once has no second chance; a graph without integers has none at all', async () => {
  expect(await checked(spoiling([2]))).toMatchObject({ agree: false, frames: 1 });
  expect(await checked(spoiling([1.02]), false)).toMatchObject({ agree: false, frames: 1 });
  expect(await checked(spoiling([1.02, 1.02, 2]))).toMatchObject({ agree: false, frames: 3 });
  expect(await checked(spoiling([1.02, 1.02, 1.02, 1.02, 1.02]))).toMatchObject({ agree: false, frames: 5 });
  expect(await checked(spoiling([1.02]))).toMatchObject({ agree: true, frames: 2 });
});

test('which graphs round', () => {
  expect(isRounding(decodeModel(int8).graph)).toBe(true);
  expect(isRounding(decodeModel(read('glyphs')).graph)).toBe(false);
});
