import { int, intAttribute, sizeOf } from '../../graph/graph.js';
import { type Emitter, type Value, type Window, windowAttributes, windowOf } from '../emitter.js';
import { relevanceQuotient } from '../linear.js';
import { convolutionLayer, transposedConvolutionLayer } from './convolution.js';
import { arriving, type NodeContext, type OperatorSupport, required } from './operator.js';
import { throughProduct } from './rescale.js';

/**
 * Σ over batch and positions p of small[c, p] · large[d, p·stride + k·dilation − pad], for every channel c, every channel d of its
 * group and every cell k of the kernel: what a convolution's output and its input say about its kernels. A convolution again, over
 * the batch, with strides and dilations in each other's place.
 */
function correlated(emit: Emitter, large: Value, small: Value, window: Window, groups: number): Value {
  const [batch, largeChannels, ...size] = large.dims as [number, number, ...number[]];
  const [, smallChannels, ...places] = small.dims as [number, number, ...number[]];
  const spatial = size.map((_, axis) => axis + 3);
  const [inner, outer] = [largeChannels / groups, smallChannels / groups];
  const data = emit.reshape(
    emit.transpose(emit.reshape(large, [batch, groups, inner, ...size]), [2, 1, 0, ...spatial]),
    [inner, groups * batch, ...size],
  );
  const kernels = emit.reshape(
    emit.transpose(emit.reshape(small, [batch, groups, outer, ...places]), [1, 2, 0, ...spatial]),
    [smallChannels, batch, ...places],
  );
  const turned = { ...window, kernel: places, strides: window.dilations, dilations: window.strides };
  const rank = size.length;
  const found = size.map((length, axis) => {
    const padded = length + window.pads[axis]! + window.pads[axis + rank]!;
    return Math.floor((padded - (places[axis]! - 1) * window.strides[axis]! - 1) / window.dilations[axis]!) + 1;
  });
  const all = emit.op('Conv', [data, kernels], [inner, smallChannels, ...found], {
    ...windowAttributes(turned),
    group: int(groups),
  });
  const axes = size.map((_, axis) => axis + 2);
  // cells that the stride never reached make the result longer than the kernel
  const cells = emit.slice(
    all,
    axes.map(() => 0),
    window.kernel,
    axes,
  );
  return emit.transpose(cells, [1, 0, ...axes]);
}

/** A convolution whose kernels are computed, in both directions. */
interface Correlation {
  /** J(w)ᵀ·s */
  toData(s: Value): Value;
  /** the same for the kernels */
  toKernels(s: Value): Value;
  /** relevance spread evenly over the data that reach an output */
  evenly(s: Value): Value;
}

function correlationOf(context: NodeContext): Correlation {
  const { emit, node, outputs } = context;
  const [x, w] = [required(context, 0), required(context, 1)];
  const layerOf = node.op === 'Conv' ? convolutionLayer : transposedConvolutionLayer;
  const layer = layerOf(emit, node, [x, w, undefined], outputs[0]!, false);
  const window = windowOf(node, w.dims.slice(2));
  const groups = intAttribute(node, 'group', 1);
  return {
    toData: (s) => layer.backward(s, w),
    toKernels: (s) =>
      node.op === 'Conv' ? correlated(emit, x, s, window, groups) : correlated(emit, s, x, window, groups),
    evenly: (s) => layer.spread(emit.div(s, layer.reached)),
  };
}

/**
 * y = w ∗ x whose kernels w come from the input too, as where a template is searched in a picture. As in a product of two activations
 * every term owes itself to both factors alike: R_x = x ⊙ J(w)ᵀs, R_w likewise, with s = R / (2y + ε sign y) (Achtibat et al. 2024).
 */
export const correlation: OperatorSupport = {
  family: 'Linear layers',
  rules: ['epsilon', 'z', 'gradient'],
  source: 'halves for data and kernels (Achtibat et al. 2024)',
  rescale: throughProduct,
  evenly(context) {
    const { emit } = context;
    const { evenly } = correlationOf(context);
    const w = required(context, 1);
    const relevance = arriving(context);
    if (context.wants(0)) return [evenly(relevance)];
    const all = emit.expand(relevance, context.outputs[0]!.dims);
    const sum = emit.reduce(
      'Sum',
      all,
      all.dims.map((_, axis) => axis),
    );
    return [undefined, emit.expand(emit.reshape(emit.mul(sum, emit.scalar(1 / sizeOf(w.dims))), []), w.dims)];
  },
  explain(context) {
    const { emit, rule, outputs } = context;
    const { toData, toKernels } = correlationOf(context);
    const wanted = [0, 1].filter((index) => context.wants(index));
    const y = outputs[0]!;
    const relevance = emit.expand(arriving(context), y.dims);
    const gradient = rule.name === 'gradient';
    const whole = wanted.length === 2 ? emit.mul(y, emit.scalar(2)) : y;
    const s = gradient ? relevance : relevanceQuotient(context, relevance, whole, rule.epsilon);
    return [toData, toKernels].map((back, index) => {
      if (!context.wants(index)) return undefined;
      const own = back(s);
      return gradient ? own : emit.mul(required(context, index), own);
    });
  },
};
