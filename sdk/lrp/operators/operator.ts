import { WhylightError } from '../../errors.js';
import type { Node, Tensor } from '../../graph/graph.js';
import { numbersOf } from '../../graph/tensors.js';
import type { RuleName } from '../composite.js';
import type { Emitter, Value } from '../emitter.js';
import type { RuleContext } from '../linear.js';
import type { NodeRule } from '../resolve.js';

/** What an operator is given to write the backward pass of one node. */
export interface NodeContext extends RuleContext {
  readonly emit: Emitter;
  readonly node: Node;
  readonly rule: NodeRule;
  /** the node's inputs; undefined where one is left out */
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  /** relevance that has arrived at each output; undefined where none has */
  readonly relevance: readonly (Value | undefined)[];
  /** whether an input depends on an input of the model, so that its relevance is wanted */
  wants(input: number): boolean;
  /** whether a tensor is proven to have no negative element */
  nonNegative(name: string): boolean;
  /** the range of a value that is an input of the model, where it is known */
  range(name: string): readonly [low: number | readonly number[], high: number | readonly number[]] | undefined;
  /** the constant behind an input, where it is one */
  constantAt(input: number): Tensor | undefined;
  /** whether a tensor is a constant of the model */
  isConstant(name: string): boolean;
  /** the value of a tensor of the model at the reference input; undefined unless multipliers are rescaled */
  readonly reference: ((name: string) => Value) | undefined;
  /** the node that makes a tensor; undefined for inputs and constants */
  producer(name: string): Node | undefined;
}

/** Another way back through a node than its own, which it is given: relevance, or multipliers, of every input. */
export type Way = (context: NodeContext, explain: OperatorSupport['explain']) => readonly (Value | undefined)[];

/**
 * How relevance goes on where the decomposition has ended (`flatBelow`, thesis 5.4.2): every input that is reached gets the same,
 * whatever its value. Shares such as x_i / Σx would lose what has been spread over units that are silent.
 *
 * - `rule`: the operator knows the rule `flat`.
 * - `usual`: its default way keeps the sum whatever the values are, so it needs no other.
 * - a function that writes it, given the operator's own way.
 */
export type Evenly = 'rule' | 'usual' | Way;

/** How one ONNX operator is explained; the rows of the support table. */
export interface OperatorSupport {
  /** heading in the support table */
  readonly family: string;
  /** rules that a composite can give it; the first is the default */
  readonly rules: readonly RuleName[];
  /** equation or paper behind the default */
  readonly source: string;
  /** what is not covered, in words; undefined where everything is */
  readonly limits?: string;
  /** the support of a node that is another kind of layer than the operator usually is, such as a product of two activations */
  variant?(node: Node, isConstant: (name: string) => boolean): OperatorSupport | undefined;
  /** whether a node counts as a weighted layer for first, last and depth */
  weighted?(node: Node, isConstant: (name: string) => boolean): boolean;
  /** its way where the decomposition has ended */
  readonly evenly: Evenly;
  /** how DeepLIFT's multipliers pass it: by the chain rule where it is linear, or as written; undefined where nobody has said how, which is an error */
  readonly rescale?: 'linear' | Way;
  /** Writes the backward nodes; returns the relevance of each input, undefined where none goes. */
  explain(context: NodeContext): readonly (Value | undefined)[];
}

/** Input `index`, which the operator cannot do without. */
export function required(context: NodeContext, index: number): Value {
  const value = context.inputs[index];
  if (value === undefined) {
    throw new WhylightError('MODEL_CORRUPT', `Node "${context.node.name}" (${context.node.op}) lacks input ${index}.`, {
      details: { node: context.node.name, operator: context.node.op },
    });
  }
  return value;
}

/** The relevance at the node's first output. */
export function arriving(context: NodeContext): Value {
  return context.relevance[0] ?? context.emit.filled(0, context.outputs[0]!.dims);
}

/** The integers of a constant input such as axes or pads; undefined where it is left out or not constant. */
export function constantNumbers(context: NodeContext, index: number): readonly number[] | undefined {
  const tensor = context.constantAt(index);
  return tensor === undefined ? undefined : [...numbersOf(tensor)];
}

/** An axis counted from the back made one counted from the front. */
export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
