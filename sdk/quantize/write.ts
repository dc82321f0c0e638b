import type { GraphBuilder } from '../graph/builder.js';
import { createBuilder } from '../graph/builder.js';
import { usesOf } from '../graph/canonical/draft.js';
import { renamed } from '../graph/canonical/rename.js';
import type { Attribute, Graph } from '../graph/graph.js';
import { int } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';
import { staticTypeOf } from '../graph/shapes.js';
import { tensorOf } from '../graph/tensors.js';
import type { Plan } from './plan.js';
import { type QuantizedWeights, quantizeBias, type Steps } from './steps.js';
import { finished, storeIntegers, storeWeights } from './weights.js';

/** Everything that the integer form of a graph is written from. */
export interface QuantizationParameters {
  readonly plan: Plan;
  /** Steps of every tensor that decides any: the values of `plan.tensors`. */
  readonly steps: ReadonlyMap<string, Steps>;
  /** Integer weights by the first output of their layer. */
  readonly rounded: ReadonlyMap<string, RoundedLayer>;
}

/** What rounding made of a layer. */
export interface RoundedLayer {
  readonly layer: LinearLayer;
  /** Gemm's alpha included. */
  readonly weights: QuantizedWeights;
  /** Gemm's beta included, one number per output channel; undefined where there is no bias, and nothing to correct. */
  readonly bias: Float64Array | undefined;
}

/**
 * Writes a graph with QuantizeLinear and DequantizeLinear at every tensor and weight that the plan makes integers. ONNX Runtime
 * fuses them with what lies between into its integer kernels: int8 weights with a scale per output channel and no zero point,
 * int32 biases in steps of exactly input scale × weight scale, uint8 activations whose ReLU the zero point of 0 does.
 *
 * A tensor keeps its name after DequantizeLinear: under it one finds the values that the next layers see. Its integers are
 * `NAME/uint8`, its scale is `NAME/scale`.
 */
export function writeIntegers(graph: Graph, parameters: QuantizationParameters): Graph {
  const { plan } = parameters;
  const builder = createBuilder({ ...graph, nodes: [], inputs: [], outputs: [] });
  const layers = new Map(plan.layers.map((layer) => [layer.node, layer]));
  const stepsOf = (tensor: string): NamedSteps => namedSteps(builder, parameters, plan.tensors.get(tensor)!);
  /**
   * What the integers stand for, with the one step written for every channel. A float32 layer that reads a tensor of one step is taken
   * by ONNX Runtime to be meant as integers: it gives its weights int8 with a single scale for all outputs.
   */
  const byChannel = (tensor: string, integers: string, to: string): string => {
    const { steps } = stepsOf(tensor);
    const channels = staticTypeOf(graph, tensor).dims[1] ?? 1;
    const all = (value: number): number[] => new Array<number>(channels).fill(value);
    const scale = builder.initializer(`${tensor}/scales`, tensorOf('float32', [channels], all(steps.scale)));
    const zeros = builder.initializer(`${tensor}/zero_points`, tensorOf('uint8', [channels], all(steps.zeroPoint)));
    const names = { name: `${tensor}/channels`, outputs: [to] };
    return builder.node('DequantizeLinear', [integers, scale, zeros], { axis: int(1) }, names);
  };
  const uses = usesOf(graph);
  const floatReaders = new Map<string, number>();
  for (const { op, inputs } of plan.floats.keys()) {
    if (op !== 'MatMul') floatReaders.set(inputs[0]!, (floatReaders.get(inputs[0]!) ?? 0) + 1);
  }
  /** Tensor → what layers of float32 read in its place. */
  const channelNames = new Map<string, string>();
  /** `from` in float32 → `to`, what its integers stand for. */
  const throughIntegers = (tensor: string, from: string, to: string): void => {
    const { scale, zeroPoint } = stepsOf(tensor).names;
    const integers = builder.node('QuantizeLinear', [from, scale, zeroPoint], {}, { outputs: [`${tensor}/uint8`] });
    const floats = floatReaders.get(tensor);
    const isReadByOthers = floats !== uses.get(tensor);
    if (floats !== undefined) {
      channelNames.set(tensor, byChannel(tensor, integers, isReadByOthers ? `${tensor}/channels` : to));
    }
    if (!isReadByOthers) return;
    // many exporters call a node after its output, so that name is taken
    builder.node('DequantizeLinear', [integers, scale, zeroPoint], {}, { name: `${tensor}/real`, outputs: [to] });
  };

  const names = new Map<string, string>();
  for (const { name } of graph.inputs) {
    if (!plan.tensors.has(name)) continue;
    names.set(name, `${name}/real`);
    throughIntegers(name, name, `${name}/real`);
  }
  for (const node of graph.nodes) {
    const read = renamed(node, names);
    const onIntegers = layers.get(node)?.linear !== undefined;
    let { inputs, attributes } = read;
    if (onIntegers || plan.weightsOnly.has(node)) {
      const rounded = parameters.rounded.get(node.outputs[0]!)!;
      const step = onIntegers ? stepsOf(node.inputs[0]!) : undefined;
      inputs = [inputs[0]!, ...integerWeights(builder, rounded, step)];
      attributes = withoutFactors(attributes);
    } else if (plan.floats.has(node)) inputs = [channelNames.get(node.inputs[0]!) ?? inputs[0]!, ...inputs.slice(1)];
    const outputs = node.outputs.map((name) => (plan.tensors.has(name) ? `${name}/float` : name));
    builder.nodes(node.op, inputs, outputs, Object.fromEntries(attributes), node);
    for (const name of node.outputs) if (plan.tensors.has(name)) throughIntegers(name, `${name}/float`, name);
  }
  return finished(graph, builder.graph.nodes, builder.graph.initializers);
}

