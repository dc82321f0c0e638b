import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { createBuilder, floatTensor, type GraphBuilder, intTensor, modelOf } from '../../../sdk/graph/builder.js';
import { type CanonicalizeOptions, canonicalize } from '../../../sdk/graph/canonicalize.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { type Attribute, int, type Model, subgraph } from '../../../sdk/graph/graph.js';
import { ModelProtoSchema, SparseTensorProtoSchema } from '../../../sdk/graph/proto/onnx_pb.js';
import { tensorOf } from '../../../sdk/graph/tensors.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { seeded } from '../../reference/random.js';
import { operators } from './forms.js';
import { difference, randomTensor, runModel } from './runtime.js';

type Border = readonly (readonly [
  name: string,
  type: 'float32' | 'int64' | 'bool',
  dims: readonly (number | string)[],
])[];

/** A graph with named inputs and outputs, for a body or a model. */
function graphOf(name: string, inputs: Border, outputs: Border, write: (graph: GraphBuilder) => void) {
  const graph = createBuilder(undefined, `${name}/`);
  for (const [input, type, dims] of inputs) graph.input(input, type, dims);
  write(graph);
  for (const [output, type, dims] of outputs) graph.output(output, type, dims);
  return { ...graph.graph, name };
}

const scalar = (graph: GraphBuilder, name: string, value: number, type: 'int64' | 'bool' = 'int64'): string =>
  graph.initializer(name, tensorOf(type, [], [value]));
const to = (output: string) => ({ outputs: [output] });

/** h ← tanh(h·W + x_i) while i < `steps`, with h² of every step as a second result. */
function loopModel(opset: number, count: number | undefined, steps: number | undefined): Model {
  const body = graphOf(
    'body',
    [
      ['i', 'int64', []],
      ['go', 'bool', []],
      ['h', 'float32', [2, 3]],
    ],
    [
      ['on', 'bool', []],
      ['next', 'float32', [2, 3]],
      ['square', 'float32', [2, 3]],
    ],
    (graph) => {
      graph.initializer('W', randomTensor({ type: 'float32', dims: [3, 3] }, seeded(3)));
      // x comes from the graph around
      const row = graph.node('Gather', ['x', 'i'], { axis: int(0) });
      graph.node('Tanh', [graph.node('Add', [graph.node('MatMul', ['h', 'W']), row])], {}, to('next'));
      graph.node('Mul', ['next', 'next'], {}, to('square'));
      if (steps === undefined) graph.node('Identity', ['go'], {}, to('on'));
      else {
        const one = graph.initializer('one', intTensor([1], []));
        const limit = graph.initializer('limit', intTensor([steps], []));
        graph.node('Less', [graph.node('Add', ['i', one]), limit], {}, to('on'));
      }
    },
  );
  const graph = graphOf(
    'model',
    [
      ['x', 'float32', [5, 2, 3]],
      ['h0', 'float32', [2, 3]],
    ],
    [
      ['h', 'float32', [2, 3]],
      ['squares', 'float32', ['steps', 2, 3]],
    ],
    (outer) => {
      const most = count === undefined ? '' : scalar(outer, 'count', count);
      outer.nodes('Loop', [most, scalar(outer, 'start', 1, 'bool'), 'h0'], ['h', 'squares'], { body: subgraph(body) });
    },
  );
  return modelOf(graph, opset);
}

/** s ← s + x_t·u_t over two scanned inputs, one of them backwards and along axis 1. */
function scanModel(opset: number): Model {
  const border: Border = [
    ['s', 'float32', [3]],
    ['a', 'float32', [3]],
    ['b', 'float32', [3]],
  ];
  const body = graphOf(
    'body',
    border,
    [
      ['sum', 'float32', [3]],
      ['seen', 'float32', [3]],
    ],
    (graph) => {
      graph.node('Add', ['s', graph.node('Mul', ['a', 'b'])], {}, to('sum'));
      graph.node('Relu', ['sum'], {}, to('seen'));
    },
  );
  const graph = graphOf(
    'model',
    [
      ['s0', 'float32', [3]],
      ['x', 'float32', [4, 3]],
      ['u', 'float32', [3, 4]],
    ],
    [
      ['last', 'float32', [3]],
      ['all', 'float32', [3, 4]],
    ],
    (outer) => {
      const ints = (...value: number[]): Attribute => ({ kind: 'ints', value });
      outer.nodes('Scan', ['s0', 'x', 'u'], ['last', 'all'], {
        ...{ body: subgraph(body), num_scan_inputs: int(2), scan_input_axes: ints(0, 1) },
        ...{ scan_input_directions: ints(0, 1), scan_output_axes: ints(1), scan_output_directions: ints(1) },
      });
    },
  );
  return modelOf(graph, opset);
}

