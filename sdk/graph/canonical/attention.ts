import { UnsupportedOperatorError } from '../../errors.js';
import { floatAttribute, int, intAttribute } from '../graph.js';
import { type AttentionSizes, attentionSizes, multiHeadSizes, projectedSizes } from '../shapes/attention.js';
import { type Call, need } from '../shapes/call.js';
import { tensorOf } from '../tensors.js';
import type { Upgrade } from './upgrade.js';
import { type Writer, written } from './writer.js';

/** Queries, keys and values as [batch, heads, length, width], and what is done to the scores. */
interface Heads {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly sizes: AttentionSizes;
  readonly scale: number;
  /** Changes the scores [batch, heads, queries, keys] before the softmax. */
  mask(write: Writer, scores: string): string;
}

/** [batch, length, heads · width] with an axis of heads in front of the length. */
function split(write: Writer, rows: string, [batch, length, heads, width]: readonly number[]): string {
  return write.transpose(write.reshape(rows, [batch!, length!, heads!, width!]), [0, 2, 1, 3]);
}

/** Every head of keys or values as often as there are heads of queries for it. */
function repeated(
  write: Writer,
  heads: string,
  { batch, heads: count, keyHeads }: AttentionSizes,
  rest: readonly number[],
) {
  if (count === keyHeads) return heads;
  const apart = write.reshape(heads, [batch, keyHeads, 1, ...rest]);
  const copies = write.op('Expand', [apart, write.ints([batch, keyHeads, count / keyHeads, ...rest])]);
  return write.reshape(copies, [batch, count, ...rest]);
}

/** softmax(scale · q kᵀ, masked) · v; the result is [batch, heads, queries, valueWidth]. */
function attend(write: Writer, { q, k, v, sizes, scale, mask }: Heads): { y: string; scores: string } {
  const total = sizes.past + sizes.keys;
  const keys = write.transpose(repeated(write, k, sizes, [total, sizes.width]), [0, 1, 3, 2]);
  const scaled = scale === 1 ? q : write.op('Mul', [q, write.numbers([scale])]);
  const scores = write.op('MatMul', [scaled, keys]);
  const weights = write.op('Softmax', [mask(write, scores)], { axis: int(3) });
  return { y: write.op('MatMul', [weights, repeated(write, v, sizes, [total, sizes.valueWidth])], {}, 'main'), scores };
}

/** The heads of a result side by side again. */
function joined(write: Writer, y: string, { batch, heads, queries, valueWidth }: AttentionSizes): string {
  return write.reshape(write.transpose(y, [0, 2, 1, 3]), [batch, queries, heads * valueWidth]);
}

/** Keys or values of the past in front of the new ones. */
const after = (write: Writer, past: string | undefined, heads: string): string =>
  past ? write.op('Concat', [past, heads], { axis: int(2) }) : heads;

/** Where query i sees key j, for all i and j: j ≤ i + the length of the past. A constant of bool, which stands for 0 and −∞. */
function causal(write: Writer, scores: string, { queries, keys, past }: AttentionSizes): string {
  const total = past + keys;
  const seen = Float64Array.from({ length: queries * total }, (_, at) =>
    Number((at % total) - Math.floor(at / total) <= past),
  );
  const mask = write.tensor(tensorOf('bool', [queries, total], seen));
  return write.op('Where', [mask, scores, write.numbers([Number.NEGATIVE_INFINITY])]);
}

/** Scores bounded by ±cap, smoothly; before they are masked, as ONNX Runtime has it. */
const bounded = (write: Writer, scores: string, cap: number): string =>
  write.op('Mul', [write.op('Tanh', [write.op('Div', [scores, write.numbers([cap])])]), write.numbers([cap])]);

const refuse = ({ node }: Call, reason: string): never => {
  throw new UnsupportedOperatorError(node.name, node.op, reason, node.domain);
};

