import { floatAttribute, type Node, textAttribute } from '../../graph/graph.js';
import { numbersOf } from '../../graph/tensors.js';
import type { Emitter, Value } from '../emitter.js';
import { arriving, type NodeContext, type OperatorSupport, required } from './operator.js';
import { rescaledFunction } from './rescale.js';

/** dy/dx of an element-wise function, from its input and its output. What both can tell is read from the output: it is at hand. */
type Derivative = (emit: Emitter, x: Value, y: Value, context: NodeContext) => Value;

const above = (emit: Emitter, x: Value, threshold: number): Value =>
  emit.indicator(emit.compare('Greater', x, emit.scalar(threshold)));

/** f′ = `right` where x > 0, else `left`. */
const sided = (emit: Emitter, x: Value, right: Value, left: Value): Value =>
  emit.where(emit.compare('Greater', x, emit.scalar(0)), right, left);

const unary = (emit: Emitter, op: string, x: Value): Value => emit.op(op, [x], x.dims);
const square = (emit: Emitter, x: Value): Value => emit.mul(x, x);
const oneMinus = (emit: Emitter, x: Value): Value => emit.sub(emit.scalar(1), x);
const scaled = (emit: Emitter, factor: number, x: Value): Value => emit.mul(emit.scalar(factor), x);

/** 1 strictly inside (low, high), 0 on and outside the bounds. */
const inside = (emit: Emitter, x: Value, low: number, high: number): Value => {
  const below = emit.indicator(emit.compare('Less', x, emit.scalar(high)));
  return emit.mul(above(emit, x, low), below);
};

/** 1 where y, which is within [low, high], is on neither bound. */
const betweenBounds = (emit: Emitter, y: Value, low: number, high: number): Value => {
  const room = [
    ...(Number.isFinite(low) ? [low === 0 ? y : emit.sub(y, emit.scalar(low))] : []),
    ...(Number.isFinite(high) ? [emit.sub(emit.scalar(high), y)] : []),
  ];
  return room.length === 0 ? emit.scalar(1) : emit.positiveMask(room.reduce((a, b) => emit.mul(a, b)));
};

const constantOr = (context: NodeContext, index: number, fallback: number): number => {
  const tensor = context.constantAt(index);
  return tensor === undefined ? fallback : (numbersOf(tensor)[0] ?? fallback);
};

const logistic = (emit: Emitter, x: Value): Value => unary(emit, 'Sigmoid', x);
const attribute = (node: Node, name: string, fallback: number): number => floatAttribute(node, name, fallback);

/** Standard normal density and distribution function, for GELU. */
const density = (emit: Emitter, x: Value): Value =>
  scaled(emit, 1 / Math.sqrt(2 * Math.PI), unary(emit, 'Exp', scaled(emit, -0.5, square(emit, x))));
const distribution = (emit: Emitter, x: Value): Value =>
  emit.add(emit.scalar(0.5), scaled(emit, 0.5, unary(emit, 'Erf', scaled(emit, Math.SQRT1_2, x))));

/** Derivative of x·(1 + tanh u)/2 with u = √(2/π)·(x + 0.044715 x³). */
function slopeOfTanhGelu(emit: Emitter, x: Value): Value {
  const factor = Math.sqrt(2 / Math.PI);
  const squared = square(emit, x);
  const u = scaled(emit, factor, emit.mul(x, emit.add(emit.scalar(1), scaled(emit, 0.044715, squared))));
  const slope = scaled(emit, factor, emit.add(emit.scalar(1), scaled(emit, 3 * 0.044715, squared)));
  const t = unary(emit, 'Tanh', u);
  const rising = emit.mul(emit.mul(x, slope), oneMinus(emit, square(emit, t)));
  return scaled(emit, 0.5, emit.add(emit.add(emit.scalar(1), t), rising));
}

