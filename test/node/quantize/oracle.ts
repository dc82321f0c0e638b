import type { QuantizedLayerReport } from '../../../sdk/quantize/report.js';
import type { Dense } from '../../reference/dense.js';
import { forward, merged } from '../../reference/forward.js';
import type { Layer, Network } from '../../reference/layers.js';

/** The nearest integer, of two equally near ones the even. */
function rounded(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** x → clip(round(x / s) + z) as an integer. */
export function integerOf(value: number, scale: number, zeroPoint: number): number {
  return Math.min(255, Math.max(0, rounded(value / scale) + zeroPoint));
}

/**
 * What a layer of a quantized network computes in exact arithmetic, from what its inputs stand for: weights rounded to int8 per
 * output channel, the bias to int32, everything else in float64.
 */
export function fakeQuantized(layer: Layer, inputs: readonly Dense[], inputScale: number): Dense {
  if (layer.op === 'Conv') {
    const { batchNorm: _, ...conv } = { ...layer, ...merged(layer) };
    return forward({ ...conv, ...integerWeights(conv, inputScale, 0) }, inputs)[0]!;
  }
  if (layer.op === 'Gemm') {
    return forward({ ...layer, ...integerWeights(layer, inputScale, layer.transB === true ? 0 : 1) }, inputs)[0]!;
  }
  return forward(layer, inputs)[0]!;
}

function integerWeights(
  { weight, bias }: { readonly weight: Dense; readonly bias?: Dense },
  inputScale: number,
  axis: 0 | 1,
): { weight: Dense; bias?: Dense } {
  const channels = weight.dims[axis]!;
  const perRow = weight.data.length / weight.dims[0]!;
  const channelOf = (at: number): number => (axis === 0 ? Math.floor(at / perRow) : at % channels);
  const scales = Array.from({ length: channels }, (_, channel) => {
    const largest = weight.data.reduce(
      (most, w, at) => (channelOf(at) === channel ? Math.max(most, Math.abs(w)) : most),
      0,
    );
    return Math.fround(Math.fround(largest) / 127);
  });
  const data = weight.data.map((w, at) => rounded(Math.fround(w) / scales[channelOf(at)]!) * scales[channelOf(at)]!);
  const steps = scales.map((scale) => Math.fround(scale * inputScale));
  return {
    weight: { dims: weight.dims, data },
    ...(bias === undefined
      ? {}
      : { bias: { dims: [channels], data: bias.data.map((b, c) => rounded(Math.fround(b) / steps[c]!) * steps[c]!) } }),
  };
}

/** Report lines by the name of the tensor that they are about. */
export function byOutput(layers: readonly QuantizedLayerReport[]): ReadonlyMap<string, QuantizedLayerReport> {
  return new Map(layers.map((layer) => [layer.output, layer]));
}

/** The ReLU or Clip that alone reads a layer. */
export function activationAfter(network: Network, name: string): Layer | undefined {
  const readers = network.layers.filter((layer) => layer.inputs.includes(name));
  const [reader] = readers;
  return readers.length === 1 && (reader?.op === 'Relu' || reader?.op === 'Clip') ? reader : undefined;
}
