import { intAttribute, intsAttribute } from '../graph.js';
import { type Call, misfit, need, type ShapeRule, show } from './call.js';
import { same } from './elementwise.js';

/** How queries, keys or values lie in memory: with an axis of heads of their own, or all heads side by side in the last axis. */
export type HeadLayout = 'heads' | 'rows';

/** Sizes of an attention over [batch, heads, length, width]. */
export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  /** heads of keys and values; each serves heads / keyHeads heads of queries */
  readonly keyHeads: number;
  readonly queries: number;
  /** keys that are given, without those of the past */
  readonly keys: number;
  readonly past: number;
  /** width of a head of queries and keys, and of one of values */
  readonly width: number;
  readonly valueWidth: number;
  readonly queryLayout: HeadLayout;
  readonly keyLayout: HeadLayout;
  readonly valueLayout: HeadLayout;
}

const layoutOf = (call: Call, dims: readonly number[]): HeadLayout => {
  if (dims.length === 4) return 'heads';
  if (dims.length === 3) return 'rows';
  throw misfit(call, `${show(dims)} is neither [batch, length, heads·width] nor [batch, heads, length, width]`);
};

/** Heads, length and width of one of the inputs. */
function partsOf(
  call: Call,
  index: number,
  heads: number,
): [batch: number, heads: number, length: number, width: number] {
  const { dims } = need(call, index);
  if (layoutOf(call, dims) === 'heads') return dims as [number, number, number, number];
  const [batch, length, all] = dims as [number, number, number];
  if (heads < 1 || all % heads !== 0) throw misfit(call, `${show(dims)} does not divide into ${heads} heads`);
  return [batch, heads, length, all / heads];
}

function sizesFrom(
  call: Call,
  [q, k, v]: readonly [number, number, number],
  heads: readonly [queries: number, keys: number],
  pastIndex: number,
): AttentionSizes {
  const [batch, own, queries, width] = partsOf(call, q, heads[0]);
  const [, keyHeads, keys] = partsOf(call, k, heads[1]);
  const [, , values, valueWidth] = partsOf(call, v, heads[1]);
  if (keys !== values || own % keyHeads !== 0) {
    throw misfit(call, `${keys} keys of ${keyHeads} heads do not fit ${values} values and ${own} heads of queries`);
  }
  const layout = (index: number) => layoutOf(call, need(call, index).dims);
  return {
    ...{ batch, heads: own, keyHeads, queries, keys, width, valueWidth },
    past: call.inputs[pastIndex]?.dims[2] ?? 0,
    queryLayout: layout(q),
    keyLayout: layout(k),
    valueLayout: layout(v),
  };
}

/** Sizes of an ai.onnx Attention (version 23 and later). */
export function attentionSizes(call: Call): AttentionSizes {
  const heads = ['q_num_heads', 'kv_num_heads'].map((name) => intAttribute(call.node, name, 0));
  return sizesFrom(call, [0, 1, 2], heads as [number, number], 4);
}

const attention: ShapeRule = (call) => {
  const sizes = attentionSizes(call);
  const { batch, heads, keyHeads, queries, keys, past, width, valueWidth } = sizes;
  const { type } = need(call, 0);
  const result =
    sizes.queryLayout === 'heads' ? [batch, heads, queries, valueWidth] : [batch, queries, heads * valueWidth];
  const total = past + keys;
  return [
    result,
    [batch, keyHeads, total, width],
    [batch, keyHeads, total, valueWidth],
    [batch, heads, queries, total],
  ].map((dims) => ({ type, dims }));
};

/** Sizes of a com.microsoft MultiHeadAttention whose queries, keys and values are inputs of their own. */
export function multiHeadSizes(call: Call): AttentionSizes {
  const heads = intAttribute(call.node, 'num_heads', 0);
  if (call.inputs[1] === undefined || call.inputs[2] === undefined) {
    throw misfit(call, 'its queries, keys and values are packed into one tensor');
  }
  return sizesFrom(call, [0, 1, 2], [heads, heads], 6);
}

const multiHead: ShapeRule = (call) => {
  const { batch, heads, queries, keys, past, width, valueWidth } = multiHeadSizes(call);
  const { type } = need(call, 0);
  return [
    [batch, queries, heads * valueWidth],
    [batch, heads, past + keys, width],
    [batch, heads, past + keys, valueWidth],
    [batch, heads, queries, past + keys],
  ].map((dims) => ({ type, dims }));
};

/** Sizes of a com.microsoft Attention, which projects its input to queries, keys and values itself. */
export function projectedSizes(call: Call): AttentionSizes {
  const [batch, length, inputs] = need(call, 0).dims as [number, number, number];
  const heads = intAttribute(call.node, 'num_heads', 0);
  const weight = need(call, 1).dims;
  const all = weight[1] ?? 0;
  const own = intsAttribute(call.node, 'qkv_hidden_sizes', []);
  const [q, k, v] = own.length === 3 ? (own as [number, number, number]) : [all / 3, all / 3, all / 3];
  const fits = heads > 0 && q === k && q % heads === 0 && v % heads === 0 && q + k + v === all;
  if (need(call, 0).dims.length !== 3 || weight[0] !== inputs || !fits) {
    throw misfit(call, `the weight ${show(weight)} does not make ${heads} heads of ${show(need(call, 0).dims)}`);
  }
  return {
    ...{ batch, heads, keyHeads: heads, queries: length, keys: length, width: q / heads, valueWidth: v / heads },
    past: call.inputs[4]?.dims[3] ?? 0,
    ...{ queryLayout: 'rows', keyLayout: 'rows', valueLayout: 'rows' },
  };
}

const projected: ShapeRule = (call) => {
  const { batch, heads, queries, keys, past, width, valueWidth } = projectedSizes(call);
  const { type } = need(call, 0);
  return [
    { type, dims: [batch, queries, heads * valueWidth] },
    { type, dims: [2, batch, heads, past + keys, width] },
  ];
};

/** Attention in one node, and the rotation of positions that goes with it. */
export const attentionShapes: Readonly<Record<string, ShapeRule>> = {
  Attention: attention,
  RotaryEmbedding: same,
  'com.microsoft.RotaryEmbedding': same,
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.Attention': projected,
};
