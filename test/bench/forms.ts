import { createBuilder, modelOf } from '../../sdk/graph/builder.js';
import { canonicalize } from '../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../sdk/graph/decode.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { int, ints, sizeOf } from '../../sdk/graph/graph.js';
import { createEmitter, type Emitter, type Value } from '../../sdk/lrp/emitter.js';
import { type TransposedForm, transposedFormFor } from '../../sdk/lrp/lower.js';
import { transposedConvolutionAs } from '../../sdk/lrp/operators/convolution.js';
import type { LoweringTarget } from '../../sdk/lrp/report.js';
import { withIntegerSums } from '../../sdk/lrp/wasm/integer-sums.js';
import { quantize } from '../../sdk/quantize/quantize.js';
import { wasmRuntime } from '../../sdk/runtime/wasm-runtime.js';
import { seeded } from '../reference/random.js';
import { profileOf } from './profile.js';
import { type Contestant, cpuTimes, openInNode } from './timing.js';

/** A transposed convolution: channels and side of the map that relevance comes from, and of the one that it goes to. */
interface Map {
  readonly from: number;
  readonly to: number;
  readonly side: readonly number[];
  readonly kernel: number;
  readonly stride: number;
  readonly groups?: number;
}

const cube = (frames: number, side: number): number[] => [frames, side, side];
const square = (side: number): number[] => [side, side];

/** Maps of the benchmark's networks, and around the places where the fastest form changes. */
const MAPS: readonly Map[] = [
  { from: 64, to: 64, side: square(56), kernel: 3, stride: 1 },
  { from: 256, to: 256, side: square(14), kernel: 3, stride: 1 },
  { from: 256, to: 64, side: square(56), kernel: 1, stride: 1 },
  { from: 512, to: 2048, side: square(7), kernel: 1, stride: 1 },
  { from: 64, to: 3, side: square(224), kernel: 3, stride: 1 },
  { from: 64, to: 16, side: square(112), kernel: 3, stride: 1 },
  { from: 96, to: 32, side: square(28), kernel: 5, stride: 1 },
  { from: 96, to: 96, side: square(56), kernel: 3, stride: 1, groups: 96 },
  { from: 64, to: 3, side: square(224), kernel: 7, stride: 2 },
  { from: 32, to: 3, side: square(224), kernel: 3, stride: 2 },
  { from: 256, to: 256, side: square(28), kernel: 3, stride: 2 },
  { from: 512, to: 256, side: square(56), kernel: 1, stride: 2 },
  { from: 2048, to: 1024, side: square(14), kernel: 1, stride: 2 },
  { from: 96, to: 96, side: square(112), kernel: 3, stride: 2, groups: 96 },
  { from: 576, to: 576, side: square(14), kernel: 3, stride: 2, groups: 576 },
  { from: 16, to: 3, side: cube(16, 112), kernel: 3, stride: 1 },
  { from: 32, to: 16, side: cube(8, 56), kernel: 3, stride: 1 },
  { from: 128, to: 64, side: cube(2, 14), kernel: 3, stride: 1 },
  { from: 32, to: 32, side: cube(8, 28), kernel: 3, stride: 2 },
];

const FORMS: readonly TransposedForm[] = ['conv-transpose', 'flipped-conv'];

/** A model with one input of the given shape. */
function contestant(
  name: string,
  dims: readonly number[],
  target: LoweringTarget,
  write: (emit: Emitter, x: Value) => Value,
): Contestant {
  const builder = createBuilder();
  builder.input('x', 'float32', dims);
  const emit = createEmitter(builder, builder, 17, target);
  const y = write(emit, { name: 'x', dims, constant: false });
  builder.node('Identity', [y.name], {}, { outputs: ['y'] });
  builder.output('y', 'float32', y.dims);
  return { name, model: encodeModel(modelOf(builder.graph)), feeds: [{ name: 'x', dims }] };
}

function transposed(form: TransposedForm, { from, to, side, kernel, stride, groups = 1 }: Map): Contestant {
  const pad = (kernel - 1) / 2;
  const each = (value: number): number[] => side.map(() => value);
  const window = {
    kernel: each(kernel),
    strides: each(stride),
    dilations: each(1),
    pads: [...each(pad), ...each(pad)],
  };
  const small = side.map((length) => Math.floor((length + 2 * pad - kernel) / stride) + 1);
  const random = seeded(1);
  const shape = [from, to / groups, ...each(kernel)];
  const values = Float32Array.from({ length: sizeOf(shape) }, () => random() - 0.5);
  return contestant(form, [1, from, ...small], 'any', (emit, x) => {
    return transposedConvolutionAs(form, emit, x, emit.constant(values, shape), window, groups, side);
  });
}

const ELEMENTWISE: Readonly<Record<string, (emit: Emitter, x: Value) => Value>> = {
  'max(a, 0)': (emit, x) => emit.positive(x),
  'min(a, 0)': (emit, x) => emit.negative(x),
  '1 where a > 0': (emit, x) => emit.positiveMask(x),
  'a + ε·sign a': (emit, x) => emit.awayFromZero(x, 1e-6),
};

/** How often a form is written into one model, each time of other numbers, so that what surrounds it weighs little. */
const COPIES = 8;