/** ai.onnx Attention, version 23 and later. */
const attention: Upgrade = (call, builder) => {
  const { node } = call;
  const sizes = attentionSizes(call);
  if (node.inputs[6] !== undefined && node.inputs[6] !== '') refuse(call, 'its keys have lengths of their own.');
  if (intAttribute(node, 'qk_matmul_output_mode', 0) !== 0 && node.outputs[3]) {
    refuse(call, 'its scores are read after they have been masked.');
  }
  return written(node, need(call, 0).type, builder, (write) => {
    const { batch, heads, keyHeads, queries, keys, width, valueWidth } = sizes;
    const [q, k, v, mask, pastKeys, pastValues] = node.inputs as [string, string, string, ...(string | undefined)[]];
    const own = (name: string, layout: string, shape: readonly number[]): string =>
      layout === 'heads' ? name : split(write, name, shape);
    const softcap = floatAttribute(node, 'softcap', 0);
    const allKeys = after(write, pastKeys, own(k, sizes.keyLayout, [batch, keys, keyHeads, width]));
    const allValues = after(write, pastValues, own(v, sizes.valueLayout, [batch, keys, keyHeads, valueWidth]));
    const { y, scores } = attend(write, {
      q: own(q, sizes.queryLayout, [batch, queries, heads, width]),
      k: allKeys,
      v: allValues,
      sizes,
      scale: floatAttribute(node, 'scale', 1 / Math.sqrt(width)),
      mask(_, raw) {
        let masked = softcap === 0 ? raw : bounded(write, raw, softcap);
        if (intAttribute(node, 'is_causal', 0) !== 0) masked = causal(write, masked, sizes);
        if (!mask) return masked;
        return need(call, 3).type === 'bool'
          ? write.op('Where', [mask, masked, write.numbers([Number.NEGATIVE_INFINITY])])
          : write.op('Add', [masked, mask]);
      },
    });
    write.give(node.outputs[0], sizes.queryLayout === 'heads' ? y : joined(write, y, sizes));
    write.give(node.outputs[1], allKeys);
    write.give(node.outputs[2], allValues);
    write.give(node.outputs[3], scores);
  });
};

/** Adds what com.microsoft's operators take for masks: which keys are there, and biases of the scores. */
function maskedByKeys(
  write: Writer,
  call: Call,
  raw: string,
  sizes: AttentionSizes,
  [maskIndex, biasIndex]: readonly [number, number],
): string {
  const { node } = call;
  const total = sizes.past + sizes.keys;
  const filter = floatAttribute(node, 'mask_filter_value', -10000);
  let scores = raw;
  const bias = node.inputs[biasIndex];
  if (bias) scores = write.op('Add', [scores, bias]);
  const mask = node.inputs[maskIndex];
  if (mask) {
    const { dims } = need(call, maskIndex);
    const fits = dims.at(-1) === total && (dims.length === 2 || dims.length === 3);
    if (!fits) refuse(call, `its mask has the shape [${dims.join(', ')}]; only masks of ones and zeros are known.`);
    const [batch, ...rest] = dims as [number, ...number[]];
    const present = write.op('Cast', [mask], { to: int(9) });
    const shaped = write.reshape(present, [batch, 1, ...(rest.length === 1 ? [1] : []), ...rest]);
    scores = write.op('Where', [shaped, scores, write.numbers([filter])]);
  }
  return intAttribute(node, 'unidirectional', 0) === 0 ? scores : causal(write, scores, sizes);
}

/** The scale that com.microsoft's operators write as 0 where it is the usual one. */
const scaleOf = ({ node }: Call, width: number): number => floatAttribute(node, 'scale', 0) || 1 / Math.sqrt(width);

