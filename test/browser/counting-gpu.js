// Says on the console what a worker does with the GPU that costs a copy, or spares one. Imported before the explainer's worker.
const counted = [
  [GPUDevice.prototype, 'importExternalTexture'],
  [GPUQueue.prototype, 'copyExternalImageToTexture'],
  [GPUBuffer.prototype, 'mapAsync'],
];
for (const [prototype, name] of counted) {
  const original = prototype[name];
  prototype[name] = function (...given) {
    console.log(`gpu ${name}`);
    return original.apply(this, given);
  };
}
