import { quantize, WhylightError, wasmRuntime } from '../../sdk/quantize.js';

declare global {
  interface Window {
    /** What a page has of `whylight/quantize`. */
    quantization: {
      readonly quantize: typeof quantize;
      readonly wasmRuntime: typeof wasmRuntime;
      readonly WhylightError: typeof WhylightError;
    };
  }
}

window.quantization = { quantize, wasmRuntime, WhylightError };
