import { UnsupportedOperatorError } from '../../errors.js';
import type { GraphBuilder } from '../builder.js';
import type { Attribute, Node, StaticType } from '../graph.js';
import { float, floatAttribute, int, intAttribute, intsAttribute, sizeOf, text, textAttribute } from '../graph.js';
import type { Call } from '../shapes/call.js';
import { need } from '../shapes/call.js';
import { splitsOf } from '../shapes/movement.js';
import { resizeOf } from '../shapes/normalization.js';
import { reducedAxes } from '../shapes/reduction.js';
import { convolutionWindow, poolingWindow, transposedWindow, type Window } from '../shapes/window.js';
import { tensorOf } from '../tensors.js';
import { attentionUpgrades } from './attention.js';
import { einsumUpgrades } from './einsum.js';
import { fusedUpgrades } from './fused.js';
import { written } from './writer.js';

/** The oldest dialect of ai.onnx that a canonical graph is written in. */
export const canonicalOpset = 17;

/** One node → the nodes that say the same in the canonical dialect. `builder` adds constants and makes up names. */
export type Upgrade = (call: Call, builder: GraphBuilder, outputs: readonly StaticType[]) => readonly Node[];

/**
 * Writes a node in the canonical dialect: attributes that became inputs are inputs, `auto_pad` is explicit pads, axes of Softmax and
 * pieces of Split and shapes of Reshape are spelled out. Nodes that are in it already come back as they are.
 *
 * Throws UNSUPPORTED_OPERATOR for what has no newer form (BatchNormalization in training or with spatial=0, a Dropout's mask).
 */
export function upgradeNode(call: Call, builder: GraphBuilder, outputs: readonly StaticType[]): readonly Node[] {
  const { node } = call;
  const upgrade = upgrades.get(node.domain === '' ? node.op : `${node.domain}.${node.op}`);
  return upgrade === undefined ? [node] : upgrade(call, builder, outputs);
}

/** Attributes that become inputs, in the order of the inputs after the first. */
function attributesToInputs(names: readonly string[]): Upgrade {
  return ({ node }, builder) => {
    if (!names.some((name) => node.attributes.has(name))) return [node];
    const inputs = [node.inputs[0]!];
    for (const name of names) {
      const attribute = node.attributes.get(name);
      inputs.push(attribute?.kind === 'ints' ? builder.ints(attribute.value) : '');
    }
    while (inputs[inputs.length - 1] === '') inputs.pop();
    return [{ ...node, inputs, attributes: without(node, ...names) }];
  };
}

function without(node: Node, ...names: readonly string[]): Map<string, Attribute> {
  return new Map([...node.attributes].filter(([name]) => !names.includes(name)));
}

function withAttributes(node: Node, changed: Readonly<Record<string, Attribute>>): Map<string, Attribute> {
  return new Map([...node.attributes, ...Object.entries(changed)]);
}

const pad: Upgrade = (call, builder) => {
  const { node } = call;
  const pads = node.attributes.get('pads');
  if (pads?.kind !== 'ints') return [node];
  const value = tensorOf(need(call, 0).type, [], [floatAttribute(node, 'value', 0)]);
  const inputs = [node.inputs[0]!, builder.ints(pads.value), builder.initializer(builder.name('pad_value'), value)];
  return [{ ...node, inputs, attributes: without(node, 'pads', 'value') }];
};

const clip: Upgrade = (call, builder) => {
  const { node } = call;
  if (call.opset >= 11) return [node];
  const bound = (name: string): string => {
    const attribute = node.attributes.get(name);
    if (attribute?.kind !== 'float') return '';
    return builder.initializer(builder.name(name), tensorOf(need(call, 0).type, [], [attribute.value]));
  };
  const inputs = [node.inputs[0]!, bound('min'), bound('max')];
  return [{ ...node, inputs, attributes: without(node, 'min', 'max') }];
};

