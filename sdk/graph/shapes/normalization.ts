import { intAttribute, sizeOf, textAttribute } from '../graph.js';
import { axisOf, type Call, listOf, misfit, need, needRank, numbers, type ShapeRule, show } from './call.js';
import { same } from './elementwise.js';

const batchNorm: ShapeRule = (call) => {
  const { type, dims } = needRank(call, 0, 2);
  for (let index = 1; index < 5; index++) {
    const parameter = need(call, index).dims;
    // spatial=0 of the first versions has one value per element
    if (sizeOf(parameter) !== dims[1] && intAttribute(call.node, 'spatial', 1) !== 0) {
      throw misfit(call, `input ${index} of shape ${show(parameter)} does not fit ${dims[1]} channels`);
    }
  }
  const statistics = need(call, 3);
  return [{ type, dims }, statistics, statistics, statistics, statistics];
};

const instanceNorm: ShapeRule = (call) => {
  const { type, dims } = needRank(call, 0, 3);
  if (need(call, 1).dims[0] !== dims[1]) throw misfit(call, `the scale does not fit ${dims[1]} channels`);
  return [{ type, dims }];
};

const layerNorm: ShapeRule = (call) => {
  const { type, dims } = need(call, 0);
  const axis = axisOf(call, intAttribute(call.node, 'axis', -1), dims.length);
  const statistics = { type: 'float32' as const, dims: dims.map((dim, at) => (at < axis ? dim : 1)) };
  return [{ type, dims }, statistics, statistics];
};

/** Scales of a Resize or Upsample along every dimension, from whichever of scales and sizes is given. */
export function resizeOf(call: Call): { scales: number[]; dims: number[] } {
  const { dims } = need(call, 0);
  const axes = (listOf(call, 'axes', -1) ?? dims.map((_, axis) => axis)).map((axis) => axisOf(call, axis, dims.length));
  const scales = new Array<number>(dims.length).fill(1);
  const result = [...dims];
  const given = givenScales(call);
  if (given !== undefined && given.length > 0) {
    if (given.length !== axes.length) throw misfit(call, `${given.length} scales for ${axes.length} dimensions`);
    for (const [index, axis] of axes.entries()) {
      scales[axis] = given[index]!;
      result[axis] = Math.floor(dims[axis]! * given[index]!);
    }
    return { scales, dims: result };
  }
  const sizes = numbers(call, 3, 'sizes');
  if (sizes === undefined || sizes.length !== axes.length) throw misfit(call, 'neither scales nor sizes are given');
  const policy = textAttribute(call.node, 'keep_aspect_ratio_policy', 'stretch');
  const ratios = axes.map((axis, index) => sizes[index]! / dims[axis]!);
  const common =
    policy === 'not_larger' ? Math.min(...ratios) : policy === 'not_smaller' ? Math.max(...ratios) : undefined;
  for (const [index, axis] of axes.entries()) {
    scales[axis] = common ?? ratios[index]!;
    result[axis] = common === undefined ? sizes[index]! : Math.round(dims[axis]! * common);
  }
  return { scales, dims: result };
}

function givenScales(call: Call): readonly number[] | undefined {
  const attribute = call.node.attributes.get('scales');
  if (attribute?.kind === 'floats') return attribute.value;
  const index = call.node.op === 'Upsample' || call.opset < 11 ? 1 : 2;
  return numbers(call, index, 'scales');
}

const resize: ShapeRule = (call) => {
  const { dims } = resizeOf(call);
  if (dims.some((dim) => dim < 0 || !Number.isInteger(dim))) throw misfit(call, `the result ${show(dims)} is no shape`);
  return [{ type: need(call, 0).type, dims }];
};

/** Operators that normalise, and resampling. */
export const normalizationShapes: Readonly<Record<string, ShapeRule>> = {
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  LayerNormalization: layerNorm,
  RMSNormalization: same,
  SimplifiedLayerNormalization: layerNorm,
  GroupNormalization: same,
  LpNormalization: same,
  MeanVarianceNormalization: same,
  LRN: same,
  Softmax: same,
  LogSoftmax: same,
  Hardmax: same,
  Resize: resize,
  Upsample: resize,
};
