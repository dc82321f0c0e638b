import type { CalibrationFrame } from './frames.js';
import { floatsIn } from './observe.js';
import type { OpenedModel } from './runtime.js';

/** Signal and noise of tensors, each a sum of squares. */
export type Noise = Map<string, { signal: number; noise: number }>;

/** Signal-to-quantization-noise ratio in dB: 10 · log₁₀(Σx² / Σ(x − x̂)²). */
export function sqnrOf({ signal, noise }: { readonly signal: number; readonly noise: number }): number {
  if (noise === 0) return Infinity;
  return 10 * Math.log10(signal / noise);
}

/** The lowest ratio among tensors, Infinity for none. */
export function lowestSqnr(noise: Noise, names: Iterable<string>): number {
  let lowest = Infinity;
  for (const name of names) {
    const entry = noise.get(name);
    if (entry !== undefined) lowest = Math.min(lowest, sqnrOf(entry));
  }
  return lowest;
}

/** Runs a quantized model over the measured frames and compares what it gives with the original's. */
export async function noiseOf(
  opened: Pick<OpenedModel, 'run'>,
  frames: readonly CalibrationFrame[],
  reference: (frame: CalibrationFrame, index: number) => Promise<ReadonlyMap<string, Float32Array>>,
  afterFrame: (index: number) => void = () => {},
): Promise<Noise> {
  const noise: Noise = new Map();
  for (const [index, frame] of frames.entries()) {
    const expected = await reference(frame, index);
    const outputs = await opened.run(frame);
    for (const [name, original] of expected) {
      const entry = noise.get(name) ?? { signal: 0, noise: 0 };
      noise.set(name, entry);
      addSquares(entry, original, floatsIn(outputs, frame, name));
    }
    afterFrame(index);
  }
  return noise;
}

function addSquares(entry: { signal: number; noise: number }, original: Float32Array, found: Float32Array): void {
  let { signal, noise } = entry;
  for (let at = 0; at < original.length; at++) {
    const value = original[at]!;
    signal += value * value;
    noise += (value - found[at]!) ** 2;
  }
  entry.signal = signal;
  entry.noise = noise;
}
