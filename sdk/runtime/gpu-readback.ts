import type { ArrayPool } from './array-pool.js';

/** A tensor of float32 on the GPU; its buffer may be longer. */
export interface ReadFrom {
  readonly buffer: GPUBuffer;
  /** so many elements, ≥ 1 */
  readonly length: number;
}

/** Copies tensors out of one GPU. */
export interface Readback {
  /** All of them by one copy, and one wait: every wait for a GPU takes milliseconds, however little is read. Rejects when the GPU is lost. */
  read(sources: readonly ReadFrom[], into: Pick<ArrayPool, 'take'>): Promise<readonly Float32Array[]>;
  destroy(): void;
}

/** One call at a time. Its buffer is as large as the largest that was read so far, and is kept for the next. */
export function createReadback(device: GPUDevice): Readback {
  let staging: GPUBuffer | undefined;
  const stagingOf = (size: number): GPUBuffer => {
    if (staging !== undefined && staging.size >= size) return staging;
    staging?.destroy();
    staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    return staging;
  };
  return {
    async read(sources, into) {
      const size = sources.reduce((sum, { length }) => sum + 4 * length, 0);
      if (size === 0) return [];
      const buffer = stagingOf(size);
      const encoder = device.createCommandEncoder();
      let to = 0;
      for (const source of sources) {
        encoder.copyBufferToBuffer(source.buffer, 0, buffer, to, 4 * source.length);
        to += 4 * source.length;
      }
      device.queue.submit([encoder.finish()]);
      await buffer.mapAsync(GPUMapMode.READ, 0, size);
      const mapped = new Float32Array(buffer.getMappedRange(0, size));
      let from = 0;
      const arrays = sources.map(({ length }) => {
        const array = into.take(length);
        array.set(mapped.subarray(from, from + length));
        from += length;
        return array;
      });
      buffer.unmap();
      return arrays;
    },
    destroy() {
      staging?.destroy();
      staging = undefined;
    },
  };
}
