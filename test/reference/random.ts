import { count, type Dense, dense } from './dense.js';

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Values that float32 holds exactly, so that the oracle and ONNX Runtime see the same ones; about one in eight is exactly zero. */
export function signed(random: () => number, dims: readonly number[], scale = 1): Dense {
  const values = Array.from({ length: count(dims) }, () =>
    random() < 0.125 ? 0 : Math.fround((random() * 2 - 1) * scale),
  );
  return dense(values, dims);
}

/** As {@link signed}, never negative. */
export function nonNegative(random: () => number, dims: readonly number[], scale = 1): Dense {
  return dense(signed(random, dims, scale).data.map(Math.abs), dims);
}

/** Few distinct values, so that windows of a maximum have ties. */
export function coarse(random: () => number, dims: readonly number[], levels = 3): Dense {
  return dense(
    Array.from({ length: count(dims) }, () => Math.floor(random() * levels) - 1),
    dims,
  );
}
