import { modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { createLayers } from './layers.js';
import { buildStage, type Stage } from './stages.js';

/** A published architecture as its paper's table gives it, at batch 1; weights are random. */
interface Architecture {
  /** `convolutional` ones are held to the bound by multiply-adds */
  readonly family: 'convolutional' | 'attention' | 'recurrent';
  /** shape of the only input */
  readonly input: readonly number[];
  readonly stages: readonly Stage[];
}

const IMAGE = [1, 3, 224, 224];

/** Simonyan and Zisserman 2015; a number is a 3×3 convolution's width, 0 a pooling. */
const vgg = (...widths: readonly number[]): Architecture => ({
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ...widths.map((width): Stage => (width === 0 ? ['max-pool', 2, 2] : ['conv', width, 3, 1, 'relu'])),
    ['flatten'],
    ['dense', 4096, 'relu'],
    ['dense', 4096, 'relu'],
    ['dense', 1000, 'none'],
  ],
});

/** He et al. 2016. */
const resnet = (kind: 'basic' | 'bottleneck', ...repeats: readonly number[]): Architecture => ({
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 64, 7, 2, 'relu'],
    ['max-pool', 3, 2, 1],
    ...repeats.map((count, stage): Stage => [kind, 64 * 2 ** stage, count, stage === 0 ? 1 : 2]),
    ['global-average'],
    ['flatten'],
    ['dense', 1000, 'none'],
  ],
});

/** Szegedy et al. 2015. */
const googlenet: Architecture = {
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 64, 7, 2, 'relu'],
    ['max-pool', 3, 2, 0, 'ceil'],
    ['conv', 64, 1, 1, 'relu'],
    ['conv', 192, 3, 1, 'relu'],
    ['max-pool', 3, 2, 0, 'ceil'],
    ['inception', 64, 96, 128, 16, 32, 32],
    ['inception', 128, 128, 192, 32, 96, 64],
    ['max-pool', 3, 2, 0, 'ceil'],
    ['inception', 192, 96, 208, 16, 48, 64],
    ['inception', 160, 112, 224, 24, 64, 64],
    ['inception', 128, 128, 256, 24, 64, 64],
    ['inception', 112, 144, 288, 32, 64, 64],
    ['inception', 256, 160, 320, 32, 128, 128],
    ['max-pool', 3, 2, 0, 'ceil'],
    ['inception', 256, 160, 320, 32, 128, 128],
    ['inception', 384, 192, 384, 48, 128, 128],
    ['global-average'],
    ['flatten'],
    ['dense', 1000, 'none'],
  ],
};

/** Huang et al. 2017. */
const densenet121: Architecture = {
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 64, 7, 2, 'relu'],
    ['max-pool', 3, 2, 1],
    ['dense-block', 32, 6],
    ['transition'],
    ['dense-block', 32, 12],
    ['transition'],
    ['dense-block', 32, 24],
    ['transition'],
    ['dense-block', 32, 16],
    ['norm', 'relu'],
    ['global-average'],
    ['flatten'],
    ['dense', 1000, 'none'],
  ],
};

/** Rows of [expansion, width, repeats, stride, kernel] as inverted residual blocks; `squeeze` is a gate's share of the block's input. */
function invertedBlocks(
  from: number,
  rows: readonly (readonly [expansion: number, width: number, repeats: number, stride: number, kernel: number])[],
  activation: 'relu6' | 'silu',
  squeeze: number,
): Stage[] {
  let channels = from;
  return rows.flatMap(([expansion, width, repeats, first, kernel]) =>
    Array.from({ length: repeats }, (_, block): Stage => {
      const input = channels;
      channels = width;
      const stride = block === 0 ? first : 1;
      return ['inverted', kernel, expansion * input, width, stride, activation, squeeze * input, 'sigmoid'];
    }),
  );
}

/** Sandler et al. 2018. */
const mobilenetv2: Architecture = {
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 32, 3, 2, 'relu6'],
    ...invertedBlocks(
      32,
      [
        [1, 16, 1, 1, 3],
        [6, 24, 2, 2, 3],
        [6, 32, 3, 2, 3],
        [6, 64, 4, 2, 3],
        [6, 96, 3, 1, 3],
        [6, 160, 3, 2, 3],
        [6, 320, 1, 1, 3],
      ],
      'relu6',
      0,
    ),
    ['conv', 1280, 1, 1, 'relu6'],
    ['global-average'],
    ['flatten'],
    ['dense', 1000, 'none'],
  ],
};

