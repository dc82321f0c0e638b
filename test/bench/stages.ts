import type { Activation, Feature, Layers } from './layers.js';

/** One row of an architecture: the kind of stage, then what its paper's table says of it. */
export type Stage =
  | readonly ['conv', width: number, kernel: number, stride: number, activation: Activation]
  | readonly ['max-pool', kernel: number, stride: number, padding?: number, ceil?: 'ceil']
  /** residual blocks of two 3×3 convolutions; the stride is the first block's */
  | readonly ['basic', width: number, repeats: number, stride: number]
  /** residual blocks of 1×1, 3×3 and 1×1 convolutions; the output is four times as wide */
  | readonly ['bottleneck', width: number, repeats: number, stride: number]
  /** the widths of the 1×1 path, the 3×3 path with its reduction, the 5×5 path with its reduction, and the pooled path */
  | readonly ['inception', one: number, reduce3: number, three: number, reduce5: number, five: number, pooled: number]
  /** layers whose outputs are all concatenated; normalisation stands before every convolution */
  | readonly ['dense-block', growth: number, repeats: number]
  /** half the channels, half the size */
  | readonly ['transition']
  | readonly ['norm', activation: Activation]
  /**
   * an inverted residual block: widened to `expanded` channels, filtered by channel, projected to `width`; `squeezed` is the
   * number of channels inside its squeeze-and-excite gate, 0 for none
   */
  | readonly [
      'inverted',
      kernel: number,
      expanded: number,
      width: number,
      stride: number,
      activation: Activation,
      squeezed: number,
      gate: Activation,
    ]
  | readonly ['global-average']
  | readonly ['flatten']
  | readonly ['dense', width: number, activation: Activation]
  /** square patches as tokens, with a class token before them and positions added */
  | readonly ['patches', size: number, width: number]
  | readonly ['encoder', heads: number, repeats: number]
  /** the last normalisation and the class token alone */
  | readonly ['class-token']
  | readonly ['lstm', hidden: number]
  | readonly ['last-step'];

