import { createBuilder, floatTensor, type GraphBuilder, modelOf } from '../../sdk/graph/builder.js';
import { encodeModel } from '../../sdk/graph/encode.js';
import { type Attribute, type DataType, float, int, ints, type Tensor, text } from '../../sdk/graph/graph.js';
import { tensorOf } from '../../sdk/graph/tensors.js';
import type { Dense } from './dense.js';
import { forward } from './forward.js';
import type { Layer, Network } from './layers.js';

/** Name of the model's output when the network has a terminal Softmax, LogSoftmax or Sigmoid; otherwise it is the logits' name. */
export const terminalOutput = 'probabilities';

/** The same network as the bytes of an ONNX model: node names are the layers' names, tensors are called as in the description. */
export function onnxOf(network: Network, opset = 17): Uint8Array {
  const graph = createBuilder();
  const dims = new Map<string, readonly number[]>();
  for (const input of network.inputs) {
    graph.input(input.name, 'float32', input.dims);
    dims.set(input.name, input.dims);
  }
  for (const layer of network.layers) {
    const inputs = layer.inputs.map(
      (name): Dense => ({ dims: dims.get(name)!, data: new Float64Array(size(dims.get(name)!)) }),
    );
    for (const [index, output] of forward(layer, inputs).entries()) {
      dims.set(layer.outputs?.[index] ?? layer.name, output.dims);
    }
    write(graph, layer, inputs[0]!.dims.length, opset);
  }
  for (const name of network.otherOutputs ?? []) graph.output(name, 'float32', dims.get(name)!);
  const shape = dims.get(network.logits)!;
  if (network.terminal === undefined) graph.output(network.logits, 'float32', shape);
  else {
    const attributes: Record<string, Attribute> = network.terminal === 'Sigmoid' ? {} : { axis: int(-1) };
    graph.node(network.terminal, [network.logits], attributes, { name: 'terminal', outputs: [terminalOutput] });
    graph.output(terminalOutput, 'float32', shape);
  }
  return encodeModel(modelOf(graph.graph, opset));
}

const size = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

const byte = (graph: GraphBuilder, value: number): string =>
  graph.initializer(graph.name('zero'), tensorOf('uint8', [], [value]));

/** Weight and bias as constants: float32, or integers with the nodes that dequantize them. */
function weightsOf(graph: GraphBuilder, layer: Extract<Layer, { op: 'Conv' | 'Gemm' }>): string[] {
  const { name, weight, bias, stored } = layer;
  if (stored === undefined) {
    const constant = (role: string, value: Dense): string =>
      graph.initializer(`${name}.${role}`, floatTensor(Float32Array.from(value.data), value.dims));
    return [constant('weight', weight), ...(bias ? [constant('bias', bias)] : [])];
  }
  const channels = stored.weight.data.length;
  const axis = layer.op === 'Gemm' && layer.transB !== true ? 1 : 0;
  const inner = weight.data.length / weight.dims[0]!;
  const channelAt = (at: number): number => (axis === 0 ? Math.floor(at / inner) : at % channels);
  const dequantized = (role: string, type: DataType, value: Dense, steps: Float64Array, k: (at: number) => number) => {
    const integers = value.data.map((number, at) => Math.round(number / steps[k(at)]!));
    const put = (part: string, tensor: Tensor): string => graph.initializer(`${name}.${role}${part}`, tensor);
    const inputs = [
      put('/integers', tensorOf(type, value.dims, integers)),
      put('/scale', tensorOf('float32', [channels], steps)),
      put('/zero', tensorOf(type, [channels], new Float64Array(channels))),
    ];
    const attributes = { axis: int(role === 'bias' ? 0 : axis) };
    return graph.node('DequantizeLinear', inputs, attributes, { outputs: [`${name}.${role}`] });
  };
  const steps = stored.weight.data;
  const names = [dequantized('weight', 'int8', weight, steps, channelAt)];
  const biasSteps = steps.map((step) => Math.fround(step * stored.input));
  if (bias) names.push(dequantized('bias', 'int32', bias, biasSteps, (at) => at));
  return names;
}

