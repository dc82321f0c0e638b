// Makes the software GPU of the tests pass for a real one, which `auto` takes.
Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