const multiHeadAttention: Upgrade = (call, builder) => {
  const { node } = call;
  const sizes = multiHeadSizes(call);
  return written(node, need(call, 0).type, builder, (write) => {
    const { batch, heads, queries, keys, width, valueWidth } = sizes;
    const [q, k, v, bias, , , pastKeys, pastValues] = node.inputs as [
      string,
      string,
      string,
      ...(string | undefined)[],
    ];
    const ends = [0, heads * width, 2 * heads * width, heads * (2 * width + valueWidth)];
    const own = (name: string, part: number, layout: string, shape: readonly number[]): string => {
      if (layout === 'heads') return name;
      const rows = bias ? write.op('Add', [name, write.slice(bias, 0, ends[part]!, ends[part + 1]!)]) : name;
      return split(write, rows, shape);
    };
    const allKeys = after(write, pastKeys, own(k, 1, sizes.keyLayout, [batch, keys, heads, width]));
    const allValues = after(write, pastValues, own(v, 2, sizes.valueLayout, [batch, keys, heads, valueWidth]));
    const { y, scores } = attend(write, {
      ...{ q: own(q, 0, sizes.queryLayout, [batch, queries, heads, width]), k: allKeys, v: allValues, sizes },
      scale: scaleOf(call, width),
      mask: (_, raw) => maskedByKeys(write, call, raw, sizes, [4, 5]),
    });
    write.give(node.outputs[0], joined(write, y, sizes));
    write.give(node.outputs[1], allKeys);
    write.give(node.outputs[2], allValues);
    write.give(node.outputs[3], scores);
  });
};

const projectedAttention: Upgrade = (call, builder) => {
  const { node } = call;
  const sizes = projectedSizes(call);
  if (intAttribute(node, 'do_rotary', 0) !== 0) refuse(call, 'it rotates positions (do_rotary = 1).');
  if (intAttribute(node, 'past_present_share_buffer', 0) !== 0) refuse(call, 'past and present share a buffer.');
  return written(node, need(call, 0).type, builder, (write) => {
    const { batch, heads, queries, width, valueWidth, past } = sizes;
    const [x, weight, bias, , pasts] = node.inputs as [string, string, ...(string | undefined)[]];
    const product = write.op('MatMul', [x, weight]);
    const all = bias ? write.op('Add', [product, bias]) : product;
    const ends = [0, heads * width, 2 * heads * width, heads * (2 * width + valueWidth)];
    const own = (part: number, size: number): string =>
      split(write, write.slice(all, 2, ends[part]!, ends[part + 1]!), [batch, queries, heads, size]);
    const pastOf = (part: number): string | undefined =>
      pasts ? write.reshape(write.slice(pasts, 0, part, part + 1), [batch, heads, past, width]) : undefined;
    const k = after(write, pastOf(0), own(1, width));
    const v = after(write, pastOf(1), own(2, valueWidth));
    const { y } = attend(write, {
      ...{ q: own(0, width), k, v, sizes },
      scale: scaleOf(call, width),
      mask: (_, raw) => maskedByKeys(write, call, raw, sizes, [3, 5]),
    });
    write.give(node.outputs[0], joined(write, y, sizes));
    if (!node.outputs[1]) return;
    const both = [k, v].map((one) => write.op('Unsqueeze', [one, write.ints([0])]));
    write.give(node.outputs[1], write.op('Concat', both, { axis: int(0) }));
  });
};

/** Inputs of a rotation: data, cosines, sines and positions; `offset` says that one position is that of the first element. */
interface Rotation {
  readonly x: string;
  readonly cosines: string;
  readonly sines: string;
  readonly positions: string | undefined;
  readonly offset: boolean;
  readonly cacheDims: readonly number[];
}

