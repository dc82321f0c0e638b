import { WhylightError } from '../errors.js';
import type { Node, Tensor } from './graph.js';
import { packStrings } from './tensor-proto.js';

/** The tensor that a Constant node stands for, in any of ONNX's storage forms. Throws MODEL_CORRUPT where it has none. */
export function constantTensor(node: Node): Tensor {
  const encoder = new TextEncoder();
  for (const [name, attribute] of node.attributes) {
    // decodeModel has made a sparse value dense
    if ((name === 'value' || name === 'sparse_value') && attribute.kind === 'tensor') return attribute.value;
    if (name === 'value_float' && attribute.kind === 'float') return float32([attribute.value], []);
    if (name === 'value_floats' && attribute.kind === 'floats') {
      return float32(attribute.value, [attribute.value.length]);
    }
    if (name === 'value_int' && attribute.kind === 'int') return int64([attribute.value], []);
    if (name === 'value_ints' && attribute.kind === 'ints') return int64(attribute.value, [attribute.value.length]);
    if (name === 'value_string' && attribute.kind === 'string') {
      return { type: 'string', dims: [], bytes: packStrings([encoder.encode(attribute.value)]) };
    }
    if (name === 'value_strings' && attribute.kind === 'strings') {
      const strings = attribute.value.map((value) => encoder.encode(value));
      return { type: 'string', dims: [strings.length], bytes: packStrings(strings) };
    }
  }
  throw new WhylightError('MODEL_CORRUPT', `Constant node "${node.name}" has no value.`, {
    details: { node: node.name },
  });
}

function float32(values: readonly number[], dims: readonly number[]): Tensor {
  return { type: 'float32', dims, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

function int64(values: readonly number[], dims: readonly number[]): Tensor {
  const array = BigInt64Array.from(values, (value) => BigInt(value));
  return { type: 'int64', dims, bytes: new Uint8Array(array.buffer) };
}
