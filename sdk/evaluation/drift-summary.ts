import { type Agreement, type AgreementSums, addTo, agreementOf, finitePair, noSums } from './agreement.js';
import type { ComparedMaps, FrameDrift, MapPair } from './drift.js';
import type { TensorMatch } from './model-match.js';
import { ordered } from './ranks.js';

/** One figure over all frames; frames where it is not defined do not count. */
export interface Distribution {
  /** frames in which the figure is defined */
  readonly frames: number;
  /** NaN without frames */
  readonly mean: number;
  /** the middle one, of an even number the mean of the middle two; NaN without frames */
  readonly median: number;
  /** the frame in which the models are furthest apart, the first of equals; undefined without frames */
  readonly worst: { readonly value: number; readonly timestamp: number } | undefined;
}

/** {@link Agreement} over all frames: figure by figure, and of all elements at once. */
export interface AgreementSummary {
  /** see {@link Agreement.cosine}; the lowest is the worst */
  readonly cosine: Distribution;
  /** see {@link Agreement.spearman}; the lowest is the worst */
  readonly spearman: Distribution;
  /** see {@link Agreement.top1}; the lowest is the worst */
  readonly top1: Distribution;
  /** see {@link Agreement.top10}; the lowest is the worst */
  readonly top10: Distribution;
  /** see {@link Agreement.signFlips}; the highest is the worst */
  readonly signFlips: { readonly elements: Distribution; readonly relevance: Distribution };
  /**
   * all elements of all frames as one map, where strong frames weigh more than weak ones. What needs ranks (`spearman`, `top1`, `top10`) is
   * taken from every `rankedEvery`-th frame: from all of them (1) until they would fill too much memory
   */
  readonly pooled: Agreement & { readonly rankedEvery: number };
}

/** What changed between two models over all frames. */
export interface DriftSummary {
  /** frames that were compared */
  readonly frames: number;
  /** frames in which the strongest output is another one */
  readonly decisionsChanged: number;
  /** the explained logit */
  readonly logit: {
    /** mean of compared − reference, with its sign: whether logits shrink or grow */
    readonly bias: number;
    /** of |compared − reference|; the highest is the worst */
    readonly absolute: Distribution;
    /** of |compared − reference| / |reference|; the highest is the worst */
    readonly relative: Distribution;
  };
  /** of the picture's pixels */
  readonly map: AgreementSummary;
  /** of each layer */
  readonly layers: readonly (TensorMatch & AgreementSummary)[];
}

/** Adds up frames. */
export interface DriftSums {
  /** `maps` are those that the figures of `frame` were taken from; nothing of them is kept that is not copied */
  add(frame: FrameDrift, maps: ComparedMaps): void;
  /** of the frames so far */
  summary(): DriftSummary;
}

/**
 * Starts with no frame.
 *
 * @param kept how many relevances of each model are kept for the ranks over all frames: of the pictures, and as many of all layers
 * together; default 2²², 32 MB
 */
export function driftSums(kept = 1 << 22): DriftSums {
  const frames: FrameDrift[] = [];
  const pools = new Map<string, Pool>();
  const addMap = (pair: MapPair, capacity: number): void => {
    let pool = pools.get(pair.reference);
    if (pool === undefined) {
      pool = createPool(capacity);
      pools.set(pair.reference, pool);
    }
    pool.add(pair);
  };
  /** the name of the input under which its pool is found */
  let input = '';
  return {
    add(frame, { map, layers }) {
      frames.push(frame);
      input = map.reference;
      addMap(map, kept);
      for (const layer of layers) addMap(layer, kept / layers.length);
    },
    summary() {
      const over = distributionOver(frames);
      const change = frames.map(({ logit }) => logit.change).filter(Number.isFinite);
      return {
        frames: frames.length,
        decisionsChanged: frames.filter(({ decision }) => decision.changed).length,
        logit: {
          bias: change.reduce((sum, value) => sum + value, 0) / change.length,
          absolute: over(({ logit }) => Math.abs(logit.change), 'highest'),
          relative: over(({ logit }) => Math.abs(logit.relative), 'highest'),
        },
        map: agreementSummary(frames, ({ map }) => map, pools.get(input)),
        layers: (frames[0]?.layers ?? []).map(({ agreement: _, ...tensor }, index) => ({
          ...tensor,
          ...agreementSummary(frames, ({ layers }) => layers[index]?.agreement, pools.get(tensor.reference)),
        })),
      };
    },
  };
}

function agreementSummary(
  frames: readonly FrameDrift[],
  of: (frame: FrameDrift) => Agreement | undefined,
  pool: Pool = createPool(0),
): AgreementSummary {
  const over = distributionOver(frames);
  const figure = (read: (agreement: Agreement) => number, worst: 'lowest' | 'highest') =>
    over((frame) => {
      const agreement = of(frame);
      return agreement === undefined ? Number.NaN : read(agreement);
    }, worst);
  return {
    cosine: figure(({ cosine }) => cosine, 'lowest'),
    spearman: figure(({ spearman }) => spearman, 'lowest'),
    top1: figure(({ top1 }) => top1, 'lowest'),
    top10: figure(({ top10 }) => top10, 'lowest'),
    signFlips: {
      elements: figure(({ signFlips }) => signFlips.elements, 'highest'),
      relevance: figure(({ signFlips }) => signFlips.relevance, 'highest'),
    },
    pooled: pool.agreement(),
  };
}

function distributionOver(frames: readonly FrameDrift[]) {
  return (read: (frame: FrameDrift) => number, worstIs: 'lowest' | 'highest'): Distribution => {
    const values: number[] = [];
    let worst: { readonly value: number; readonly timestamp: number } | undefined;
    for (const frame of frames) {
      const value = read(frame);
      if (Number.isNaN(value)) continue;
      values.push(value);
      const isWorse = worst === undefined || (worstIs === 'lowest' ? value < worst.value : value > worst.value);
      if (isWorse) worst = { value, timestamp: frame.timestamp };
    }
    const sorted = Float64Array.from(values).sort();
    const [below, above] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
    return {
      frames: values.length,
      mean: values.reduce((sum, value) => sum + value, 0) / values.length,
      median: below === undefined || above === undefined ? Number.NaN : (below + above) / 2,
      worst,
    };
  };
}

/** The relevance of one tensor over all frames: sums of all of it, and as many values for ranks as there is room for. */
interface Pool {
  add(pair: MapPair): void;
  agreement(): AgreementSummary['pooled'];
}

function createPool(capacity: number): Pool {
  const sums: AgreementSums = noSums();
  let pairs: { readonly a: Float32Array; readonly b: Float32Array }[] = [];
  let size = 0;
  let frame = 0;
  let every = 1;
  return {
    add({ a, b }) {
      const pair = finitePair(a, b);
      addTo(sums, pair);
      if (frame % every === 0) {
        pairs.push({ a: pair.a.slice(), b: pair.b.slice() });
        size += pair.a.length;
        // evenly over all frames so far: every other one goes; the first stays, however large it is
        while (size > capacity && pairs.length > 1) {
          pairs = pairs.filter((_, index) => index % 2 === 0);
          size = pairs.reduce((sum, { a }) => sum + a.length, 0);
          every *= 2;
        }
      }
      frame++;
    },
    agreement: () => ({
      ...agreementOf(sums, ordered(joined(pairs.map(({ a }) => a))), ordered(joined(pairs.map(({ b }) => b)))),
      rankedEvery: every,
    }),
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
