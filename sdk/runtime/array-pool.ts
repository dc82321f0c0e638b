import type { FloatArray } from './explanation.js';

// Relevance is as large as what it explains, and comes with every frame: arrays that nobody needs any more are not left to the collector.
//
// What is read from a GPU is read into arrays that were given back, so that a stream needs as many as its subscriber holds at once. On a CPU ONNX
// Runtime makes the arrays of its outputs itself and takes none for them (lib/wasm/wasm-core-impl.ts: outputs that are
// allocated before are not copied out of WebAssembly's memory), so there what is given back is freed at once.

/** Arrays to be written over. */
export interface ArrayPool {
  /** One of so many elements, zero or not. */
  take(length: number): Float32Array<ArrayBuffer>;
  /** Takes over buffers whose contents nobody needs. */
  add(buffers: Iterable<ArrayBuffer>): void;
}

/** More of one size than anybody holds at once, unless they are remembered frames that are forgotten together. */
const mostOfOneSize = 8;

/** An empty pool. */
export function createArrayPool(): ArrayPool {
  const bySize = new Map<number, ArrayBuffer[]>();
  return {
    take: (length) => new Float32Array(bySize.get(4 * length)?.pop() ?? new ArrayBuffer(4 * length)),
    add(buffers) {
      for (const buffer of buffers) {
        const same = bySize.get(buffer.byteLength) ?? [];
        bySize.set(buffer.byteLength, same);
        if (same.length < mostOfOneSize) same.push(buffer);
        else free(buffer);
      }
    },
  };
}

/** What a run gave, as arrays. */
export interface Arrays {
  readonly outputs: Readonly<Record<string, FloatArray>>;
  readonly logits: Float32Array | undefined;
  readonly relevance: Readonly<Record<string, FloatArray>>;
  readonly conservation: { readonly sums: Float32Array; readonly absorbed: Float32Array } | undefined;
}

/** The memory of all of them, every buffer once: the logits are often one of the outputs as well. */
export function buffersOf({ outputs, logits, relevance, conservation }: Arrays): ArrayBuffer[] {
  const arrays = [
    ...Object.values(outputs).map(({ data }) => data),
    ...Object.values(relevance).map(({ data }) => data),
    ...(logits === undefined ? [] : [logits]),
    ...(conservation === undefined ? [] : [conservation.sums, conservation.absorbed]),
  ];
  return [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))];
}

/** Takes memory away from all that have views of it: they are empty from now on. */
export function detached(buffer: ArrayBuffer): ArrayBuffer {
  return transferable(buffer) ? buffer.transfer() : structuredClone(buffer, { transfer: [buffer] });
}

/** Frees memory at once, where the browser can; views of it are empty from now on. */
export function free(buffer: ArrayBuffer): void {
  if (transferable(buffer)) buffer.transfer(0);
  else detached(buffer);
}

/** Not every browser has it yet (ES2024), nor has Node 20. */
function transferable(buffer: ArrayBuffer): buffer is ArrayBuffer & { transfer(length?: number): ArrayBuffer } {
  return 'transfer' in buffer;
}

/** What several hold: every call of the function is one holder more, and gives what ends that; with the last one `end` is called, once. */
export function heldBySeveral(end: () => void): () => () => void {
  let holders = 0;
  return () => {
    let isHeld = true;
    holders++;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      if (--holders === 0) end();
    };
  };
}
