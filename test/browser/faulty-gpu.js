// A GPU that answers with wrong numbers: what it hands back to the page is doubled. Imported before the explainer's worker.
const { getMappedRange } = GPUBuffer.prototype;
GPUBuffer.prototype.getMappedRange = function (...range) {
  const bytes = getMappedRange.apply(this, range);
  if (this.usage & GPUBufferUsage.MAP_READ) {
    const values = new Float32Array(bytes);
    for (let index = 0; index < values.length; index++) values[index] *= 2;
  }
  return bytes;
};
