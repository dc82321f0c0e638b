import { fromBinary } from '@bufbuild/protobuf';
import { WhylightError } from '../errors.js';
import { ModelProtoSchema, TensorProto_DataLocation } from './proto/onnx_pb.js';
import { looksLike } from './signature.js';

/** Whether a location stays in or below the model's own folder, as ONNX demands: whoever supplies the files resolves it. */
export function staysInFolder(location: string): boolean {
  return !/^([/\\]|[a-z]+:)/i.test(location) && !location.split(/[/\\]/).includes('..');
}

/**
 * The files that the weights of a model lie in beside it, each once, for `externalData`. Locations that would lead out of the
 * model's folder are left out (decoding then refuses them). Throws `MODEL_CORRUPT` for bytes that are not an ONNX file.
 */
export function externalLocations(bytes: Uint8Array): readonly string[] {
  let tensors: ReturnType<typeof initializersOf>;
  try {
    tensors = initializersOf(bytes);
  } catch (cause) {
    throw new WhylightError('MODEL_CORRUPT', `This is not an ONNX file; ${looksLike(bytes)}.`, { cause });
  }
  const locations = tensors
    .filter((tensor) => tensor.dataLocation === TensorProto_DataLocation.EXTERNAL)
    .flatMap((tensor) => tensor.externalData.filter((entry) => entry.key === 'location').map((entry) => entry.value));
  return [...new Set(locations.filter(staysInFolder))];
}

function initializersOf(bytes: Uint8Array) {
  return fromBinary(ModelProtoSchema, bytes).graph?.initializer ?? [];
}
