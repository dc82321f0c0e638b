import { UnsupportedOperatorError } from '../../errors.js';
import type { Attribute, Node } from '../graph.js';
import { float, floatAttribute, int, ints, textAttribute } from '../graph.js';
import { type Call, need } from '../shapes/call.js';
import { fusedFactors } from '../shapes/fused.js';
import { convolutionWindow } from '../shapes/window.js';
import type { Upgrade } from './upgrade.js';
import { type Writer, written } from './writer.js';

/** The attributes of a node but for those whose names start with `activation`. */
function withoutActivation(node: Node): Record<string, Attribute> {
  return Object.fromEntries([...node.attributes].filter(([name]) => !name.startsWith('activation')));
}

/** The activation that ONNX Runtime has fused into a layer, written out behind it. */
function activated(write: Writer, node: Node, value: string, parameters: readonly number[]): string {
  const activation = textAttribute(node, 'activation', '');
  const [alpha, beta] = parameters;
  switch (activation) {
    case '':
      return value;
    case 'Relu':
    case 'Sigmoid':
    case 'Tanh':
      return write.op(activation, [value]);
    case 'LeakyRelu':
      return write.op(activation, [value], { alpha: float(alpha ?? 0.01) });
    case 'HardSigmoid':
      return write.op(activation, [value], { alpha: float(alpha ?? 0.2), beta: float(beta ?? 0.5) });
    case 'Clip':
      return write.op(activation, [value, write.numbers([alpha!]), write.numbers([beta!])]);
    default:
      throw new UnsupportedOperatorError(node.name, node.op, `its fused activation "${activation}" is not known.`);
  }
}

const typeOf = (call: Call) => need(call, 0).type;

/** act(Conv(x, w, b) + z). */
const fusedConv: Upgrade = (call, builder) =>
  written(call.node, typeOf(call), builder, (write) => {
    const { node } = call;
    const [x, w, b, z] = node.inputs as [string, string, string?, string?];
    const parameters = node.attributes.get('activation_params');
    const { padStart, padEnd } = convolutionWindow(call, need(call, 0).dims, need(call, 1).dims);
    const { auto_pad: _, ...attributes } = withoutActivation(node);
    const pads = ints([...padStart, ...padEnd]);
    const layer = write.op('Conv', [x, w, ...(b ? [b] : [])], { ...attributes, pads }, 'main');
    const sum = z ? write.op('Add', [layer, z]) : layer;
    write.give(node.outputs[0], activated(write, node, sum, parameters?.kind === 'floats' ? parameters.value : []));
  });

const fusedGemm: Upgrade = (call, builder) =>
  written(call.node, typeOf(call), builder, (write) => {
    const { node } = call;
    const parameters = ['alpha', 'beta'].map((name) => floatAttribute(node, `activation_${name}`, Number.NaN));
    const layer = write.op('Gemm', node.inputs, withoutActivation(node), 'main');
    write.give(
      node.outputs[0],
      activated(
        write,
        node,
        layer,
        parameters.filter((value) => !Number.isNaN(value)),
      ),
    );
  });

/** α · op(A) · op(B), whose batch axes may stand behind the rows. */
const fusedMatMul: Upgrade = (call, builder) =>
  written(call.node, typeOf(call), builder, (write) => {
    const { node } = call;
    const factors = fusedFactors(call).map(({ permutation }, index) =>
      write.transpose(node.inputs[index]!, permutation),
    );
    const alpha = floatAttribute(node, 'alpha', 1);
    const product = write.op('MatMul', factors, {}, 'main');
    write.give(node.outputs[0], alpha === 1 ? product : write.op('Mul', [product, write.numbers([alpha])]));
  });

/** x · (1 + erf(x/√2)) / 2. */
function gelu(write: Writer, x: string): string {
  const erf = write.op('Erf', [write.op('Mul', [x, write.numbers([Math.SQRT1_2])])]);
  const half = write.op('Mul', [x, write.numbers([0.5])]);
  return write.op('Mul', [half, write.op('Add', [erf, write.numbers([1])])]);
}

/** x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2. */
function geluByTanh(write: Writer, x: string): string {
  const cubic = write.op('Mul', [write.op('Mul', [x, write.op('Mul', [x, x])]), write.numbers([0.044715])]);
  const inner = write.op('Mul', [write.op('Add', [x, cubic]), write.numbers([Math.sqrt(2 / Math.PI)])]);
  const half = write.op('Mul', [x, write.numbers([0.5])]);
  return write.op('Mul', [half, write.op('Add', [write.op('Tanh', [inner]), write.numbers([1])])]);
}

/** A function of x + bias, or of x where there is no bias. */
const ofBiased =
  (activation: (write: Writer, x: string, node: Node) => string): Upgrade =>
  (call, builder) =>
    written(call.node, typeOf(call), builder, (write) => {
      const { node } = call;
      const [x, bias] = node.inputs as [string, string?];
      write.give(node.outputs[0], activation(write, bias ? write.op('Add', [x, bias]) : x, node));
    });

/** x · σ(αx). */
const swish = (alpha: number) =>
  ofBiased((write, x, node) => {
    const factor = floatAttribute(node, 'alpha', alpha);
    const inner = factor === 1 ? x : write.op('Mul', [x, write.numbers([factor])]);
    return write.op('Mul', [x, write.op('Sigmoid', [inner])]);
  });

/** A normalisation of x + skip (+ bias), which is an output too. `root` has no mean and no shift. */
const skipNormalization =
  (kind: 'centred' | 'root'): Upgrade =>
  (call, builder) =>
    written(call.node, typeOf(call), builder, (write) => {
      const { node } = call;
      const [x, skip, gamma, ...rest] = node.inputs as [string, string, string, ...string[]];
      const [beta, bias] = kind === 'centred' ? rest : [undefined, rest[0]];
      const sum = write.op('Add', [x, skip]);
      const whole = bias ? write.op('Add', [sum, bias]) : sum;
      const attributes = { axis: int(-1), epsilon: float(floatAttribute(node, 'epsilon', 1e-12)) };
      const op = kind === 'centred' ? 'LayerNormalization' : 'SimplifiedLayerNormalization';
      write.give(node.outputs[0], write.op(op, [whole, gamma, ...(beta ? [beta] : [])], attributes, 'main'));
      write.give(node.outputs[3], whole);
    });

/** What ONNX Runtime's optimizer and its exporters put together, as the standard operators that it was made from. */
export const fusedUpgrades: Readonly<Record<string, Upgrade>> = {
  Swish: swish(1),
  'com.microsoft.FusedConv': fusedConv,
  'com.microsoft.FusedGemm': fusedGemm,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.TransposeMatMul': fusedMatMul,
  'com.microsoft.Gelu': ofBiased(gelu),
  'com.microsoft.BiasGelu': ofBiased(gelu),
  'com.microsoft.FastGelu': ofBiased(geluByTanh),
  'com.microsoft.QuickGelu': swish(1.702),
  'com.microsoft.SkipLayerNormalization': skipNormalization('centred'),
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNormalization('root'),
};