function write(graph: GraphBuilder, layer: Layer, rank: number, opset: number): void {
  const { name, inputs } = layer;
  const constant = (role: string, value: Dense): string =>
    graph.initializer(`${name}.${role}`, floatTensor(Float32Array.from(value.data), value.dims));
  const scalar = (value: number): string => graph.floats([value], []);
  const node = (
    op: string,
    from: readonly string[],
    attributes: Record<string, Attribute> = {},
    output = name,
  ): string => graph.node(op, from, attributes, { name: output, outputs: [output] });
  const windows = (
    spatial: number,
    {
      strides,
      pads,
      dilations,
    }: { strides?: readonly number[]; pads?: readonly number[]; dilations?: readonly number[] },
  ): Record<string, Attribute> => ({
    strides: ints(strides ?? Array<number>(spatial).fill(1)),
    pads: ints(pads ?? Array<number>(2 * spatial).fill(0)),
    ...(dilations === undefined ? {} : { dilations: ints(dilations) }),
  });
  const normalization = (
    from: string,
    norm: Extract<Layer, { op: 'BatchNormalization' }>['batchNorm'],
    output: string,
  ): string =>
    graph.node(
      'BatchNormalization',
      [
        from,
        constant('scale', norm.scale),
        constant('shift', norm.shift),
        constant('mean', norm.mean),
        constant('variance', norm.variance),
      ],
      { epsilon: float(norm.epsilon) },
      { name: output === name && layer.op === 'Conv' ? `${name}/normalization` : name, outputs: [output] },
    );

  switch (layer.op) {
    case 'Conv': {
      const from = [inputs[0]!, ...weightsOf(graph, layer)];
      const attributes = { ...windows(rank - 2, layer), group: int(layer.group ?? 1) };
      if (layer.batchNorm === undefined) node('Conv', from, attributes);
      else {
        const before = graph.node('Conv', from, attributes, { name, outputs: [`${name}/convolved`] });
        normalization(before, layer.batchNorm, name);
      }
      return;
    }
    case 'ConvTranspose': {
      const from = [
        inputs[0]!,
        constant('weight', layer.weight),
        ...(layer.bias ? [constant('bias', layer.bias)] : []),
      ];
      node('ConvTranspose', from, {
        ...windows(rank - 2, layer),
        group: int(layer.group ?? 1),
        ...(layer.outputPadding ? { output_padding: ints(layer.outputPadding) } : {}),
      });
      return;
    }
    case 'Gemm':
      node('Gemm', [inputs[0]!, ...weightsOf(graph, layer)], {
        ...(layer.transB ? { transB: int(1) } : {}),
        ...(layer.alpha === undefined ? {} : { alpha: float(layer.alpha) }),
        ...(layer.beta === undefined ? {} : { beta: float(layer.beta) }),
      });
      return;
    case 'MatMul': {
      const weight = constant('weight', layer.weight);
      const from = layer.side === 'left' ? [weight, inputs[0]!] : [inputs[0]!, weight];
      if (layer.bias === undefined) node('MatMul', from);
      else {
        const product = graph.node('MatMul', from, {}, { name, outputs: [`${name}/product`] });
        graph.node('Add', [product, constant('bias', layer.bias)], {}, { name: `${name}/bias`, outputs: [name] });
      }
      return;
    }
    case 'MaxPool':
      node('MaxPool', inputs, {
        kernel_shape: ints(layer.kernel),
        ...windows(rank - 2, layer),
        ...(layer.ceil ? { ceil_mode: int(1) } : {}),
      });
      return;
    case 'AveragePool':
      node('AveragePool', inputs, {
        kernel_shape: ints(layer.kernel),
        ...windows(rank - 2, layer),
        ...(layer.ceil ? { ceil_mode: int(1) } : {}),
        count_include_pad: int(layer.countIncludePad ? 1 : 0),
      });
      return;
    case 'ReduceMean':
    case 'ReduceSum':
    case 'ReduceMax': {
      // the axes became an input in opset 13 (ReduceSum) and 18 (the others)
      const asInput = layer.op === 'ReduceSum' || opset >= 18;
      const keepdims = { keepdims: int(layer.keepdims ? 1 : 0) };
      if (asInput) node(layer.op, [...inputs, graph.ints(layer.axes)], keepdims);
      else node(layer.op, inputs, { axes: ints(layer.axes), ...keepdims });
      return;
    }
    case 'Mul':
    case 'Div':
      node(layer.op, [inputs[0]!, constant('constant', layer.constant)]);
      return;
    case 'BatchNormalization':
      normalization(inputs[0]!, layer.batchNorm, name);
      return;
    case 'Concat':
    case 'Flatten':
      node(layer.op, inputs, { axis: int(layer.axis) });
      return;
    case 'Reshape':
      node('Reshape', [inputs[0]!, graph.ints(layer.shape)]);
      return;
    case 'Squeeze':
    case 'Unsqueeze':
      node(layer.op, [inputs[0]!, graph.ints(layer.axes)]);
      return;
    case 'Transpose':
      node('Transpose', inputs, { perm: ints(layer.perm) });
      return;
    case 'Pad':
      node('Pad', [inputs[0]!, graph.ints(layer.pads), ...(layer.value === undefined ? [] : [scalar(layer.value)])], {
        mode: text(layer.mode),
      });
      return;
    case 'Slice':
      node('Slice', [
        inputs[0]!,
        graph.ints(layer.starts),
        graph.ints(layer.ends),
        graph.ints(layer.axes),
        graph.ints(layer.steps),
      ]);
      return;
    case 'Split':
      graph.nodes(
        'Split',
        [inputs[0]!, graph.ints(layer.sizes)],
        layer.outputs ?? [name],
        { axis: int(layer.axis) },
        { name },
      );
      return;
    case 'Gather':
      node('Gather', [inputs[0]!, graph.ints(layer.indices)], { axis: int(layer.axis) });
      return;
    case 'Quantize': {
      const steps = [scalar(layer.scale ?? 1), byte(graph, layer.zero ?? 0)];
      const integers = graph.node('QuantizeLinear', [inputs[0]!, ...steps], {}, { outputs: [`${name}/integers`] });
      node('DequantizeLinear', [integers, ...steps]);
      return;
    }
    case 'Clip':
      node('Clip', [
        inputs[0]!,
        layer.low === undefined ? '' : scalar(layer.low),
        ...(layer.high === undefined ? [] : [scalar(layer.high)]),
      ]);
      return;
    case 'PRelu':
      node('PRelu', [inputs[0]!, graph.floats([layer.alpha ?? 0.01], [1])]);
      return;
    case 'LeakyRelu':
    case 'Elu':
      node(layer.op, inputs, layer.alpha === undefined ? {} : { alpha: float(layer.alpha) });
      return;
    case 'HardSigmoid':
      node('HardSigmoid', inputs, { alpha: float(layer.alpha ?? 0.2), beta: float(layer.beta ?? 0.5) });
      return;
    case 'SiLU': {
      const gate = node('Sigmoid', inputs, {}, `${name}/gate`);
      node('Mul', [inputs[0]!, gate]);
      return;
    }
    case 'Gelu': {
      const scaled = node('Div', [inputs[0]!, scalar(Math.SQRT2)], {}, `${name}/scaled`);
      const erf = node('Erf', [scaled], {}, `${name}/erf`);
      const shifted = node('Add', [erf, scalar(1)], {}, `${name}/shifted`);
      const product = node('Mul', [inputs[0]!, shifted], {}, `${name}/product`);
      node('Mul', [product, scalar(0.5)]);
      return;
    }
    default:
      node(layer.op, inputs);
  }
}
