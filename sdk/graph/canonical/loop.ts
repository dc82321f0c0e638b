import { UnsupportedOperatorError, WhylightError } from '../../errors.js';
import { intTensor } from '../builder.js';
import type { Attribute, Graph, Node, Tensor } from '../graph.js';
import { int, intAttribute, ints, intsAttribute } from '../graph.js';
import { type Call, need } from '../shapes/call.js';
import type { Knowledge } from '../shapes.js';
import { numbersOf, tensorOf } from '../tensors.js';
import { renamed } from './rename.js';

/** The graph that a loop is unrolled into. */
export interface Surroundings {
  /** version of ai.onnx */
  readonly opset: number;
  readonly known: Knowledge;
  /** Adds a constant. */
  constant(name: string, value: Tensor): void;
  /** Adds nodes, in order. */
  add(nodes: readonly Node[]): void;
}

/** Most nodes that the steps of one loop may become. */
const MOST_NODES = 1 << 16;

/** Whether a node is one of the operators that run a graph step by step. */
export const isLoop = ({ op, domain }: Node): boolean => domain === '' && (op === 'Loop' || op === 'Scan');

/**
 * Writes a Loop or Scan as its steps, one after the other. Throws UNSUPPORTED_OPERATOR where their number depends on data, or is so
 * great that the graph would be out of proportion, and MODEL_CORRUPT where the body does not fit.
 */
export function unroll(call: Call, surroundings: Surroundings): void {
  const body = call.node.attributes.get('body');
  if (body?.kind !== 'graph') {
    throw new WhylightError('MODEL_CORRUPT', `Node "${call.node.name}" (${call.node.op}) has no body.`, {
      details: { node: call.node.name },
    });
  }
  const steps = stepsOf(call.node, body.value, surroundings);
  if (call.node.op === 'Loop') unrollLoop(call, steps);
  else unrollScan(call, steps);
}

/** What both operators do with their body. */
interface Steps {
  readonly surroundings: Surroundings;
  readonly body: Graph;
  /** a name of its own in the graph around */
  fresh(hint: string): string;
  /** Runs the body once on tensors of the graph around; gives the names of its results. */
  step(inputs: readonly string[]): readonly string[];
  node(op: string, inputs: readonly string[], output: string, attributes?: Record<string, Attribute>): void;
}

function stepsOf(node: Node, body: Graph, surroundings: Surroundings): Steps {
  const { known } = surroundings;
  let count = 0;
  const uses = new Map<string, number>();
  const fresh = (hint: string): string => {
    for (;;) {
      const use = uses.get(hint) ?? 0;
      uses.set(hint, use + 1);
      const name = `${node.name}/${hint}${use === 0 ? '' : `_${use}`}`;
      if (!known.types.has(name)) return name;
    }
  };
  // the constants of the body are the same in every step
  const constants = new Map<string, string>();
  for (const [name, value] of body.initializers) {
    constants.set(name, fresh(name));
    surroundings.constant(constants.get(name)!, value);
  }
  return {
    surroundings,
    body,
    fresh,
    step(inputs) {
      count += 1;
      if (count * Math.max(1, body.nodes.length) > MOST_NODES) {
        const reason = `${count} steps of ${body.nodes.length} nodes are more than are unrolled; export the model for a shorter input.`;
        throw new UnsupportedOperatorError(node.name, node.op, reason);
      }
      if (body.inputs.length !== inputs.length) {
        const what = `runs a body of ${body.inputs.length} inputs with ${inputs.length}`;
        throw new WhylightError('MODEL_CORRUPT', `Node "${node.name}" (${node.op}) ${what}.`, {
          details: { node: node.name },
        });
      }
      const names = new Map(constants);
      for (const [index, input] of body.inputs.entries()) names.set(input.name, inputs[index]!);
      for (const own of body.nodes.flatMap((inner) => inner.outputs)) {
        if (own !== '') names.set(own, fresh(`${count}/${own}`));
      }
      surroundings.add(
        body.nodes.map((inner) => ({ ...renamed(inner, names), name: `${node.name}/${count}/${inner.name}` })),
      );
      return body.outputs.map(({ name }) => names.get(name) ?? name);
    },
    node(op, inputs, output, attributes = {}) {
      const made = { op, domain: '', name: output, inputs, outputs: [output] };
      surroundings.add([{ ...made, attributes: new Map(Object.entries(attributes)) }]);
    },
  };
}

const refuse = ({ node }: Call, reason: string): never => {
  throw new UnsupportedOperatorError(node.name, node.op, reason);
};

/** Axes of Squeeze and Unsqueeze, and lengths of Split, are inputs since version 13. */
function withList(
  steps: Steps,
  op: string,
  input: string,
  output: string,
  attribute: string,
  list: readonly number[],
): void {
  if (steps.surroundings.opset < 13) {
    steps.node(op, [input], output, { [attribute]: ints(list) });
    return;
  }
  const name = steps.fresh(attribute);
  steps.surroundings.constant(name, intTensor(list));
  steps.node(op, [input, name], output);
}

