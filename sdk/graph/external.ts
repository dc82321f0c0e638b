import { parseModel } from './decode.js';
import { type GraphProto, type TensorProto, TensorProto_DataLocation } from './proto/onnx_pb.js';
import { staysInFolder } from './tensor-proto.js';

/**
 * The files that tensors of a model lie in beside it, each once, in order of appearance: what `decodeModel` wants as
 * `externalData`. Locations that would lead out of the model's folder are left out (decoding then refuses them).
 *
 * Throws MODEL_CORRUPT for bytes that are not an ONNX file.
 */
export function externalLocations(bytes: Uint8Array): readonly string[] {
  const { graph } = parseModel(bytes);
  const tensors = graph === undefined ? [] : tensorsOf(graph);
  const locations = tensors
    .filter((tensor) => tensor.dataLocation === TensorProto_DataLocation.EXTERNAL)
    .flatMap((tensor) => tensor.externalData.filter((entry) => entry.key === 'location').map((entry) => entry.value));
  return [...new Set(locations.filter(staysInFolder))];
}

/** Initializers and attribute tensors, also inside the branches of an If. */
function tensorsOf(graph: GraphProto): TensorProto[] {
  const attributes = graph.node.flatMap((node) => node.attribute);
  return [
    ...graph.initializer,
    ...attributes.flatMap((attribute) => (attribute.t === undefined ? [] : [attribute.t])),
    ...attributes.flatMap((attribute) => (attribute.g === undefined ? [] : tensorsOf(attribute.g))),
  ];
}
