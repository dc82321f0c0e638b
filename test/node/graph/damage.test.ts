import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel, encodeModelParts } from '../../../sdk/graph/encode.js';
import { externalLocations } from '../../../sdk/graph/external.js';
import { type Model, subgraph, tensor } from '../../../sdk/graph/graph.js';
import {
  type ModelProto,
  ModelProtoSchema,
  SparseTensorProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from '../../../sdk/graph/proto/onnx_pb.js';
import { numbersOf } from '../../../sdk/graph/tensors.js';

/** y = Relu(x · w) with w of shape [3, 2]. */
function small(): Model {
  const builder = createBuilder();
  const x = builder.input('x', 'float32', ['batch', 3]);
  const w = builder.initializer('w', floatTensor([1, 2, 3, 4, 5, 6], [3, 2]));
  const product = builder.node('MatMul', [x, w], {}, { name: 'product', outputs: ['h'] });
  builder.output(builder.node('Relu', [product], {}, { name: 'relu', outputs: ['y'] }), 'float32', ['batch', 2]);
  return modelOf(builder.graph);
}

/** The small model's file after a change of its messages. */
function changed(change: (proto: ModelProto) => void): Uint8Array {
  const proto = fromBinary(ModelProtoSchema, encodeModel(small()));
  change(proto);
  return toBinary(ModelProtoSchema, proto);
}

const graphOf = (proto: ModelProto) => proto.graph!;
const weightOf = (proto: ModelProto) => proto.graph!.initializer[0]!;
const bytesOf = (string: string): Uint8Array => new TextEncoder().encode(string);

describe('files that are wrong', () => {
  const files: readonly (readonly [string, Uint8Array, string, RegExp])[] = [
    ['empty', new Uint8Array(0), 'MODEL_CORRUPT', /empty/],
    [
      'HTML',
      bytesOf('<!DOCTYPE html><html><body>Not found</body></html>'),
      'MODEL_CORRUPT',
      /starts with '<!DOCTYPE html.*HTML/,
    ],
    ['JSON', bytesOf('{"error": "not found"}'), 'MODEL_CORRUPT', /JSON/],
    ['a Git LFS pointer', bytesOf('version https://git-lfs.github.com/spec/v1\noid'), 'MODEL_CORRUPT', /Git LFS/],
    ['gzip', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0), 'MODEL_CORRUPT', /gzip/],
    ['truncated', encodeModel(small()).subarray(0, 100), 'MODEL_CORRUPT', /truncated/],
    ['zeros', new Uint8Array(64), 'MODEL_CORRUPT', /./],
    ['without graph', changed((proto) => delete proto.graph), 'MODEL_CORRUPT', /no graph/],
    ['without nodes', changed((proto) => (graphOf(proto).node = [])), 'MODEL_CORRUPT', /no nodes/],
    ['without outputs', changed((proto) => (graphOf(proto).output = [])), 'MODEL_CORRUPT', /no outputs/],
    ['opset 6', changed((proto) => (proto.opsetImport[0]!.version = 6n)), 'MODEL_OPSET', /version 6.*7 to 26/],
    ['opset 27', changed((proto) => (proto.opsetImport[0]!.version = 27n)), 'MODEL_OPSET', /version 27/],
    ['no opset', changed((proto) => (proto.opsetImport = [])), 'MODEL_OPSET', /does not say/],
    [
      'an undefined tensor',
      changed((proto) => (graphOf(proto).node[1]!.input = ['z'])),
      'MODEL_CORRUPT',
      /Node "relu" .*"z"/,
    ],
    [
      'an output twice',
      changed((proto) => graphOf(proto).output.push(graphOf(proto).output[0]!)),
      'MODEL_CORRUPT',
      /"y" is declared twice/,
    ],
    ['an undefined output', changed((proto) => (graphOf(proto).output[0]!.name = 'z')), 'MODEL_CORRUPT', /"z"/],
    [
      'two writers',
      changed((proto) => (graphOf(proto).node[0]!.output = ['y'])),
      'MODEL_CORRUPT',
      /"product" and "relu" both write tensor "y"/,
    ],
    [
      'a written input',
      changed((proto) => (graphOf(proto).node[0]!.output = ['x'])),
      'MODEL_CORRUPT',
      /"product" writes tensor "x"|depends on its own/,
    ],
    [
      'a cycle',
      changed((proto) => (graphOf(proto).node[0]!.input = ['y', 'w'])),
      'MODEL_CORRUPT',
      /depends on its own output/,
    ],
    [
      'too few bytes',
      changed((proto) => (weightOf(proto).dims = [3n, 3n])),
      'MODEL_CORRUPT',
      /Initializer "w" has dims \[3, 3\] but 24 bytes/,
    ],
    [
      'a negative dimension',
      changed((proto) => (weightOf(proto).dims = [-3n, -2n])),
      'MODEL_CORRUPT',
      /negative dimension -3/,
    ],
    [
      'an absurd dimension',
      changed((proto) => (weightOf(proto).dims = [2n ** 40n, 2n ** 40n])),
      'MODEL_CORRUPT',
      /no file can hold/,
    ],
    ['an unknown type', changed((proto) => (weightOf(proto).dataType = 77)), 'MODEL_TYPE', /element type 77/],
    [
      'a sparse initializer',
      changed((proto) =>
        graphOf(proto).sparseInitializer.push(create(SparseTensorProtoSchema, { values: { name: 's' } })),
      ),
      'MODEL_CORRUPT',
      /"s" is sparse and has no values/,
    ],
    [
      'a sequence input',
      changed(
        (proto) =>
          (graphOf(proto).input[0]!.type!.value = {
            case: 'sequenceType',
            value: { $typeName: 'onnx.TypeProto.Sequence' },
          }),
      ),
      'MODEL_TYPE',
      /Input "x" is a sequence/,
    ],
    [
      'external data',
      external({ location: 'other.bin' }),
      'EXTERNAL_DATA',
      /Initializer "w".*"other.bin", which was not given/,
    ],
    ['an absolute location', external({ location: '/etc/passwd' }), 'EXTERNAL_DATA', /only files in or below/],
    ['a location outside', external({ location: 'a/../../weights.bin' }), 'EXTERNAL_DATA', /only files in or below/],
    ['a wrong length', external({ location: 'weights.bin', length: '20' }), 'EXTERNAL_DATA', /takes 20 bytes/],
    ['a negative offset', external({ location: 'weights.bin', offset: '-4' }), 'EXTERNAL_DATA', /offset "-4"/],
  ];
  for (const [name, bytes, code, sentence] of files) {
    it(`${name}: ${code}`, () => {
      const thrown = catchFrom(() => decodeModel(bytes, { externalData: { 'weights.bin': new Uint8Array(24) } }));
      expect(thrown).toBeInstanceOf(WhylightError);
      expect(thrown).toMatchObject({ code, message: expect.stringMatching(sentence) });
    });
  }

  it('external data that ends too early names tensor and file', () => {
    const bytes = external({ location: 'weights.bin', offset: '16' });
    const thrown = catchFrom(() => decodeModel(bytes, { externalData: { 'weights.bin': new Uint8Array(32) } }));
    expect(thrown).toMatchObject({ code: 'EXTERNAL_DATA', details: { tensor: 'w', file: 'weights.bin' } });
  });
});

