/** A window's samples, in a buffer of its own, and the place of the first one in the stream. */
export interface Cut {
  readonly start: number;
  readonly samples: Float32Array;
}

/** Cuts a stream of samples into windows. */
export interface Windowing {
  /**
   * The windows that samples complete, the first of which has the place `at` in the stream. What was heard before is left out. After a
   * gap windows begin anew with these samples, so that none spans it, and what no window holds of those before is forgotten.
   */
  push(samples: Float32Array, at: number): readonly Cut[];
  /** The stream has ended, here or before a gap: what no window holds yet, filled up with silence. */
  end(): readonly Cut[];
}

const nothing: readonly Cut[] = [];

/**
 * Windows of `size` samples, `hop` samples from one to the next, beginning with the first that comes. `take` gives a buffer of `size`
 * samples for each. It is the same for files and for the audio thread.
 */
export function windowing(size: number, hop: number, take: () => Float32Array): Windowing {
  /** the window that is being filled */
  const open = new Float32Array(size);
  let filled = 0;
  /** place of its first sample */
  let start = 0;
  /** samples in it that no window before has */
  let fresh = 0;
  /** place of the sample that comes next; undefined at the beginning */
  let next: number | undefined;

  const cut = (): Cut => {
    const samples = take();
    samples.set(open);
    return { start, samples };
  };

  return {
    push(samples, at) {
      if (next === undefined || at > next) [start, next, filled, fresh] = [at, at, 0, 0];
      let cuts = nothing;
      let from = next - at;
      while (from < samples.length) {
        if (at + from < start) {
          // between two windows that are further apart than they are long
          from += Math.min(start - at - from, samples.length - from);
          continue;
        }
        const count = Math.min(size - filled, samples.length - from);
        open.set(samples.subarray(from, from + count), filled);
        filled += count;
        fresh += count;
        from += count;
        if (filled < size) break;
        cuts = [...cuts, cut()];
        filled = Math.max(0, size - hop);
        open.copyWithin(0, size - filled);
        start += hop;
        fresh = 0;
      }
      next = Math.max(next, at + samples.length);
      return cuts;
    },
    end() {
      next = undefined;
      if (fresh === 0) return nothing;
      open.fill(0, filled);
      fresh = 0;
      return [cut()];
    },
  };
}
