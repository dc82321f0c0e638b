import type { Frame } from '../sources/frame.js';
import type { MediaFrame, SoundWindow } from '../sources/sound-window.js';
import type { FitGeometry } from './preprocess.js';
import type { ExplainedTarget, TopEntry } from './target.js';

/** A float tensor on the main thread, row-major. */
export interface FloatArray {
  /** shape */
  readonly dims: readonly number[];
  /** product of `dims` elements */
  readonly data: Float32Array;
}

/** Where the graph runs. */
export type Device = 'webgpu' | 'wasm';

/** How the device was chosen. */
export interface DeviceChoice {
  /** where the graph runs */
  readonly device: Device;
  /** WebAssembly threads; 1 where the page is not cross-origin isolated */
  readonly threads: number;
  /** one sentence for a person: why this one */
  readonly reason: string;
  /** the GPU as far as the browser tells */
  readonly adapter?: string;
  /** every device that was tried, in order, the chosen one last */
  readonly tried: readonly {
    /** where it was tried */
    readonly device: Device;
    /** `unavailable`: not there · `failed`: an error · `differs`: wrong values in the start-up check · `lost`: gone while running */
    readonly outcome: 'chosen' | 'unavailable' | 'failed' | 'differs' | 'lost';
    /** one sentence, with the figures of the start-up check */
    readonly reason: string;
  }[];
}

/** Where the milliseconds went. */
export interface Timing {
  /** picture → input tensor */
  readonly preprocess: number;
  /** the model and its relevance, one run */
  readonly inference: number;
  /** drawing where relevance was computed, 0 where none was asked for */
  readonly drawing: number;
  /** copying outputs and relevance out of the device */
  readonly readback: number;
  /** waiting for the frames before */
  readonly queue: number;
  /** from the moment that the frame was handed over to the moment that its explanation was there */
  readonly total: number;
}

/** How much of an explanation a budget left, and why. */
export interface Quality {
  /** what was done, such as `LRP on every 4th frame` */
  readonly rung: string;
  /** its place in the ladder, 0 is the best */
  readonly index: number;
  /** how many rungs the ladder has */
  readonly rungs: number;
  /** why this rung, as a sentence without its full stop */
  readonly reason: string;
  /** the age that was promised, in milliseconds */
  readonly budgetMs: number;
  /** the age that 95 % of the frames were expected to keep on this rung, in milliseconds; NaN before anything was measured */
  readonly predicted: number;
  /** whose relevance this is; absent where there is none. On a rung that does not explain every frame it is an earlier frame's, and its arrays are shared with that one's explanation */
  readonly relevance?: {
    /** presentation time of the frame that it explains, in microseconds */
    readonly timestamp: number;
    /** milliseconds from that frame's capture to now */
    readonly age: number;
    /** what of that frame was explained: another output may be the strongest by now */
    readonly target: ExplainedTarget;
  };
}

/** Frames that were dropped, by reason. */
export interface Dropped {
  /** by the source: nobody took them in time */
  readonly source: number;
  /** a newer one was there before their turn came */
  readonly superseded: number;
  /** they would have been too late */
  readonly stale: number;
  /** they could not be explained */
  readonly failed: number;
}

/** What a model said about one frame, and why. */
export interface Explanation {
  /** the frame's presentation time in microseconds */
  readonly timestamp: number;
  /** the frame's time of capture on `performance.now()`'s clock in milliseconds, of a window of sound that of its end */
  readonly captured: number;
  /**
   * size of the picture as shown, in pixels, and the clockwise degrees by which the decoded one was turned for that; of a window of
   * sound as if it were one pixel high and as wide as it has samples
   */
  readonly frame: { readonly width: number; readonly height: number; readonly rotation: 0 | 90 | 180 | 270 };
  /** the frame itself, with `keepFrame` only; whoever receives the explanation owns it and closes it */
  readonly picture?: Frame;
  /** the same of a window of sound */
  readonly sound?: SoundWindow;
  /** the frame with its relevance as `draw` asked for it; whoever receives the explanation closes it, or a `bitmaprenderer` takes it */
  readonly drawing?: ImageBitmap;
  /** every output of the model by name; empty where nothing was read back */
  readonly outputs: Readonly<Record<string, FloatArray>>;
  /** the five strongest elements of the explained output, strongest first */
  readonly topK: readonly TopEntry[];
  /** what was explained */
  readonly target: ExplainedTarget;
  /** Σ logits ⊙ target: what the relevance of each layer sums to, absorbed bias apart; NaN where the graph does not give the logits */
  readonly logit: number;
  /** relevance by input or tapped tensor, in that tensor's shape; empty for a frame that asked for none */
  readonly relevance: Readonly<Record<string, FloatArray>>;
  /** with `audit`: ΣR after each step from output to input, and what biases absorbed up to there; what is missing was not handed on (stabilizers, units of one sign under alpha-beta) */
  readonly conservation?: {
    /** the steps' names */
    readonly steps: readonly string[];
    /** ΣR per step */
    readonly sums: Float32Array;
    /** absorbed relevance per step */
    readonly absorbed: Float32Array;
  };
  /** where the picture lies in the model's input: maps relevance back onto the picture; a window of sound fills its input */
  readonly fit: FitGeometry;
  /** milliseconds, by stage */
  readonly timing: Timing;
  /** milliseconds from capture to now */
  readonly age: number;
  /** where it ran */
  readonly device: Device;
  /** frames dropped since the explanation before, by the source, because a newer one was there or because they were stale */
  readonly dropped: number;
  /** with a budget only: what it left of the explanation */
  readonly quality?: Quality;
  /**
   * Gives the memory of `outputs`, `relevance` and `conservation` back, which are empty afterwards: a GPU's next results are read into it, that of WASM is freed at
   * once. Whoever does not call it leaves them to the collector. Relevance that is carried along is kept until the last explanation that
   * has it was released. Idempotent.
   */
  release(): void;
}

/** {@link Explanation.frame} of what was explained. */
export function shownSize(frame: MediaFrame): Explanation['frame'] {
  if ('samples' in frame) return { width: frame.samples.length, height: 1, rotation: 0 };
  const { width, height, rotation } = frame;
  return { width, height, rotation };
}