/** How a stage of each kind is built. */
const stages: {
  readonly [K in Stage[0]]: (net: Layers, x: Feature, stage: Extract<Stage, readonly [K, ...unknown[]]>) => Feature;
} = {
  conv: (net, x, [, width, kernel, stride, activation]) =>
    net.activate(net.conv(x, width, kernel, { stride }), activation),
  'max-pool': (net, x, [, kernel, stride, padding, ceil]) => net.maxPool(x, kernel, stride, padding, ceil === 'ceil'),
  basic: (net, x, [, width, repeats, first]) =>
    repeated(repeats, x, (input, block) => {
      const stride = block === 0 ? first : 1;
      const inner = net.activate(net.conv(input, width, 3, { stride }), 'relu');
      return residual(net, input, net.conv(inner, width, 3), stride);
    }),
  bottleneck: (net, x, [, width, repeats, first]) =>
    repeated(repeats, x, (input, block) => {
      const stride = block === 0 ? first : 1;
      const reduced = net.activate(net.conv(input, width, 1), 'relu');
      const filtered = net.activate(net.conv(reduced, width, 3, { stride }), 'relu');
      return residual(net, input, net.conv(filtered, 4 * width, 1), stride);
    }),
  inception(net, x, [, one, reduce3, three, reduce5, five, pooled]) {
    const layer = (input: Feature, width: number, kernel: number): Feature =>
      net.activate(net.conv(input, width, kernel), 'relu');
    const paths = [
      layer(x, one, 1),
      layer(layer(x, reduce3, 1), three, 3),
      layer(layer(x, reduce5, 1), five, 5),
      layer(net.maxPool(x, 3, 1, 1), pooled, 1),
    ];
    return net.concat(paths, 1);
  },
  'dense-block': (net, x, [, growth, repeats]) =>
    repeated(repeats, x, (input) => {
      const narrowed = net.conv(net.activate(net.batchNorm(input), 'relu'), 4 * growth, 1, { bias: false });
      const grown = net.conv(net.activate(net.batchNorm(narrowed), 'relu'), growth, 3, { bias: false });
      return net.concat([input, grown], 1);
    }),
  transition(net, x) {
    const halved = net.conv(net.activate(net.batchNorm(x), 'relu'), x.dims[1]! / 2, 1, { bias: false });
    return net.averagePool(halved, 2, 2);
  },
  norm: (net, x, [, activation]) => net.activate(net.batchNorm(x), activation),
  inverted(net, x, [, kernel, expanded, width, stride, activation, squeezed, gate]) {
    const channels = x.dims[1]!;
    const wide = expanded === channels ? x : net.activate(net.conv(x, expanded, 1), activation);
    const filtered = net.activate(net.conv(wide, expanded, kernel, { stride, groups: expanded }), activation);
    const excited = squeezed === 0 ? filtered : squeezeExcite(net, filtered, squeezed, activation, gate);
    const projected = net.conv(excited, width, 1);
    return stride === 1 && channels === width ? net.add(x, projected) : projected;
  },
  'global-average': (net, x) => net.globalAverage(x),
  flatten: (net, x) => net.flatten(x),
  dense: (net, x, [, width, activation]) => net.activate(net.dense(x, width), activation),
  patches(net, x, [, size, width]) {
    const map = net.conv(x, width, size, { stride: size, padding: 0 });
    const count = map.dims[2]! * map.dims[3]!;
    const tokens = net.transpose(net.reshape(map, [1, width, count]), [0, 2, 1]);
    const all = net.concat([net.parameter([1, 1, width], 0.1), tokens], 1);
    return net.add(all, net.parameter([1, count + 1, width], 0.1));
  },
  encoder: (net, x, [, heads, repeats]) =>
    repeated(repeats, x, (input) => {
      const attended = net.add(input, attention(net, net.layerNorm(input), heads));
      const width = input.dims.at(-1)!;
      const hidden = net.activate(net.linear(net.layerNorm(attended), 4 * width), 'gelu');
      return net.add(attended, net.linear(hidden, width));
    }),
  'class-token': (net, x) => net.at(net.layerNorm(x), 1, 0),
  lstm: (net, x, [, hidden]) => net.lstm(x, hidden),
  'last-step': (net, x) => net.at(x, 0, x.dims[0]! - 1),
};

/** Appends a stage to a network. */
export function buildStage<K extends Stage[0]>(
  net: Layers,
  x: Feature,
  stage: Extract<Stage, readonly [K, ...unknown[]]>,
): Feature {
  return stages[stage[0] as K](net, x, stage);
}

const repeated = (times: number, x: Feature, block: (input: Feature, index: number) => Feature): Feature =>
  Array.from({ length: times }, (_, index) => index).reduce(block, x);

function residual(net: Layers, input: Feature, inner: Feature, stride: number): Feature {
  const fits = stride === 1 && input.dims[1] === inner.dims[1];
  const shortcut = fits ? input : net.conv(input, inner.dims[1]!, 1, { stride });
  return net.activate(net.add(inner, shortcut), 'relu');
}

function squeezeExcite(net: Layers, x: Feature, squeezed: number, activation: Activation, gate: Activation): Feature {
  // MobileNetV3 squeezes with a ReLU, EfficientNet with its own activation
  const inner = activation === 'silu' ? 'silu' : 'relu';
  const narrow = net.activate(net.conv(net.globalAverage(x), squeezed, 1), inner);
  return net.mul(x, net.activate(net.conv(narrow, x.dims[1]!, 1), gate));
}

function attention(net: Layers, x: Feature, heads: number): Feature {
  const [batch, tokens, width] = x.dims as [number, number, number];
  const inHeads = (part: Feature): Feature =>
    net.transpose(net.reshape(part, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
  const [query, key, value] = net.split(net.linear(x, 3 * width), 3, 2).map(inHeads) as [Feature, Feature, Feature];
  const scale: Feature = { name: net.builder.floats([1 / Math.sqrt(width / heads)]), dims: [] };
  const scores = net.mul(net.matMul(query, net.transpose(key, [0, 1, 3, 2])), scale);
  const mixed = net.matMul(net.softmax(scores), value);
  return net.linear(net.reshape(net.transpose(mixed, [0, 2, 1, 3]), [batch, tokens, width]), width);
}