/** Pairs of features turned by the angle of their position: (a cos − b sin, a sin + b cos). */
function rotated(call: Call, write: Writer, { x, cosines, sines, positions, offset, cacheDims }: Rotation): string {
  const { node } = call;
  const { dims } = need(call, 0);
  const half = cacheDims.at(-1)!;
  const isRows = dims.length === 3;
  const width = dims.at(-1)!;
  const heads = isRows ? intAttribute(node, 'num_heads', 0) || width / (2 * half) : dims[1]!;
  const [batch, length] = isRows ? [dims[0]!, dims[1]!] : [dims[0]!, dims[2]!];
  const shape = isRows ? [batch, length, heads, width / heads] : dims;
  const turned = intAttribute(node, 'rotary_embedding_dim', 0) || shape[3]!;
  if (turned !== 2 * half) refuse(call, `its ${half} angles do not turn ${turned} features.`);
  const own = isRows ? write.reshape(x, shape) : x;
  const angles = (cache: string): string => {
    let values = cache;
    let rows = cacheDims[0]!;
    if (positions !== undefined) {
      const steps = write.ints(Array.from({ length }, (_, step) => step));
      const taken = offset ? write.op('Add', [positions, steps]) : positions;
      values = write.op('Gather', [cache, taken], { axis: int(0) });
      rows = offset ? 1 : need(call, node.inputs.indexOf(positions)).dims[0]!;
    }
    return write.reshape(values, isRows ? [rows, length, 1, half] : [rows, 1, length, half]);
  };
  const [cos, sin] = [angles(cosines), angles(sines)];
  const [first, rest] = [
    turned === shape[3] ? own : write.slice(own, 3, 0, turned),
    turned === shape[3] ? undefined : write.slice(own, 3, turned, shape[3]!),
  ];
  const outer = shape.slice(0, 3);
  const interleaved = intAttribute(node, 'interleaved', 0) !== 0;
  const pairs = interleaved ? write.reshape(first, [...outer, half, 2]) : first;
  const part = (index: number): string =>
    interleaved
      ? write.reshape(write.slice(pairs, 4, index, index + 1), [...outer, half])
      : write.slice(pairs, 3, index * half, (index + 1) * half);
  const [a, b] = [part(0), part(1)];
  const times = (left: string, right: string): string => write.op('Mul', [left, right]);
  const results = [write.op('Sub', [times(a, cos), times(b, sin)]), write.op('Add', [times(a, sin), times(b, cos)])];
  const stacked = interleaved
    ? write.reshape(
        write.op(
          'Concat',
          results.map((result) => write.reshape(result, [...outer, half, 1])),
          { axis: int(4) },
        ),
        [...outer, turned],
      )
    : write.op('Concat', results, { axis: int(3) });
  const whole = rest === undefined ? stacked : write.op('Concat', [stacked, rest], { axis: int(3) });
  return isRows ? write.reshape(whole, dims) : whole;
}

const rotaryEmbedding: Upgrade = (call, builder) =>
  written(call.node, need(call, 0).type, builder, (write) => {
    const [x, cosines, sines, positions] = call.node.inputs as [string, string, string, string?];
    const cacheDims = need(call, 1).dims;
    const rotation = { x, cosines, sines, positions: positions || undefined, offset: false, cacheDims };
    write.give(call.node.outputs[0], rotated(call, write, rotation));
  });

const microsoftRotary: Upgrade = (call, builder) =>
  written(call.node, need(call, 0).type, builder, (write) => {
    const [x, positions, cosines, sines] = call.node.inputs as [string, string, string, string];
    const offset = need(call, 1).dims.length === 1;
    const turned = rotated(call, write, { x, cosines, sines, positions, offset, cacheDims: need(call, 2).dims });
    const scale = floatAttribute(call.node, 'scale', 1);
    write.give(call.node.outputs[0], scale === 1 ? turned : write.op('Mul', [turned, write.numbers([scale])]));
  });

/** Attention in one node as the products, the softmax and the moves that it consists of. */
export const attentionUpgrades: Readonly<Record<string, Upgrade>> = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
  'com.microsoft.RotaryEmbedding': microsoftRotary,
  'com.microsoft.MultiHeadAttention': multiHeadAttention,
  'com.microsoft.Attention': projectedAttention,
};
