import { createBuilder, floatTensor, type GraphBuilder, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { float, int, ints } from '../../sdk/graph/graph.js';
import { seeded } from '../reference/random.js';

/** The classifiers that the benchmark times: the published architectures at 224×224 with random weights, batch 1. */
export type NetworkName = 'vgg11' | 'resnet18' | 'mobilenetv2';

/** Layers of a classifier under construction: each returns the name of its output. */
interface Layers {
  readonly builder: GraphBuilder;
  conv(x: string, from: number, to: number, kernel: number, stride?: number, groups?: number): string;
  relu(x: string): string;
  relu6(x: string): string;
  dense(x: string, from: number, to: number): string;
}

function layers(seed: number): Layers {
  const random = seeded(seed);
  const builder = createBuilder();
  let count = 0;
  // He-scaled, so that activations keep their size through the depth
  const weights = (dims: readonly number[], fanIn: number): string => {
    const size = dims.reduce((product, dim) => product * dim, 1);
    const scale = Math.sqrt(6 / fanIn);
    count += 1;
    return builder.initializer(
      `w${count}`,
      floatTensor(
        Float32Array.from({ length: size }, () => (random() * 2 - 1) * scale),
        dims,
      ),
    );
  };
  return {
    builder,
    conv(x, from, to, kernel, stride = 1, groups = 1) {
      const w = weights([to, from / groups, kernel, kernel], (from / groups) * kernel * kernel);
      const bias = weights([to], 100);
      const pad = (kernel - 1) / 2;
      return builder.node('Conv', [x, w, bias], {
        kernel_shape: ints([kernel, kernel]),
        strides: ints([stride, stride]),
        pads: ints([pad, pad, pad, pad]),
        group: int(groups),
      });
    },
    relu: (x) => builder.node('Relu', [x]),
    relu6: (x) => builder.node('Clip', [x, builder.floats([0]), builder.floats([6])]),
    dense: (x, from, to) =>
      builder.node('Gemm', [x, weights([to, from], from), weights([to], 100)], { transB: int(1), alpha: float(1) }),
  };
}

const pool = (builder: GraphBuilder, x: string, kernel: number, stride: number, pad = 0): string =>
  builder.node('MaxPool', [x], {
    kernel_shape: ints([kernel, kernel]),
    strides: ints([stride, stride]),
    pads: ints([pad, pad, pad, pad]),
  });

function vgg11(): Layers {
  const net = layers(11);
  let x = net.builder.input('image', 'float32', [1, 3, 224, 224]);
  let channels = 3;
  for (const step of [64, 'pool', 128, 'pool', 256, 256, 'pool', 512, 512, 'pool', 512, 512, 'pool'] as const) {
    if (step === 'pool') x = pool(net.builder, x, 2, 2);
    else {
      x = net.relu(net.conv(x, channels, step, 3));
      channels = step;
    }
  }
  x = net.builder.node('Flatten', [x], { axis: int(1) });
  x = net.relu(net.dense(x, 512 * 49, 4096));
  x = net.relu(net.dense(x, 4096, 4096));
  net.builder.node('Identity', [net.dense(x, 4096, 1000)], {}, { outputs: ['logits'] });
  return net;
}

function resnet18(): Layers {
  const net = layers(18);
  let x = net.builder.input('image', 'float32', [1, 3, 224, 224]);
  x = pool(net.builder, net.relu(net.conv(x, 3, 64, 7, 2)), 3, 2, 1);
  let channels = 64;
  for (const [width, stride] of [
    [64, 1],
    [64, 1],
    [128, 2],
    [128, 1],
    [256, 2],
    [256, 1],
    [512, 2],
    [512, 1],
  ] as const) {
    const inner = net.conv(net.relu(net.conv(x, channels, width, 3, stride)), width, width, 3);
    const shortcut = stride === 1 && channels === width ? x : net.conv(x, channels, width, 1, stride);
    x = net.relu(net.builder.node('Add', [inner, shortcut]));
    channels = width;
  }
  x = net.builder.node('Flatten', [net.builder.node('GlobalAveragePool', [x])], { axis: int(1) });
  net.builder.node('Identity', [net.dense(x, 512, 1000)], {}, { outputs: ['logits'] });
  return net;
}

function mobilenetv2(): Layers {
  const net = layers(2);
  let x = net.builder.input('image', 'float32', [1, 3, 224, 224]);
  x = net.relu6(net.conv(x, 3, 32, 3, 2));
  let channels = 32;
  for (const [expansion, width, repeats, first] of [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ] as const) {
    for (let block = 0; block < repeats; block++) {
      const stride = block === 0 ? first : 1;
      const hidden = channels * expansion;
      const expanded = expansion === 1 ? x : net.relu6(net.conv(x, channels, hidden, 1));
      const filtered = net.relu6(net.conv(expanded, hidden, hidden, 3, stride, hidden));
      const projected = net.conv(filtered, hidden, width, 1);
      x = stride === 1 && channels === width ? net.builder.node('Add', [x, projected]) : projected;
      channels = width;
    }
  }
  x = net.relu6(net.conv(x, channels, 1280, 1));
  x = net.builder.node('Flatten', [net.builder.node('GlobalAveragePool', [x])], { axis: int(1) });
  net.builder.node('Identity', [net.dense(x, 1280, 1000)], {}, { outputs: ['logits'] });
  return net;
}

const architectures: Readonly<Record<NetworkName, () => Layers>> = { vgg11, resnet18, mobilenetv2 };

/** Names of the networks, in the order of the benchmark's table. */
export const networkNames = Object.keys(architectures) as readonly NetworkName[];

/** The ONNX file of a network: input `image` [1, 3, 224, 224], output `logits` [1, 1000]. */
export function network(name: NetworkName): Uint8Array {
  const { builder } = architectures[name]();
  builder.output('logits', 'float32', [1, 1000]);
  return encodeModel(modelOf(builder.graph));
}