function repeatedly(name: string, target: LoweringTarget, write: (emit: Emitter, x: Value) => Value): Contestant {
  return contestant(name, [1, 96, 112, 112], target, (emit, x) => {
    const each = Array.from({ length: COPIES }, (_, k) => {
      const y = write(emit, emit.add(x, emit.scalar(k - COPIES / 2)));
      return emit.reduce('Max', y, [0, 1, 2, 3]);
    });
    return emit.concat(each, 0);
  });
}

/** Convolutions of side × side maps: 1×1 from few and from many channels, windows, and groups. */
const SUMS: readonly (readonly [from: number, to: number, side: number, kernel: number, groups?: number])[] = [
  [16, 96, 112, 1],
  [64, 256, 56, 1],
  [96, 24, 56, 1],
  [192, 32, 28, 1],
  [256, 64, 56, 1],
  [384, 64, 14, 1],
  [320, 1280, 7, 1],
  [3, 32, 112, 3],
  [16, 16, 56, 3],
  [64, 64, 56, 3],
  [64, 64, 56, 3, 8],
  [512, 512, 14, 3, 32],
  [32, 32, 112, 3, 32],
  [144, 144, 56, 3, 144],
  [960, 960, 7, 3, 960],
];

/** A convolution and a ReLU in float32, and on integers as a compiled graph has it. */
async function sumsIn(
  integers: boolean,
  [from, to, side, kernel, groups = 1]: (typeof SUMS)[number],
): Promise<Contestant> {
  const random = seeded(1);
  const dims = [1, from, side, side];
  const pad = (kernel - 1) / 2;
  const shape = [to, from / groups, kernel, kernel];
  const float = contestant('float32', dims, 'wasm', (emit, x) => {
    const weights = emit.constant(
      Float32Array.from({ length: sizeOf(shape) }, () => random() - 0.5),
      shape,
    );
    const window = { pads: ints([pad, pad, pad, pad]), group: int(groups) };
    const y = [1, to, side, side];
    return emit.op('Relu', [emit.op('Conv', [x, weights], y, window)], y);
  });
  if (!integers) return float;
  const frame = { x: { dims, data: Float32Array.from({ length: sizeOf(dims) }, () => random()) } };
  const options = { open: wasmRuntime(), integers: 'everywhere', method: 'min-max', equalize: false } as const;
  const { model } = canonicalize(decodeModel((await quantize(float.model, [frame], options)).model));
  return { ...float, name: 'integers', model: encodeModel({ ...model, graph: withIntegerSums(model.graph) }) };
}

/** Prints the table that sdk/graph/kernels.ts is written after. */
export async function kernels(runs: number): Promise<void> {
  const sums = [];
  for (const layer of SUMS) {
    const [from, to, side, kernel, groups = 1] = layer;
    // of the profile only the kernel itself: what stands around it depends on the neighbours
    const [float, integers] = [profileOf(await sumsIn(false, layer), runs), profileOf(await sumsIn(true, layer), runs)];
    sums.push({
      map: `${from} → ${to}×${side}×${side}`,
      kernel: `${kernel}×${kernel}${groups > 1 ? `, ${groups} groups` : ''}`,
      'products a sum': (from / groups) * kernel * kernel,
      float32: Number(float.linear.toFixed(2)),
      integers: Number(integers.linear.toFixed(2)),
    });
  }
  console.log('\nkernels of convolutions on WebAssembly, one thread, milliseconds');
  console.table(sums);
}

/** Prints the tables that sdk/lrp/lower.ts is written after. */
export async function forms(runs: number): Promise<void> {
  const rows = [];
  for (const map of MAPS) {
    const { from, to, side, kernel, stride, groups = 1 } = map;
    const times = await cpuTimes(await Promise.all(FORMS.map((form) => openInNode(transposed(form, map)))), runs);
    const window = { kernel: side.map(() => kernel), strides: side.map(() => stride), dilations: [], pads: [] };
    rows.push({
      map: `${from} → ${to}×${side.join('×')}`,
      kernel: `${groups > 1 ? 'depthwise ' : ''}${side.map(() => kernel).join('×')}${stride > 1 ? `, stride ${stride}` : ''}`,
      ...Object.fromEntries(FORMS.map((form, k) => [form, Number(times[k]!.toFixed(2))])),
      chosen: transposedFormFor({ window, to }, 'wasm'),
    });
  }
  console.log('\nJ(w)ᵀ·s of a convolution on WebAssembly, one thread, milliseconds');
  console.table(rows);
  const pairs = [];
  for (const [name, write] of Object.entries(ELEMENTWISE)) {
    const contestants = [
      repeatedly('nothing', 'wasm', (_, x) => x),
      repeatedly('vector', 'wasm', write),
      repeatedly('plain', 'any', write),
    ];
    const [nothing = 0, ...times] = await cpuTimes(await Promise.all(contestants.map(openInNode)), runs);
    const [vector, plain] = times.map((time) => Number(((time - nothing) / COPIES).toFixed(2)));
    pairs.push({ '': name, vector, plain });
  }
  console.log('\nelement-wise forms on 1.2 million elements, milliseconds');
  console.table(pairs);
}