const derivatives: Readonly<Record<string, Derivative>> = {
  Relu: (emit, _, y) => emit.positiveMask(y),
  LeakyRelu: (emit, x, _, { node }) => sided(emit, x, emit.scalar(1), emit.scalar(attribute(node, 'alpha', 0.01))),
  PRelu: (emit, x, _, context) => sided(emit, x, emit.scalar(1), context.inputs[1]!),
  ThresholdedRelu: (emit, x, _, { node }) => above(emit, x, attribute(node, 'alpha', 1)),
  Elu: (emit, x, y, { node }) => sided(emit, x, emit.scalar(1), emit.add(y, emit.scalar(attribute(node, 'alpha', 1)))),
  Celu: (emit, x, _, { node }) =>
    sided(emit, x, emit.scalar(1), unary(emit, 'Exp', scaled(emit, 1 / attribute(node, 'alpha', 1), x))),
  Selu: (emit, x, y, { node }) => {
    const alpha = attribute(node, 'alpha', 1.6732632423543772);
    const gamma = attribute(node, 'gamma', 1.0507009873554805);
    return sided(emit, x, emit.scalar(gamma), emit.add(y, emit.scalar(alpha * gamma)));
  },
  Sigmoid: (emit, _, y) => emit.mul(y, oneMinus(emit, y)),
  HardSigmoid: (emit, x, _, { node }) => {
    const alpha = attribute(node, 'alpha', 0.2);
    const beta = attribute(node, 'beta', 0.5);
    return scaled(emit, alpha, inside(emit, x, -beta / alpha, (1 - beta) / alpha));
  },
  HardSwish: (emit, x) =>
    emit.where(
      emit.compare('GreaterOrEqual', x, emit.scalar(3)),
      emit.scalar(1),
      emit.mul(above(emit, x, -3), emit.add(scaled(emit, 1 / 3, x), emit.scalar(0.5))),
    ),
  Tanh: (emit, _, y) => oneMinus(emit, square(emit, y)),
  Softplus: (emit, x) => logistic(emit, x),
  Softsign: (emit, x) => emit.div(emit.scalar(1), square(emit, emit.add(emit.scalar(1), unary(emit, 'Abs', x)))),
  Mish: (emit, x) => {
    const t = unary(emit, 'Tanh', unary(emit, 'Softplus', x));
    return emit.add(t, emit.mul(x, emit.mul(oneMinus(emit, square(emit, t)), logistic(emit, x))));
  },
  Gelu: (emit, x, _, { node }) =>
    textAttribute(node, 'approximate', 'none') === 'tanh'
      ? slopeOfTanhGelu(emit, x)
      : emit.add(distribution(emit, x), emit.mul(x, density(emit, x))),
  Clip: (emit, _, y, context) =>
    betweenBounds(emit, y, constantOr(context, 1, -Infinity), constantOr(context, 2, Infinity)),
  Pow: (emit, x, _, context) => {
    const exponent = context.constantAt(1);
    const p = required(context, 1);
    // x² and x³ without a power, whose base the GPU wants to be positive
    const [value, ...others] = exponent === undefined ? [] : numbersOf(exponent);
    if (others.length === 0 && value === 2) return scaled(emit, 2, x);
    if (others.length === 0 && value === 3) return scaled(emit, 3, square(emit, x));
    const lower = emit.sub(p, emit.scalar(1));
    return emit.mul(p, emit.op('Pow', [x, lower], context.outputs[0]!.dims));
  },
  Exp: (_emit, _x, y) => y,
  Log: (emit, x) => emit.div(emit.scalar(1), x),
  Sqrt: (emit, _, y) => emit.div(emit.scalar(0.5), y),
  Reciprocal: (emit, _, y) => scaled(emit, -1, square(emit, y)),
  Erf: (emit, x) => scaled(emit, 2 / Math.sqrt(Math.PI), unary(emit, 'Exp', scaled(emit, -1, square(emit, x)))),
  Neg: (emit) => emit.scalar(-1),
  Sin: (emit, x) => unary(emit, 'Cos', x),
  Cos: (emit, x) => scaled(emit, -1, unary(emit, 'Sin', x)),
  Atan: (emit, x) => emit.div(emit.scalar(1), emit.add(emit.scalar(1), square(emit, x))),
  Shrink: (emit, x, _, { node }) => {
    const lambda = attribute(node, 'lambd', 0.5);
    const below = emit.indicator(emit.compare('Less', x, emit.scalar(-lambda)));
    return emit.add(above(emit, x, lambda), below);
  },
  // steps are flat wherever they have a derivative
  ...Object.fromEntries(['Floor', 'Ceil', 'Round', 'Sign'].map((op) => [op, (emit: Emitter) => emit.scalar(0)])),
  Abs: (emit, x) => sided(emit, x, emit.scalar(1), emit.scalar(-1)),
};

/** Derivatives by a second input: the slope of a PRelu, the exponent of a Pow (nothing where the base is not above 0). */
const bySecond: Readonly<Record<string, Derivative>> = {
  PRelu: (emit, x) => emit.negative(x),
  Pow: (emit, x, y) => {
    const positive = emit.compare('Greater', x, emit.scalar(0));
    const logarithm = unary(emit, 'Log', emit.where(positive, x, emit.scalar(1)));
    return emit.mul(y, logarithm);
  },
};

/** A function of two tensors. Relevance goes to the first; a slope or an exponent gets it only where nothing else can take it. */
function throughBoth(context: NodeContext, derivative: Derivative, second: Derivative): (Value | undefined)[] {
  const { emit, rule } = context;
  const inputs = [required(context, 0), required(context, 1)];
  const y = context.outputs[0]!;
  const relevance = emit.expand(arriving(context), y.dims);
  const back = (index: number, value: Value): Value | undefined =>
    context.wants(index) ? emit.unbroadcast(emit.expand(value, y.dims), inputs[index]!.dims) : undefined;
  if (rule.name !== 'gradient') {
    return context.wants(0) ? [back(0, relevance)] : [undefined, back(1, relevance)];
  }
  return [derivative, second].map((by, index) =>
    context.wants(index) ? back(index, emit.mul(relevance, by(emit, inputs[0]!, y, context))) : undefined,
  );
}

/** ReLU alone knows the two methods that change the way back through it. */
const explainActivation =
  (derivative: Derivative): OperatorSupport['explain'] =>
  (context) => {
    const { emit, rule, node } = context;
    const second = bySecond[node.op];
    if (second !== undefined) return throughBoth(context, derivative, second);
    const x = required(context, 0);
    const relevance = arriving(context);
    switch (rule.name) {
      case 'gradient':
        return [emit.mul(relevance, derivative(emit, x, context.outputs[0]!, context))];
      case 'deconvnet':
        return [emit.positive(relevance)];
      case 'guided':
        return [emit.mul(emit.positive(relevance), emit.positiveMask(context.outputs[0]!))];
      default:
        return [relevance];
    }
  };

/** Element-wise activations: relevance passes one to one (thesis 2.37). */
export const activationOperators: Readonly<Record<string, OperatorSupport>> = Object.fromEntries(
  Object.entries(derivatives).map(([op, derivative]) => [
    op,
    {
      family: 'Activations',
      rules: op === 'Relu' ? ['pass', 'gradient', 'deconvnet', 'guided'] : ['pass', 'gradient'],
      source: 'thesis 2.37',
      evenly: 'usual',
      rescale: rescaledFunction((context) =>
        derivative(context.emit, required(context, 0), context.outputs[0]!, context),
      ),
      explain: explainActivation(derivative),
    } satisfies OperatorSupport,
  ]),
);
