/** Bytes that one device holds. */
interface Holding {
  bytes: number;
}

/** What a buffer or texture adds to its device. */
interface Share {
  readonly holding: Holding;
  readonly bytes: number;
}

const holdings = new Set<Holding>();
const ofDevice = new WeakMap<GPUDevice, Holding>();
const shares = new WeakMap<GPUBuffer | GPUTexture, Share>();

const give = ({ holding, bytes }: Share): void => {
  holding.bytes -= bytes;
};
/** what nobody refers to any more the browser frees by itself */
const forgotten = new FinalizationRegistry<Share>(give);

/**
 * Counts the bytes of every GPU buffer and texture that is made in this realm from now on, until it is destroyed, collected, or
 * its device is gone: ONNX Runtime's, which keeps its own to itself, and ours alike. Called once, before ONNX Runtime is loaded;
 * does nothing where there is no WebGPU.
 */
export function watchGpuMemory(): void {
  if (typeof GPUDevice === 'undefined') return;
  watchMakers();
  for (const { prototype } of [GPUBuffer, GPUTexture]) {
    const { destroy } = prototype;
    prototype.destroy = function (this: GPUBuffer | GPUTexture) {
      const share = shares.get(this);
      if (share !== undefined) {
        shares.delete(this);
        forgotten.unregister(share);
        give(share);
      }
      return destroy.call(this as GPUBuffer & GPUTexture);
    };
  }
}

/**
 * Bytes of the buffers and textures that were noted, as they were asked for; what a driver adds for alignment, and what the browser itself
 * holds (canvases, decoded video), is not known to pages.
 */
export function gpuBytes(): number {
  let bytes = 0;
  for (const holding of holdings) bytes += holding.bytes;
  return bytes;
}

function watchMakers(): void {
  const { createBuffer, createTexture } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    return noted(this, createBuffer.call(this, descriptor), (buffer) => buffer.size);
  };
  GPUDevice.prototype.createTexture = function (descriptor) {
    return noted(this, createTexture.call(this, descriptor), textureBytes);
  };
}

function noted<Made extends GPUBuffer | GPUTexture>(device: GPUDevice, made: Made, size: (made: Made) => number): Made {
  const share: Share = { holding: holdingOf(device), bytes: size(made) };
  share.holding.bytes += share.bytes;
  shares.set(made, share);
  forgotten.register(made, share, share);
  return made;
}

function holdingOf(device: GPUDevice): Holding {
  const known = ofDevice.get(device);
  if (known !== undefined) return known;
  const holding: Holding = { bytes: 0 };
  ofDevice.set(device, holding);
  holdings.add(holding);
  // also where it is destroyed by whoever made it, as ONNX Runtime does with its last session
  void device.lost.then(() => holdings.delete(holding));
  return holding;
}

/** Our textures have four bytes a texel and one level; ONNX Runtime has none. */
function textureBytes({ width, height, depthOrArrayLayers }: GPUTexture): number {
  return 4 * width * height * depthOrArrayLayers;
}