/** What was collected in all steps, along a new axis. */
function collected(call: Call, steps: Steps, values: readonly string[], output: string, axis = 0): void {
  if (output === '') return;
  if (values.length === 0) refuse(call, `it makes no step, so that its output "${output}" has no shape.`);
  const rank = steps.surroundings.known.types.get(values[0]!)!.dims.length + 1;
  const pieces = values.map((value) => {
    const piece = steps.fresh(`${output}/piece`);
    withList(steps, 'Unsqueeze', value, piece, 'axes', [axis < 0 ? axis + rank : axis]);
    return piece;
  });
  steps.node('Concat', pieces, output, { axis: int(axis < 0 ? axis + rank : axis) });
}

/** What was carried from step to step is the loop's first results. */
function giveStates(node: Node, carried: readonly string[], steps: Steps): void {
  for (const [index, value] of carried.entries()) {
    const output = node.outputs[index];
    if (output !== undefined && output !== '') steps.node('Identity', [value], output);
  }
}

function unrollLoop(call: Call, steps: Steps): void {
  const { node } = call;
  const { known, constant } = steps.surroundings;
  const most = call.inputs[0] === undefined ? Number.POSITIVE_INFINITY : limitOf(call);
  const isTrue = (name: string): boolean => {
    const value = known.constants.get(name);
    return value === undefined
      ? refuse(call, 'whether it goes on depends on data; export the model with a fixed number of steps.')
      : numbersOf(value)[0] !== 0;
  };
  let condition = node.inputs[1] ?? '';
  let carried = node.inputs.slice(2);
  const held = carried.length;
  const scans: string[][] = node.outputs.slice(held).map(() => []);
  const truth = steps.fresh('condition');
  constant(truth, tensorOf('bool', [], [1]));
  for (let k = 0; k < most && (condition === '' || isTrue(condition)); k++) {
    const iteration = steps.fresh(`${k}/iteration`);
    constant(iteration, intTensor([k], []));
    const results = steps.step([iteration, condition === '' ? truth : condition, ...carried]);
    condition = results[0]!;
    carried = results.slice(1, 1 + held);
    for (const [index, scan] of scans.entries()) scan.push(results[1 + held + index]!);
  }
  giveStates(node, carried, steps);
  for (const [index, scan] of scans.entries()) collected(call, steps, scan, node.outputs[held + index]!);
}

function limitOf(call: Call): number {
  if (call.constants[0] === undefined) {
    return refuse(call, 'its number of steps depends on data; export the model with a fixed number of steps.');
  }
  return numbersOf(call.constants[0])[0] ?? 0;
}

function unrollScan(call: Call, steps: Steps): void {
  const { node } = call;
  if (steps.surroundings.opset < 9) refuse(call, 'Scan of version 8 has axes of its own; export the model again.');
  const scanned = intAttribute(node, 'num_scan_inputs', 1);
  const held = node.inputs.length - scanned;
  const axes = intsAttribute(node, 'scan_input_axes', []);
  const directions = intsAttribute(node, 'scan_input_directions', []);
  const elements = node.inputs.slice(held).map((input, index) => {
    const { dims } = need(call, held + index);
    const given = axes[index] ?? 0;
    const axis = given < 0 ? given + dims.length : given;
    const pieces = Array.from({ length: dims[axis] ?? 0 }, (_, at) => steps.fresh(`${input}/${at}`));
    const apart = { op: 'Split', domain: '', name: pieces[0] ?? input, inputs: [input], outputs: pieces };
    const attributes: Record<string, Attribute> = { axis: int(axis) };
    if (steps.surroundings.opset >= 18) attributes.num_outputs = int(pieces.length);
    if (pieces.length > 0) steps.surroundings.add([{ ...apart, attributes: new Map(Object.entries(attributes)) }]);
    const squeezed = pieces.map((piece) => {
      const element = steps.fresh(`${piece}/element`);
      withList(steps, 'Squeeze', piece, element, 'axes', [axis]);
      return element;
    });
    return directions[index] === 1 ? squeezed.reverse() : squeezed;
  });
  const length = elements[0]?.length ?? 0;
  if (elements.some((list) => list.length !== length)) refuse(call, 'the tensors that it scans differ in length.');
  let carried = node.inputs.slice(0, held);
  const scans: string[][] = node.outputs.slice(held).map(() => []);
  for (let at = 0; at < length; at++) {
    const results = steps.step([...carried, ...elements.map((list) => list[at]!)]);
    carried = results.slice(0, held);
    for (const [index, scan] of scans.entries()) scan.push(results[held + index]!);
  }
  giveStates(node, carried, steps);
  const outputAxes = intsAttribute(node, 'scan_output_axes', []);
  const outputDirections = intsAttribute(node, 'scan_output_directions', []);
  for (const [index, scan] of scans.entries()) {
    const values = outputDirections[index] === 1 ? scan.reverse() : scan;
    collected(call, steps, values, node.outputs[held + index]!, outputAxes[index] ?? 0);
  }
}
