const memories = new Set<WebAssembly.Memory>();

/**
 * Notes every WebAssembly memory that is made from now on: ONNX Runtime keeps its own to itself, and it is most of what a
 * worker holds. Called once, before ONNX Runtime is loaded.
 */
export function watchWasmMemory(): void {
  WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
    construct(target, args, self) {
      const memory: WebAssembly.Memory = Reflect.construct(target, args, self);
      memories.add(memory);
      return memory;
    },
  });
}

/** Bytes of the WebAssembly memories that were noted. They grow and never shrink; only the end of the worker frees them. */
export function wasmBytes(): number {
  let bytes = 0;
  for (const { buffer } of memories) bytes += buffer.byteLength;
  return bytes;
}
