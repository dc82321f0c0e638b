import { UnsupportedOperatorError } from '../../errors.js';
import type { Emitter, Value } from '../emitter.js';
import { arriving, type NodeContext, required, type Way } from './operator.js';

/** Differences from the reference that are smaller than this are none: their quotient would be rounding alone. */
const NONE = 1e-6;

/** The value that an input or output of the node has at the reference. */
export function atReference({ reference, node, inputs, outputs }: NodeContext, value: Value): Value {
  if (reference === undefined) throw new RangeError(`node "${node.name}" is rescaled without a reference`);
  if (value.constant) return value;
  // by its place: the value itself may have been computed again, under another name
  const written = node.outputs.filter((name) => name !== '');
  return reference(node.inputs[inputs.indexOf(value)] ?? written[outputs.indexOf(value)] ?? value.name);
}

/** The mean of a tensor and its reference: with both factors at it, a product's difference is shared exactly. */
export function midway(context: NodeContext, value: Value): Value {
  const { emit } = context;
  if (value.constant) return value;
  return emit.mul(emit.add(value, atReference(context, value)), emit.scalar(0.5));
}

/** Δy/Δx, where Δx is none the derivative at the input itself (Shrikumar et al. 2017, 3.5.2). */
export function slope(emit: Emitter, dy: Value, dx: Value, derivative: Value): Value {
  const none = emit.compare('Less', emit.op('Abs', [dx], dx.dims), emit.scalar(NONE));
  return emit.where(none, derivative, emit.div(dy, emit.where(none, emit.scalar(1), dx)));
}

/** Δy/Δx of an element-wise function with the given derivative (Shrikumar et al. 2017, 3.5.2). */
export const rescaledFunction =
  (derivative: (context: NodeContext) => Value): Way =>
  (context) => {
    const { emit, outputs } = context;
    const [x, y] = [required(context, 0), outputs[0]!];
    const dy = emit.sub(y, atReference(context, y));
    const dx = emit.sub(x, atReference(context, x));
    return [emit.mul(arriving(context), slope(emit, dy, dx, derivative(context)))];
  };

/**
 * What is taken has to be the same at input and reference, or a difference belongs to no element; then it is linear. `chooser` is
 * the input that says what is taken, undefined where the operator chooses for itself.
 */
export const takenAlike =
  (chooser?: number): Way =>
  (context, explain) => {
    const { node, rule } = context;
    if (chooser === undefined || context.wants(chooser)) {
      throw new UnsupportedOperatorError(
        node.name,
        node.op,
        'what it takes depends on the input, so DeepLIFT has no multipliers for it.',
      );
    }
    return explain({ ...context, rule: { ...rule, name: 'gradient' } });
  };

/**
 * A maximum y = max x goes from its reference y′ to y in two steps, first up, then down, of which one is nothing: Δy = (M − y′) + (y − M)
 * with M = max(y, y′). What it gains is owed to who wins at x, what it loses to who had won at the reference, and neither of them stands
 * still. So the contributions add up to Δy; divided by Δx they are multipliers. A minimum likewise, first down, then up.
 */
export const rescaledExtreme =
  (extreme: 'Max' | 'Min'): Way =>
  (context, explain) => {
    const { emit, inputs, outputs } = context;
    const multiplier = arriving(context);
    const y = outputs[0]!;
    const reference = atReference(context, y);
    const between = emit.op(extreme, [y, reference], y.dims);
    const wonAt = (relevance: Value, at: (value: Value) => Value): ReturnType<Way> =>
      explain({
        ...context,
        inputs: inputs.map((input) => input && at(input)),
        outputs: outputs.map(at),
        relevance: [relevance],
        absorb: () => undefined,
      });
    const itself = (value: Value): Value => value;
    const derivative = wonAt(multiplier, itself);
    const gained = wonAt(emit.mul(multiplier, emit.sub(between, reference)), itself);
    const lost = wonAt(emit.mul(multiplier, emit.sub(y, between)), (value) => atReference(context, value));
    return inputs.map((x, index) => {
      const [up, down, still] = [gained[index], lost[index], derivative[index]];
      if (x === undefined || up === undefined || down === undefined || still === undefined) return undefined;
      return slope(emit, emit.add(up, down), emit.sub(x, atReference(context, x)), still);
    });
  };

/**
 * The multipliers of a product of two, of whatever kind: those of each factor have the other one midway between reference and input.
 * They share Δy exactly, as Δ(a·b) = Δa·(b + b′)/2 + Δb·(a + a′)/2.
 */
export const throughProduct: Way = (context, explain) =>
  explain({
    ...context,
    rule: { ...context.rule, name: 'gradient' },
    inputs: context.inputs.map((input) => input && midway(context, input)),
  });
