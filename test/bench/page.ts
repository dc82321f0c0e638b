import { type Feed, timeModel } from './timing.js';

declare global {
  interface Window {
    /** Times a model that the server has, on the main thread of a page of its own. */
    timeModel(
      url: string,
      feeds: readonly Feed[],
      provider: 'wasm' | 'webgpu',
      threads: number,
      runs: number,
    ): Promise<number>;
    /** What WebGPU runs on, in words. */
    describeAdapter(): Promise<string>;
  }
}

window.timeModel = async (url, feeds, provider, threads, runs) => {
  const ort = await (provider === 'webgpu' ? import('onnxruntime-web/webgpu') : import('onnxruntime-web/wasm'));
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
  const model = new Uint8Array(await (await fetch(url)).arrayBuffer());
  return timeModel(ort, model, feeds, provider, runs);
};

window.describeAdapter = async () => {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return 'no WebGPU adapter';
  const { vendor, architecture, device, description } = adapter.info;
  return [vendor, architecture, device, description].filter((part) => part !== '').join(' ');
};