/** Howard et al. 2019, the large one. */
const mobilenetv3: Architecture = {
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 16, 3, 2, 'hard-swish'],
    ['inverted', 3, 16, 16, 1, 'relu', 0, 'none'],
    ['inverted', 3, 64, 24, 2, 'relu', 0, 'none'],
    ['inverted', 3, 72, 24, 1, 'relu', 0, 'none'],
    ['inverted', 5, 72, 40, 2, 'relu', 24, 'hard-sigmoid'],
    ['inverted', 5, 120, 40, 1, 'relu', 32, 'hard-sigmoid'],
    ['inverted', 5, 120, 40, 1, 'relu', 32, 'hard-sigmoid'],
    ['inverted', 3, 240, 80, 2, 'hard-swish', 0, 'none'],
    ['inverted', 3, 200, 80, 1, 'hard-swish', 0, 'none'],
    ['inverted', 3, 184, 80, 1, 'hard-swish', 0, 'none'],
    ['inverted', 3, 184, 80, 1, 'hard-swish', 0, 'none'],
    ['inverted', 3, 480, 112, 1, 'hard-swish', 120, 'hard-sigmoid'],
    ['inverted', 3, 672, 112, 1, 'hard-swish', 168, 'hard-sigmoid'],
    ['inverted', 5, 672, 160, 2, 'hard-swish', 168, 'hard-sigmoid'],
    ['inverted', 5, 960, 160, 1, 'hard-swish', 240, 'hard-sigmoid'],
    ['inverted', 5, 960, 160, 1, 'hard-swish', 240, 'hard-sigmoid'],
    ['conv', 960, 1, 1, 'hard-swish'],
    ['global-average'],
    ['flatten'],
    ['dense', 1280, 'hard-swish'],
    ['dense', 1000, 'none'],
  ],
};

/** Tan and Le 2019. */
const efficientnetb0: Architecture = {
  family: 'convolutional',
  input: IMAGE,
  stages: [
    ['conv', 32, 3, 2, 'silu'],
    ...invertedBlocks(
      32,
      [
        [1, 16, 1, 1, 3],
        [6, 24, 2, 2, 3],
        [6, 40, 2, 2, 5],
        [6, 80, 3, 2, 3],
        [6, 112, 3, 1, 5],
        [6, 192, 4, 2, 5],
        [6, 320, 1, 1, 3],
      ],
      'silu',
      1 / 4,
    ),
    ['conv', 1280, 1, 1, 'silu'],
    ['global-average'],
    ['flatten'],
    ['dense', 1000, 'none'],
  ],
};

/** Touvron et al. 2021 (DeiT-Tiny), after Dosovitskiy et al. 2021. */
const vittiny: Architecture = {
  family: 'attention',
  input: IMAGE,
  stages: [['patches', 16, 192], ['encoder', 3, 12], ['class-token'], ['dense', 1000, 'none']],
};

/** A second of 10 ms frames with 64 mel bands, two layers, the last hidden state classified. */
const lstm2: Architecture = {
  family: 'recurrent',
  input: [100, 1, 64],
  stages: [['lstm', 128], ['lstm', 128], ['last-step'], ['dense', 35, 'none']],
};

/** Tran et al. 2015 (C3D) at a quarter of its width and half its depth: 16 frames of 112×112. */
const c3d: Architecture = {
  family: 'convolutional',
  input: [1, 3, 16, 112, 112],
  stages: [
    ['conv', 16, 3, 1, 'relu'],
    ['max-pool', 2, 2],
    ['conv', 32, 3, 1, 'relu'],
    ['max-pool', 2, 2],
    ['conv', 64, 3, 1, 'relu'],
    ['max-pool', 2, 2],
    ['conv', 128, 3, 1, 'relu'],
    ['max-pool', 2, 2],
    ['flatten'],
    ['dense', 512, 'relu'],
    ['dense', 101, 'none'],
  ],
};

const architectures = {
  vgg11: vgg(64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
  vgg16: vgg(64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
  resnet18: resnet('basic', 2, 2, 2, 2),
  resnet50: resnet('bottleneck', 3, 4, 6, 3),
  googlenet,
  densenet121,
  mobilenetv2,
  mobilenetv3,
  efficientnetb0,
  vittiny,
  lstm2,
  c3d,
} as const satisfies Readonly<Record<string, Architecture>>;

/** A network that the benchmark knows. */
export type NetworkName = keyof typeof architectures;

/** Names of the networks, in the order of the benchmark's table. */
export const networkNames = Object.keys(architectures) as readonly NetworkName[];

/** A network as a file, and what has to be known to run it. */
export interface Network {
  readonly name: NetworkName;
  readonly family: Architecture['family'];
  /** shape of its only input, `input`; its values lie in 0…1 */
  readonly input: readonly number[];
  /** shape of its only output, `logits` */
  readonly logits: readonly number[];
  /** the ONNX file */
  readonly model: Uint8Array;
}

/** Builds a network; the same name gives the same bytes. */
export function network(name: NetworkName): Network {
  const { family, input, stages } = architectures[name];
  const net = createLayers(networkNames.indexOf(name) + 1);
  const logits = (stages as readonly Stage[]).reduce((x, stage) => buildStage(net, x, stage), net.input(input));
  net.builder.node('Identity', [logits.name], {}, { outputs: ['logits'] });
  net.builder.output('logits', 'float32', logits.dims);
  return { name, family, input, logits: logits.dims, model: encodeModel(modelOf(net.builder.graph)) };
}
