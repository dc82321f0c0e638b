import { describe, expect, it } from 'vitest';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import type { Graph, Model, Node, Tensor } from '../../../sdk/graph/graph.js';
import { modelFiles, modelsAbsent } from './models.js';

/** A model without its messages: what an encoded and decoded model has to agree in. */
function plain(model: Model): unknown {
  const { proto: _, graph, ...rest } = model;
  return { ...rest, graph: plainGraph(graph) };
}

function plainGraph({ proto: _, nodes, initializers, values, ...rest }: Graph): unknown {
  return {
    ...rest,
    nodes: nodes.map(plainNode),
    initializers: [...initializers].map(([name, value]) => [name, plainTensor(value)]),
    values: [...values].sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}

function plainNode({ proto: _, attributes, ...rest }: Node): unknown {
  return {
    ...rest,
    attributes: [...attributes].map(([name, attribute]) => {
      if (attribute.kind === 'graph') return [name, plainGraph(attribute.value)];
      return attribute.kind === 'tensor' ? [name, plainTensor(attribute.value)] : [name, attribute];
    }),
  };
}

function plainTensor({ type, dims, bytes }: Tensor): unknown {
  return [type, dims, Buffer.from(bytes).toString('base64')];
}

describe('real model files', () => {
  it.skipIf(modelsAbsent)('are there', () => expect(modelFiles.length).toBeGreaterThan(0));

  for (const file of modelFiles) {
    it(`decodes and re-encodes ${file.name}`, () => {
      const model = decodeModel(file.read());
      const again = decodeModel(encodeModel(model));
      expect(plain(again)).toEqual(plain(model));
    });
  }
});
