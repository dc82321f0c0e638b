// Says on the console what a worker does with the GPU that costs a copy, or spares one, and what memory it takes and gives back, there and for arrays. Imported before the
// explainer's worker.
const counted = [
  [GPUAdapter.prototype, 'requestDevice'],
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

const bytesOf = (made) =>
  made instanceof GPUBuffer ? made.size : 4 * made.width * made.height * made.depthOrArrayLayers;
for (const name of ['createBuffer', 'createTexture']) {
  const original = GPUDevice.prototype[name];
  GPUDevice.prototype[name] = function (...given) {
    const made = original.apply(this, given);
    console.log(`gpu made ${bytesOf(made)}`);
    return made;
  };
}
for (const { prototype } of [GPUBuffer, GPUTexture]) {
  const { destroy } = prototype;
  prototype.destroy = function () {
    console.log(`gpu freed ${bytesOf(this)}`);
    return destroy.call(this);
  };
}

globalThis.ArrayBuffer = new Proxy(ArrayBuffer, {
  construct(target, given) {
    console.log(`array made ${given[0]}`);
    return Reflect.construct(target, given);
  },
});
