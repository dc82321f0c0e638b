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
    /**
     * The camera through a model, forward only, as pages often do it: a video element, a canvas and ONNX Runtime, all on the main
     * thread, each frame when the one before is done, for as long as the page lives.
     */
    plainLoop(url: string): Promise<never>;
    /** of the plain loop: ages in milliseconds, capture to outputs */
    plainAges: number[];
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

async function openPlain(url: string) {
  const ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL('/dist/workers/', location.href).href;
  const session = await ort.InferenceSession.create(new Uint8Array(await (await fetch(url)).arrayBuffer()));
  const video = document.createElement('video');
  video.muted = true;
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  await video.play();
  const side = 128;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = side;
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  const run = async () => {
    context.drawImage(video, 0, 0, side, side);
    const { data } = context.getImageData(0, 0, side, side);
    const input = new Float32Array(3 * side * side);
    for (let pixel = 0; pixel < side * side; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        input[channel * side * side + pixel] = data[4 * pixel + channel]! / 127.5 - 1;
      }
    }
    await session.run({ [session.inputNames[0]!]: new ort.Tensor('float32', input, [1, 3, side, side]) });
  };
  return { video, run };
}

window.plainAges = [];
window.plainLoop = async (url) => {
  const { video, run } = await openPlain(url);
  while (true) {
    const shown = await new Promise<VideoFrameCallbackMetadata>((resolve) => {
      video.requestVideoFrameCallback((_, metadata) => resolve(metadata));
    });
    await run();
    window.plainAges.push(performance.now() - (shown.captureTime ?? shown.presentationTime));
  }
};