/** ONNX's `num_outputs` of version 18 and the equal pieces of older versions: both become lengths. */
const split: Upgrade = (call, builder) => {
  const { node } = call;
  const lengths = splitsOf(call).slice(0, node.outputs.length);
  return [
    { ...node, inputs: [node.inputs[0]!, builder.ints(lengths)], attributes: without(node, 'split', 'num_outputs') },
  ];
};

const reshape: Upgrade = ({ node }, builder, outputs) => {
  const { dims } = outputs[0]!;
  // a 0 in the target means "copy" unless allowzero says otherwise
  if (sizeOf(dims) === 0) return [node];
  return [{ ...node, inputs: [node.inputs[0]!, builder.ints(dims)], attributes: without(node, 'allowzero', 'shape') }];
};

const dropout: Upgrade = (call) => {
  const { node } = call;
  return [{ ...node, op: 'Identity', inputs: [node.inputs[0]!], outputs: [node.outputs[0]!], attributes: new Map() }];
};

const batchNorm: Upgrade = ({ node }) => {
  if (intAttribute(node, 'spatial', 1) === 0) {
    throw new UnsupportedOperatorError(
      node.name,
      node.op,
      'spatial=0 (statistics per element) was dropped from ONNX in 2018; export the model again.',
    );
  }
  if (intAttribute(node, 'training_mode', 0) !== 0) {
    throw new UnsupportedOperatorError(
      node.name,
      node.op,
      'it is in training mode; export the model for inference (model.eval()).',
    );
  }
  const outputs = node.outputs.slice(0, 1);
  return [{ ...node, outputs, attributes: new Map([['epsilon', float(floatAttribute(node, 'epsilon', 1e-5))]]) }];
};

/** Before version 13, Softmax and its relatives worked on a matrix of everything before and everything from `axis` on. */
const softmax: Upgrade = (call, builder) => {
  const { node } = call;
  const { dims } = need(call, 0);
  const given = intAttribute(node, 'axis', call.opset < 13 ? 1 : -1);
  const axis = given < 0 ? given + dims.length : given;
  if (call.opset >= 13 || sizeOf(dims.slice(axis + 1)) === 1) {
    return [{ ...node, attributes: withAttributes(node, { axis: int(axis) }) }];
  }
  return written(node, need(call, 0).type, builder, (write) => {
    const rows = write.reshape(node.inputs[0]!, [sizeOf(dims.slice(0, axis)), sizeOf(dims.slice(axis))]);
    const result = write.op(node.op, [rows], { axis: int(1) }, 'main');
    write.give(node.outputs[0], write.reshape(result, dims));
  });
};

/** Upsample, and the Resize of version 10: positions are asymmetric, "nearest" rounds towards the coarser grid's start. */
const upsample: Upgrade = (call, builder) => {
  const { node } = call;
  if (node.op === 'Resize' && call.opset >= 11) return [node];
  const { scales } = resizeOf(call);
  const shrinks = scales.some((scale) => scale < 1);
  const attributes = new Map<string, Attribute>([
    ['mode', text(textAttribute(node, 'mode', 'nearest'))],
    ['coordinate_transformation_mode', text('asymmetric')],
    ['nearest_mode', text(shrinks ? 'ceil' : 'floor')],
  ]);
  const constant = builder.initializer(builder.name('scales'), tensorOf('float32', [scales.length], scales));
  return [{ ...node, op: 'Resize', inputs: [node.inputs[0]!, '', constant], attributes }];
};

/** Relevance goes back by the indices, so they have a name also where nothing else reads them. */
const topK: Upgrade = (call, builder) => {
  const { node } = call;
  const outputs = [node.outputs[0] || builder.name('values'), node.outputs[1] || builder.name('indices')];
  if (call.opset >= 10) return [{ ...node, outputs }];
  const count = builder.ints([intAttribute(node, 'k', 0)]);
  return [{ ...node, inputs: [node.inputs[0]!, count], outputs, attributes: without(node, 'k') }];
};

