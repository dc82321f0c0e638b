import { floatAttribute, intAttribute, type Node } from '../../graph/graph.js';
import type { Emitter, Value } from '../emitter.js';
import { within } from '../limits.js';
import { relevanceQuotient } from '../linear.js';
import { toItsPlace } from './evenly.js';
import { arriving, type OperatorSupport, required, type Way } from './operator.js';
import { atReference, midway, slope } from './rescale.js';

/** Sums over channels c − before … c + after (axis 1), as many slices as the window has channels. */
function overChannels(emit: Emitter, a: Value, before: number, after: number): Value {
  const channels = a.dims[1]!;
  within(before + after + 1, 'channels of a window', 2 ** 12);
  const pads = a.dims.map(() => 0);
  const padded = emit.pad(a, [0, before, ...pads.slice(2), 0, after, ...pads.slice(2)]);
  return Array.from({ length: before + after + 1 }, (_, offset) =>
    emit.slice(padded, [offset], [offset + channels], [1]),
  ).reduce((sum, part) => emit.add(sum, part));
}

const power = (emit: Emitter, a: Value, exponent: number): Value => emit.op('Pow', [a, emit.scalar(exponent)], a.dims);

interface Response {
  /** a, c and κ of D_k = κ + a Σ x_j², y_k = x_k / D_k^c */
  readonly a: number;
  readonly c: number;
  readonly kappa: number;
  /** channels of a window before and after its own */
  readonly before: number;
  readonly after: number;
}

function responseOf(node: Node): Response {
  const size = intAttribute(node, 'size', 1);
  return {
    a: floatAttribute(node, 'alpha', 1e-4) / size,
    c: floatAttribute(node, 'beta', 0.75),
    kappa: floatAttribute(node, 'bias', 1),
    before: Math.floor((size - 1) / 2),
    after: Math.ceil((size - 1) / 2),
  };
}

/** The product of x and D^−c, whose multipliers are midway, the slope of the power, and the squares' x + x′. */
const rescaledResponse: Way = (context) => {
  const { emit, node } = context;
  const x = required(context, 0);
  const reference = atReference(context, x);
  const multiplier = arriving(context);
  const { a, c, kappa, before, after } = responseOf(node);
  const scaled = (factor: number, value: Value): Value => emit.mul(value, emit.scalar(factor));
  const sumOf = (value: Value): Value =>
    emit.add(scaled(a, overChannels(emit, emit.mul(value, value), before, after)), emit.scalar(kappa));
  const [d, d0] = [sumOf(x), sumOf(reference)];
  const [g, g0] = [power(emit, d, -c), power(emit, d0, -c)];
  const steep = slope(emit, emit.sub(g, g0), emit.sub(d, d0), scaled(-c, power(emit, d, -(c + 1))));
  const toSum = emit.mul(emit.mul(multiplier, midway(context, x)), steep);
  const own = emit.mul(multiplier, scaled(0.5, emit.add(g, g0)));
  const throughSum = emit.mul(scaled(a, overChannels(emit, toSum, after, before)), emit.add(x, reference));
  return [emit.add(own, throughSum)];
};

/**
 * y_k = x_k / D_k^c with D_k = κ + a Σ_{j ∈ W(k)} x_j², a = alpha/size, c = beta, κ = bias, W(k) the channels around k.
 *
 * Its derivatives are ∂y_k/∂x_j = δ_jk D_k^−c − 2ac x_k x_j D_k^−(c+1). Expanding y_k at x and evaluating the expansion where
 * only x_k is left, y_k(0 … x_k … 0) = x_k / (κ + a x_k²)^c, gives (thesis 2.45, Binder et al. 2016)
 *
 *     y_k(x) ≈ z_kk + Σ_{j ≠ k} z_jk,   z_kk = x_k / (κ + a x_k²)^c,   z_jk = −2ac x_k x_j² / D_k^(c+1),
 *
 * and with these Taylor weights R_j = Σ_k z_jk / z_k · R_k, z_k = Σ_j z_jk (thesis 2.46): relevance is conserved. With s = R / z
 * and q_k = x_k s_k / D_k^(c+1), all windows at once:
 *
 *     R_j = s_j x_j / (κ + a x_j²)^c − 2ac x_j² (Σ_{k: j ∈ W(k)} q_k − q_j).
 */
export const localResponseNormalization: OperatorSupport = {
  family: 'Normalisation',
  rules: ['norm', 'pass', 'gradient'],
  source: 'Taylor weights, thesis 2.45–2.46 (Binder et al. 2016)',
  evenly: toItsPlace,
  rescale: rescaledResponse,
  explain(context) {
    const { emit, node, rule } = context;
    const x = required(context, 0);
    const relevance = arriving(context);
    if (rule.name === 'pass') return [relevance];
    const { a, c, before, after, ...response } = responseOf(node);
    const kappa = emit.scalar(response.kappa);
    const squares = emit.mul(x, x);
    const scaled = (factor: number, value: Value): Value => emit.mul(value, emit.scalar(factor));
    const d = emit.add(scaled(a, overChannels(emit, squares, before, after)), kappa);
    const steep = power(emit, d, -(c + 1));
    // j lies in W(k) where k lies in the window mirrored around j
    const fromWindows = (q: Value): Value => overChannels(emit, q, after, before);
    if (rule.name === 'gradient') {
      const q = emit.mul(emit.mul(x, relevance), steep);
      const own = emit.mul(relevance, power(emit, d, -c));
      return [emit.sub(own, scaled(2 * a * c, emit.mul(x, fromWindows(q))))];
    }
    const own = emit.mul(x, power(emit, emit.add(scaled(a, squares), kappa), -c));
    const others = emit.sub(overChannels(emit, squares, before, after), squares);
    const z = emit.sub(own, scaled(2 * a * c, emit.mul(emit.mul(x, others), steep)));
    const s = relevanceQuotient(context, relevance, z, rule.stabilizer);
    const q = emit.mul(emit.mul(x, s), steep);
    const toOthers = emit.mul(squares, emit.sub(fromWindows(q), q));
    return [emit.sub(emit.mul(own, s), scaled(2 * a * c, toOthers))];
  },
};