async function computesTheSame(model: Model, options: CanonicalizeOptions = {}, without: readonly string[] = []) {
  const { model: canonical, notes } = canonicalize(decodeModel(encodeModel(model)), options);
  const random = seeded(8);
  const feeds = Object.fromEntries(
    model.graph.inputs.map(({ name, type, dims }) => [
      name,
      type === 'float32'
        ? randomTensor({ type, dims: dims.map(Number) }, random)
        : tensorOf(type, [], [options.inputValues?.[name] as number]),
    ]),
  );
  const expected = await runModel(model, feeds);
  for (const name of without) delete feeds[name];
  const found = await runModel(canonical, feeds);
  for (const [name, value] of expected) expect(difference(found.get(name), value), name).toBeLessThan(1e-6);
  return { canonical, notes };
}

describe('loops are their steps', () => {
  for (const opset of [11, 17, 18]) {
    it(`a Loop with a trip count, opset ${opset}`, async () => {
      const { canonical, notes } = await computesTheSame(loopModel(opset, 4, undefined));
      expect(operators(canonical.graph).match(/Tanh/g)).toHaveLength(4);
      expect(notes.join(' ')).toMatch(/Loop "h" was replaced by its steps/);
    });
    it(`a Scan, opset ${opset}`, async () => {
      const { canonical } = await computesTheSame(scanModel(opset));
      expect(operators(canonical.graph).match(/Relu/g)).toHaveLength(4);
    });
  }
  it('a Loop that goes on until its condition is false', async () => {
    const { canonical } = await computesTheSame(loopModel(17, undefined, 3));
    expect(operators(canonical.graph).match(/Tanh/g)).toHaveLength(3);
    await computesTheSame(loopModel(17, 2, 3));
  });
  it('a Loop whose weights are stored once, however many steps it makes', () => {
    const { model } = canonicalize(loopModel(17, 5, undefined));
    expect([...model.graph.initializers.values()].filter(({ dims }) => dims.join() === '3,3')).toHaveLength(1);
  });
  it('relevance comes back through the steps', async () => {
    const { model } = compileExplanation(encodeModel(loopModel(17, 4, undefined)), { composite: 'epsilon' });
    const random = seeded(2);
    const feeds = {
      x: randomTensor({ type: 'float32', dims: [5, 2, 3] }, random),
      h0: randomTensor({ type: 'float32', dims: [2, 3] }, random),
      target: tensorOf('float32', [2, 3], [1, 0, 0, 0, 0, 0]),
    };
    const relevance = (await runModel(model, feeds)).get('relevance/x')!;
    const values = new Float32Array(relevance.bytes.buffer, relevance.bytes.byteOffset, 30);
    expect(values.subarray(0, 24).some((value) => value !== 0)).toBe(true);
    expect(values.every(Number.isFinite)).toBe(true);
    // the fifth row is never read
    expect([...values.subarray(24)]).toEqual([0, 0, 0, 0, 0, 0]);
  });
  it('a number of steps that depends on data, or is absurd, is an error by name', () => {
    const model = loopModel(17, 4, undefined);
    const open = {
      ...model,
      graph: {
        ...model.graph,
        initializers: new Map([...model.graph.initializers].filter(([name]) => name !== 'count')),
        inputs: [...model.graph.inputs, { name: 'count', type: 'int64' as const, dims: [] }],
      },
    };
    expect(() => canonicalize(open)).toThrow(/"h".*depends on data/);
    expect(() => canonicalize(open, { inputValues: { count: 3 } })).not.toThrow();
    expect(() => canonicalize(open, { inputValues: { count: 1e9 } })).toThrow(/more than are unrolled|index/);
  });
});