/** The mean of several tensors is a share of their sum. */
const mean: Upgrade = (call, builder) =>
  written(call.node, need(call, 0).type, builder, (write) => {
    const { node } = call;
    const sum = write.op('Sum', node.inputs, {}, 'main');
    write.give(node.outputs[0], write.op('Mul', [sum, write.numbers([1 / node.inputs.length])]));
  });

const reduceLogSum: Upgrade = (call, builder) =>
  written(call.node, need(call, 0).type, builder, (write) => {
    const { node } = call;
    const axes = builder.ints(reducedAxes(call));
    const attributes = { keepdims: int(intAttribute(node, 'keepdims', 1)), noop_with_empty_axes: int(1) };
    write.give(node.outputs[0], write.op('Log', [write.op('ReduceSum', [node.inputs[0]!, axes], attributes, 'main')]));
  });

const scatter: Upgrade = ({ node }) => [{ ...node, op: 'ScatterElements' }];

/** Replaces `auto_pad` by the pads that it stands for. */
function explicitPads(windowFor: (call: Call) => Window): Upgrade {
  return (call) => {
    const { node } = call;
    if (!node.attributes.has('auto_pad') && !node.attributes.has('output_shape')) return [node];
    const window = windowFor(call);
    const attributes = without(node, 'auto_pad', 'output_shape');
    attributes.set('pads', { kind: 'ints', value: [...window.padStart, ...window.padEnd] });
    if (node.op === 'ConvTranspose') {
      const extra = missing(call, window);
      if (extra.some((count) => count !== 0)) attributes.set('output_padding', { kind: 'ints', value: extra });
    }
    return [{ ...node, attributes }];
  };
}

/** What a ConvTranspose with `output_shape` has beyond what its window reaches. */
function missing(call: Call, window: Window): number[] {
  const spatial = need(call, 0).dims.slice(2);
  const extra = intsAttribute(
    call.node,
    'output_padding',
    spatial.map(() => 0),
  );
  return spatial.map((size, axis) => {
    const length = (window.kernel[axis]! - 1) * window.dilations[axis]! + 1;
    const reached = (size - 1) * window.strides[axis]! + length + extra[axis]!;
    const natural = reached - window.padStart[axis]! - window.padEnd[axis]!;
    return extra[axis]! + Math.max(0, window.output[axis]! - natural);
  });
}

const convPads = (weight: number): Upgrade =>
  explicitPads((call) => convolutionWindow(call, need(call, 0).dims, need(call, weight).dims));
const poolPads = explicitPads((call) => poolingWindow(call.node, call, need(call, 0).dims));

const standard: Readonly<Record<string, Upgrade>> = {
  Slice: attributesToInputs(['starts', 'ends', 'axes']),
  Squeeze: attributesToInputs(['axes']),
  Unsqueeze: attributesToInputs(['axes']),
  ReduceSum: attributesToInputs(['axes']),
  Pad: pad,
  Clip: clip,
  Split: split,
  Reshape: reshape,
  Dropout: dropout,
  BatchNormalization: batchNorm,
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
  Upsample: upsample,
  Resize: upsample,
  TopK: topK,
  Mean: mean,
  ReduceLogSum: reduceLogSum,
  Scatter: scatter,
  Conv: convPads(1),
  ConvInteger: convPads(1),
  QLinearConv: convPads(3),
  ConvTranspose: explicitPads((call) => transposedWindow(call, need(call, 0).dims, need(call, 1).dims)),
  MaxPool: poolPads,
  AveragePool: poolPads,
  LpPool: poolPads,
};

const upgrades: ReadonlyMap<string, Upgrade> = new Map(
  [standard, einsumUpgrades, fusedUpgrades, attentionUpgrades].flatMap((family) => Object.entries(family)),
);
