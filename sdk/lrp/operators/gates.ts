import { type NodeContext, required } from './operator.js';

/** Outputs of these hold weights between 0 and 1: they steer the signal and carry none themselves (Arras et al. 2017). */
const GATES = new Set(['Sigmoid', 'HardSigmoid', 'Softmax']);

const MOVED = new Set(['Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Expand', 'Identity']);

/** Whether an input of a product holds weights of the other one, however they have been laid out. */
export function isGate(context: NodeContext, index: number): boolean {
  let producer = context.producer(context.node.inputs[index]!);
  for (; producer !== undefined; ) {
    // 1 − σ is what the other gate leaves
    const isRest = producer.op === 'Sub' && context.isConstant(producer.inputs[0]!);
    if (!isRest && !MOVED.has(producer.op)) break;
    producer = context.producer(producer.inputs[isRest ? 1 : 0]!);
  }
  return producer !== undefined && GATES.has(producer.op);
}

/** Whether an input of a product is one over something: a divisor that is multiplied with, such as 1/σ. */
export function isInverse(context: NodeContext, index: number): boolean {
  let producer = context.producer(context.node.inputs[index]!);
  while (producer !== undefined && MOVED.has(producer.op)) producer = context.producer(producer.inputs[0]!);
  if (producer === undefined || producer.domain !== '') return false;
  return producer.op === 'Reciprocal' || (producer.op === 'Div' && context.isConstant(producer.inputs[0]!));
}

/** Element-wise functions of one tensor; relevance passes them one to one. */
const FUNCTIONS = new Set(
  'Relu LeakyRelu PRelu Elu Celu Selu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Clip Erf Exp Log Sqrt Neg Abs Pow Identity'.split(
    ' ',
  ),
);
const ARITHMETIC = new Set(['Add', 'Sub', 'Mul', 'Div']);

/** The tensor that another one is computed from, element by element. */
interface Origin {
  readonly root: string;
  /** no constant is added on the way, so all of the relevance gets back to the root */
  readonly whole: boolean;
}

/** Follows element-wise functions and arithmetic with constants back to where another kind of operator, or another tensor, comes in. */
function originOf(context: NodeContext, name: string): Origin {
  const here: Origin = { root: name, whole: true };
  const node = context.producer(name);
  if (node === undefined || node.domain !== '') return here;
  if (FUNCTIONS.has(node.op)) return originOf(context, node.inputs[0]!);
  if (!ARITHMETIC.has(node.op)) return here;
  const origins = node.inputs.filter((input) => !context.isConstant(input)).map((input) => originOf(context, input));
  const [first, ...others] = origins;
  if (first === undefined || others.some((other) => other.root !== first.root)) return here;
  return { root: first.root, whole: first.whole && others.length === 0 && (node.op === 'Mul' || node.op === 'Div') };
}

/**
 * A product whose two factors are functions of one and the same tensor is an activation written out, such as x·σ(x) or
 * x·(1 + erf(x/√2)): the factor over which all of the relevance gets back to that tensor; undefined where the factors are unrelated.
 */
export function activatedFactor(context: NodeContext): 0 | 1 | undefined {
  const [a, b] = [required(context, 0), required(context, 1)];
  if (a.dims.join() !== b.dims.join()) return undefined;
  const origins = [originOf(context, context.node.inputs[0]!), originOf(context, context.node.inputs[1]!)] as const;
  if (origins[0].root !== origins[1].root) return undefined;
  return origins[0].whole ? 0 : origins[1].whole ? 1 : undefined;
}