describe('inputs with a fixed value', () => {
  const flagged = (): Model => {
    const branch = (op: string) =>
      graphOf(op, [], [[`${op}/y`, 'float32', [3]]], (graph) => graph.node(op, ['x'], {}, to(`${op}/y`)));
    const graph = graphOf(
      'model',
      [
        ['x', 'float32', [3]],
        ['rate', 'int64', []],
      ],
      [['y', 'float32', [3]]],
      (outer) => {
        const isWide = outer.node('Equal', ['rate', scalar(outer, 'wide', 16000)]);
        const branches = { then_branch: subgraph(branch('Relu')), else_branch: subgraph(branch('Neg')) };
        outer.nodes('If', [isWide], ['y'], branches);
      },
    );
    return modelOf(graph);
  };
  it.each([
    [16000, 'Relu'],
    [8000, 'Neg'],
  ])('decide the branches of an If: %i', async (rate, taken) => {
    const { canonical } = await computesTheSame(flagged(), { inputValues: { rate } }, ['rate']);
    expect(operators(canonical.graph)).toBe(taken);
    expect(canonical.graph.inputs.map(({ name }) => name)).toEqual(['x']);
  });
  it('are checked against the model', () => {
    const compile = (inputValues: Record<string, number | number[]>) => () =>
      compileExplanation(encodeModel(flagged()), { inputValues });
    expect(compile({ sr: 1 })).toThrow(/inputValues gives "sr", which is no input/);
    expect(compile({ rate: 1.5 })).toThrow(/\[1.5\] for input "rate", which is int64/);
    expect(compile({ x: [1, 2] })).toThrow(/2 values for input "x", whose shape is \[3\]/);
  });
});

describe('sparse constants are read as dense ones', () => {
  const tensor = (name: string, values: number[]) => ({
    ...{ name, dataType: 1, dims: [BigInt(values.length)], floatData: values },
  });
  const positions = (values: number[], dims: number[]) => ({
    ...{ dataType: 7, dims: dims.map(BigInt), int64Data: values.map(BigInt) },
  });
  /** y = x + w with a sparse w. */
  const withSparse = (indices: number[], dims: number[], isNode: boolean): Uint8Array => {
    const graph = graphOf('model', [['x', 'float32', [2, 3]]], [['y', 'float32', [2, 3]]], (outer) => {
      outer.initializer('w', floatTensor([0, 0, 0, 0, 0, 0], [2, 3]));
      outer.node('Add', ['x', 'w'], {}, to('y'));
    });
    const proto = fromBinary(ModelProtoSchema, encodeModel(modelOf(graph)));
    const sparse = create(SparseTensorProtoSchema, {
      ...{ values: tensor(isNode ? '' : 'w', [5, 7]), indices: positions(indices, dims), dims: [2n, 3n] },
    });
    proto.graph!.initializer = [];
    if (!isNode) proto.graph!.sparseInitializer = [sparse];
    else {
      const add = proto.graph!.node[0]!;
      const attribute = { name: 'sparse_value', type: 11, sparseTensor: sparse };
      proto.graph!.node = fromBinary(
        ModelProtoSchema,
        toBinary(
          ModelProtoSchema,
          create(ModelProtoSchema, {
            graph: { node: [{ opType: 'Constant', output: ['w'], attribute: [attribute] }, add] },
          }),
        ),
      ).graph!.node;
    }
    return toBinary(ModelProtoSchema, proto);
  };
  it.each([
    ['by position', [1, 5], [2], false],
    ['by index', [0, 1, 1, 2], [2, 2], false],
    ['in a Constant node', [1, 5], [2], true],
  ])('%s', async (_, indices, dims, isNode) => {
    const { graph } = decodeModel(withSparse(indices, dims, isNode));
    const x = tensorOf('float32', [2, 3], [1, 1, 1, 1, 1, 1]);
    const y = (await runModel(encodeModel({ ...modelOf(graph) }), { x })).get('y')!;
    expect([...new Float32Array(y.bytes.buffer, y.bytes.byteOffset, 6)]).toEqual([1, 6, 1, 1, 1, 8]);
  });
  it('with an index outside, or of absurd size, are errors', () => {
    expect(() => decodeModel(withSparse([1, 6], [2], false))).toThrow(/"w" has the index 6/);
    expect(() => decodeModel(withSparse([1, 5], [1, 2], false))).toThrow(/indices of shape/);
  });
});
