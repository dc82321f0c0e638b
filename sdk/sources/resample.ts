/** Half of the filter's length, in zero crossings of its sinc. */
const crossings = 32;
/** Kaiser's β for a stop band of −70 dB: 0.1102 (70 − 8.7); Oppenheim and Schafer, Discrete-Time Signal Processing, 7.75 */
const beta = 0.1102 * (70 - 8.7);
/**
 * Where the filter cuts, in shares of the lower rate's half. By 7.76 of the same book the filter falls over 0.135 of that, so that nothing is
 * mirrored, and what lies under 0.86 passes.
 */
const cutoff = 0.93;

/** One uninterrupted stretch of sound at another rate. */
export interface Resampler {
  /** place of the first sample that it gives, in samples of the new rate */
  readonly first: number;
  /** Samples of the new rate that can be told by now; valid until the next call. */
  push(samples: Float32Array): Float32Array;
  /** What is left, as if silence followed. */
  end(): Float32Array;
}

/**
 * Brings sound to another rate, as a windowed sinc, exact for what lies under 0.86 of the lower rate's half to −70 dB. We do it
 * ourselves, because what platforms have interpolates linearly, wants the whole file in memory, or does not exist in workers.
 *
 * @param from samples a second that come, a whole number
 * @param to samples a second that are wanted, a whole number
 * @param at place of the first sample that comes, in samples of the old rate; places count from one origin in both rates
 */
export function resampler(from: number, to: number, at: number): Resampler {
  const divisor = greatestCommon(from, to);
  // sample n of the new rate lies at n · down / up of the old one
  const [up, down] = [to / divisor, from / divisor];
  const first = Math.ceil((at * up) / down);
  if (up === down) return { first, push: (samples) => samples, end: () => new Float32Array() };
  const band = cutoff * Math.min(1, up / down);
  const half = Math.ceil(crossings / Math.min(1, up / down));
  const phases: (Float32Array | undefined)[] = new Array(up);

  /** samples that are still read, from the place `origin` on; before the first one there was silence */
  let kept = new Float32Array(4 * half);
  let origin = at - half;
  let length = half;
  let next = first;
  let given = new Float32Array();

  const append = (samples: Float32Array) => {
    // so much is not read any more
    const done = Math.min(length, Math.max(0, Math.floor((next * down) / up) - half + 1 - origin));
    kept.copyWithin(0, done, length);
    length -= done;
    origin += done;
    if (kept.length < length + samples.length) {
      const larger = new Float32Array(2 * (length + samples.length));
      larger.set(kept.subarray(0, length));
      kept = larger;
    }
    kept.set(samples, length);
    length += samples.length;
  };

  const give = (): Float32Array => {
    // the last sample read is half a filter further
    const end = Math.max(next, Math.ceil(((origin + length - half) * up) / down));
    const count = end - next;
    if (given.length < count) given = new Float32Array(count);
    for (let index = 0; index < count; index++) {
      const place = (next + index) * down;
      const phase = place % up;
      phases[phase] ??= filterAt(phase / up, half, band);
      const weights = phases[phase];
      const start = (place - phase) / up - half + 1 - origin;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += weights[tap]! * kept[start + tap]!;
      given[index] = sum;
    }
    next = end;
    return given.subarray(0, count);
  };

  return {
    first,
    push(samples) {
      append(samples);
      return give();
    },
    end() {
      append(new Float32Array(half));
      return give();
    },
  };
}

/** Weights of the 2 · half samples around a place that lies `offset` behind one of them; they sum to 1. */
function filterAt(offset: number, half: number, band: number): Float32Array {
  const weights = Float64Array.from({ length: 2 * half }, (_, tap) => {
    const distance = tap - half + 1 - offset;
    const inside = 1 - (distance / half) ** 2;
    return inside < 0 ? 0 : sinc(band * distance) * bessel(beta * Math.sqrt(inside));
  });
  const sum = weights.reduce((a, b) => a + b, 0);
  return Float32Array.from(weights, (weight) => weight / sum);
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** I₀, the modified Bessel function, by its series. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommon(a: number, b: number): number {
  return b === 0 ? a : greatestCommon(b, a % b);
}
