// The audio thread's side of the microphone: cuts what it hears into windows and posts each as soon as its last sample has come.
import type { WindowShape } from '../sdk/sources/sound-window.js';
import { type Cut, windowing } from '../sdk/sources/windowing.js';

// what TypeScript's declarations of the DOM leave out
declare const currentFrame: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(
  name: string,
  processor: new (options: { readonly processorOptions: WindowShape }) => AudioWorkletProcessor,
): void;

registerProcessor(
  'whylight-microphone',
  class extends AudioWorkletProcessor {
    readonly #windows;
    /** buffers of windows that have been closed: nothing is allocated here once there are enough */
    readonly #free: Float32Array<ArrayBuffer>[] = [];

    constructor({ processorOptions: { size, hop } }: { readonly processorOptions: WindowShape }) {
      super();
      this.#windows = windowing(size, hop, () => this.#free.pop() ?? new Float32Array(size));
      this.port.onmessage = ({ data }: MessageEvent<Float32Array<ArrayBuffer>>) => this.#free.push(data);
    }

    process([input]: readonly (readonly Float32Array[])[]): boolean {
      const samples = input?.[0];
      // without a channel nothing is heard: a gap
      if (samples !== undefined) {
        for (const cut of this.#windows.push(samples, currentFrame)) this.#post(cut);
      }
      return true;
    }

    #post(cut: Cut): void {
      this.port.postMessage(cut, [cut.samples.buffer as ArrayBuffer]);
    }
  },
);