function external(fields: Readonly<Record<string, string>>): Uint8Array {
  return changed((proto) => {
    const weight = weightOf(proto);
    weight.dataLocation = TensorProto_DataLocation.EXTERNAL;
    weight.rawData = new Uint8Array(0);
    weight.externalData = Object.entries(fields).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
  });
}

function catchFrom(run: () => unknown): unknown {
  try {
    run();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}

describe('files as exporters write them', () => {
  it('reads external data as a view', () => {
    const bytes = external({ location: 'dir/weights.bin', offset: '8', length: '24' });
    expect(externalLocations(bytes)).toEqual(['dir/weights.bin']);
    expect(externalLocations(external({ location: '../weights.bin' }))).toEqual([]);
    const file = new Uint8Array(new Float32Array([0, 0, 1, 2, 3, 4, 5, 6]).buffer);
    const weight = decodeModel(bytes, { externalData: { 'dir/weights.bin': file } }).graph.initializers.get('w')!;
    expect([...numbersOf(weight)]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(weight.bytes.buffer).toBe(file.buffer);
  });

  it('sorts nodes', () => {
    const model = decodeModel(changed((proto) => graphOf(proto).node.reverse()));
    expect(model.graph.nodes.map((node) => node.name)).toEqual(['product', 'relu']);
  });

  it('drops inputs that are initializers, and writes them again before IR 4', () => {
    const proto = fromBinary(ModelProtoSchema, encodeModel({ ...small(), irVersion: 3 }));
    expect(proto.graph!.input.map((input) => input.name)).toEqual(['x', 'w']);
    expect(decodeModel(toBinary(ModelProtoSchema, proto)).graph.inputs.map((input) => input.name)).toEqual(['x']);
  });

  const typed: readonly (readonly [
    number,
    Partial<Parameters<typeof create<typeof TensorProtoSchema>>[1]>,
    number[],
  ])[] = [
    [1, { floatData: [1.5, -2] }, [1.5, -2]],
    [2, { int32Data: [1, 255] }, [1, 255]],
    [3, { int32Data: [-1, 127] }, [-1, 127]],
    [5, { int32Data: [-1, 300] }, [-1, 300]],
    [6, { int32Data: [-1, 70000] }, [-1, 70000]],
    [7, { int64Data: [-1n, 2n ** 62n] }, [-1, 2 ** 53]],
    [9, { int32Data: [0, 1] }, [0, 1]],
    [10, { int32Data: [0x3e00, 0xc000] }, [1.5, -2]],
    [11, { doubleData: [0.1, -2] }, [0.1, -2]],
    [12, { uint64Data: [1n, 2n ** 32n - 1n] }, [1, 2 ** 32 - 1]],
    [13, { uint64Data: [1n, 5n] }, [1, 5]],
    [16, { int32Data: [0x3fc0, 0xc000] }, [1.5, -2]],
  ];
  for (const [dataType, fields, values] of typed) {
    it(`reads typed fields of element type ${dataType}`, () => {
      const bytes = changed((proto) =>
        graphOf(proto).initializer.push(
          create(TensorProtoSchema, { name: 't', dims: [2n], dataType, ...fields } as never),
        ),
      );
      expect([...numbersOf(decodeModel(bytes).graph.initializers.get('t')!)]).toEqual(values);
    });
  }

  it('keeps doc strings, metadata and fields that it does not know', () => {
    const unknown = { no: 999, wireType: 2, data: Uint8Array.of(3, 1, 2, 3) };
    const bytes = changed((proto) => {
      for (const message of [
        proto,
        graphOf(proto),
        graphOf(proto).node[0]!,
        weightOf(proto),
        graphOf(proto).input[0]!,
      ]) {
        message.$unknown = [unknown];
        message.docString = 'why';
      }
      proto.producerName = 'producer';
      proto.metadataProps = [create(StringStringEntryProtoSchema, { key: 'a', value: 'b' })];
    });
    const again = fromBinary(ModelProtoSchema, encodeModel(decodeModel(bytes)));
    for (const message of [again, graphOf(again), graphOf(again).node[0]!, weightOf(again), graphOf(again).input[0]!]) {
      expect(message.docString).toBe('why');
      expect(message.$unknown).toMatchObject([{ no: 999, wireType: 2 }]);
      expect([...message.$unknown![0]!.data]).toEqual([3, 1, 2, 3]);
    }
    expect(again.producerName).toBe('producer');
    expect(again.metadataProps[0]).toMatchObject({ key: 'a', value: 'b' });
  });
});

describe('large weights', () => {
  it('pass through as the same views', () => {
    const bytes = new Uint8Array(110 * 2 ** 20);
    const inside = createBuilder();
    const big = { type: 'float32' as const, dims: [bytes.length / 4], bytes };
    inside.initializer('inner', big);
    inside.output(inside.node('Identity', ['inner']), 'float32', [bytes.length / 4]);
    const model = small();
    const [product, relu] = model.graph.nodes;
    const withGraph = {
      ...product!,
      attributes: new Map([
        ['g', subgraph(inside.graph)],
        ['t', tensor(big)],
      ]),
    };
    const initializers = new Map([...model.graph.initializers, ['big', big]]);
    const parts = encodeModelParts({ ...model, graph: { ...model.graph, nodes: [withGraph, relu!], initializers } });
    const views = parts.filter((part) => part.buffer === bytes.buffer);
    expect(views.map((view) => [view.byteOffset, view.byteLength])).toEqual(Array(3).fill([0, bytes.length]));
    const rest = parts.reduce((sum, part) => sum + part.length, 0) - 3 * bytes.length;
    expect(rest).toBeLessThan(2000);
  });

  it('are views into the file after decoding', () => {
    const bytes = encodeModel(small());
    expect(decodeModel(bytes).graph.initializers.get('w')!.bytes.buffer).toBe(bytes.buffer);
  });

  it('beyond 2 GB are refused before anything is allocated', () => {
    const model = small();
    const bytes = new Uint8Array(2 ** 28);
    const big = { type: 'uint8' as const, dims: [bytes.length], bytes };
    const initializers = new Map([
      ...model.graph.initializers,
      ...Array.from({ length: 9 }, (_, i) => [`b${i}`, big] as const),
    ]);
    expect(() => encodeModel({ ...model, graph: { ...model.graph, initializers } })).toThrow(/2\.3 GB.*at most 2 GB/);
  });
});
