import { dense } from './dense.js';
import type { Network } from './layers.js';
import { onnxOf } from './network.js';

/** What the filter bank tells apart, in Hz, at 16,000 samples a second. */
export const pitches = [500, 1000, 2000, 4000] as const;

const sampleRate = 16_000;
const taps = 64;
/** Filters of a pitch: a wave and its opposite, in two phases, so that behind the ReLU it is heard at every moment. */
const phases = 4;

/**
 * A model that hears: samples → Conv 1D with a stride → ReLU → mean over time → Gemm, one logit for each of the pitches, which is the
 * largest for a tone of that pitch. `dims` are [1, samples] or [1, 1, samples].
 */
export function filterBank(dims: readonly number[]): Network {
  const filters = pitches.length * phases;
  const bank = Array.from({ length: filters * taps }, (_, at) => {
    const [filter, tap] = [Math.floor(at / taps), at % taps];
    const [pitch, phase] = [pitches[Math.floor(filter / phases)]!, filter % phases];
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * (tap + 0.5)) / taps);
    return Math.fround(window * Math.cos((2 * Math.PI * pitch * tap) / sampleRate + (phase * Math.PI) / 2));
  });
  const sums = Array.from({ length: pitches.length * filters }, (_, at) =>
    Math.floor(at / filters) === Math.floor((at % filters) / phases) ? 1 : -0.125,
  );
  return {
    inputs: [{ name: 'wave', dims }],
    layers: [
      { name: 'channel', inputs: ['wave'], op: 'Reshape', shape: [1, 1, dims.at(-1)!] },
      { name: 'bank', inputs: ['channel'], op: 'Conv', weight: dense(bank, [filters, 1, taps]), strides: [16] },
      { name: 'heard', inputs: ['bank'], op: 'Relu' },
      { name: 'mean', inputs: ['heard'], op: 'GlobalAveragePool' },
      { name: 'flat', inputs: ['mean'], op: 'Flatten', axis: 1 },
      {
        name: 'logits',
        inputs: ['flat'],
        op: 'Gemm',
        weight: dense(sums, [pitches.length, filters]),
        bias: dense([0.01, -0.01, 0.02, 0], [pitches.length]),
        transB: true,
      },
    ],
    logits: 'logits',
  };
}

/** {@link filterBank} as a file, and the metadata beside it. */
export function filterBankModel(samples: number) {
  return {
    model: onnxOf(filterBank([1, samples])),
    metadata: { input: { sampleRate }, labels: pitches.map((pitch) => `${pitch} Hz`) },
  };
}