/** Steps of an activation, and the constants that hold them. */
interface NamedSteps {
  readonly steps: Steps;
  readonly names: { readonly scale: string; readonly zeroPoint: string };
}

function namedSteps(builder: GraphBuilder, { steps }: QuantizationParameters, source: string): NamedSteps {
  const value = steps.get(source)!;
  // few values, many tensors: equal zero points are one constant
  const names = { scale: `${source}/scale`, zeroPoint: `zero_point/${value.zeroPoint}` };
  builder.initializer(names.scale, tensorOf('float32', [], [value.scale]));
  builder.initializer(names.zeroPoint, tensorOf('uint8', [], [value.zeroPoint]));
  return { steps: value, names };
}

/**
 * Weights as integers behind DequantizeLinear, with or without the bias: the inputs of a linear layer after its data. The bias is in
 * integers where the data is, and has `input` steps.
 */
function integerWeights(
  builder: GraphBuilder,
  { layer, weights: quantized, bias }: RoundedLayer,
  input: NamedSteps | undefined,
): readonly string[] {
  const { weights, scale } = storeWeights(builder, layer, quantized);
  if (bias === undefined) return [weights];
  const stem = builder.name('b');
  if (input === undefined) return [weights, builder.initializer(stem, tensorOf('float32', [bias.length], bias))];
  const integers = tensorOf('int32', [bias.length], quantizeBias(bias, input.steps.scale, quantized.scales));
  // a product of constants, which every runtime folds: stored, it would be as large as the bias itself
  const step = builder.node('Mul', [scale, input.names.scale], {}, { outputs: [builder.name(`${stem}/scale`)] });
  return [weights, storeIntegers(builder, stem, integers, [step], 0)];
}

/** Gemm's factors are part of the integers. */
function withoutFactors(attributes: ReadonlyMap<string, Attribute>): Map<string, Attribute> {
  return new Map([...attributes].filter(([name]) => name !== 'alpha' && name !== 'beta'));
}
