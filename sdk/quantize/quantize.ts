import { throwIfAborted, WhylightError } from '../errors.js';
import { withOwnTypes } from '../graph/canonical/precision.js';
import { canonicalize } from '../graph/canonicalize.js';
import { decodeModel } from '../graph/decode.js';
import { encodeModel } from '../graph/encode.js';
import { globMatches } from '../graph/glob.js';
import type { Graph } from '../graph/graph.js';
import { type Calibrated, calibrate, nameOf } from './calibrate.js';
import type { CalibrationFrames } from './frames.js';
import { withHalfWeights } from './halves.js';
import { sqnrOf } from './measure.js';
import { type QuantizeOptions, resolveOptions } from './options.js';
import { saturation } from './ranges.js';
import type { QuantizedLayerReport, QuantizedModel } from './report.js';
import { type Rewriter, rewriterOf } from './rewrite.js';
import { type Measured, withinBound } from './search.js';
import { withoutStoredZeros } from './zeros.js';

/**
 * Quantizes a float model after training: runs it over calibration frames to see the range of every activation, and writes an ONNX
 * file in whose place ONNX Runtime computes on integers (scheme `int8`, in QuantizeLinear and DequantizeLinear form), or one whose
 * weights alone are integers. Before, BatchNormalization is merged and channels are equalized, which change nothing of what the
 * model computes. Tensors keep their names, so that layers of both models can be compared, and so do inputs and outputs; shapes are
 * fixed to those of the calibration.
 *
 * Frames are what the model will see in use: a hundred are usually enough. They are read once, and one by one; floating-point
 * inputs are float32 also where the model takes half precision. The `int8-weights` and `int4-weights` schemes need no frames;
 * those that are given measure the result.
 *
 * Throws a `WhylightError`: what reading a model throws, `MODEL_TYPE` where it is quantized already, `OPTION_INVALID`,
 * `CALIBRATION_INVALID` (no frame, one that does not fit the model's inputs, or a tensor with values that are not finite, by name),
 * `SESSION_FAILED` where the model does not run, `ABORTED`.
 */
export async function quantize(
  model: Uint8Array,
  frames: CalibrationFrames,
  options: QuantizeOptions,
): Promise<QuantizedModel> {
  const resolved = resolveOptions(options);
  const { externalData, inputShapes } = resolved;
  throwIfAborted(resolved.signal, 'Quantization');
  const decoded = decodeModel(model, externalData === undefined ? {} : { externalData });
  const canonical = canonicalize(decoded, inputShapes === undefined ? {} : { inputShapes });
  const { graph } = canonical.model;
  checkFloat(graph);
  checkPatterns(graph, resolved.exclude);
  const calibrated = await calibrate(canonical.model, frames, resolved);
  const isHalf = [...decoded.graph.initializers.values()].some(({ type }) => type === 'float16');
  const rewriter = isHalf ? inHalves(rewriterOf(calibrated, resolved)) : rewriterOf(calibrated, resolved);
  const measured = await withinBound(calibrated, rewriter, resolved);
  const written = measured.rewritten.model;
  const bytes = encodeModel({ ...written, graph: withoutStoredZeros(withOwnTypes(written.graph, canonical.border)) });
  const external = Object.values(externalData ?? {}).reduce((sum, file) => sum + file.length, 0);
  return {
    model: bytes,
    report: {
      scheme: resolved.scheme,
      layers: layerReports(calibrated, rewriter, measured, resolved.scheme),
      outputs: graph.outputs.map(({ name }) => ({ name, ...ratioOf(measured, name) })),
      bytes: { original: model.length + external, quantized: bytes.length },
      calibrationFrames: calibrated.frames,
      measuredFrames: calibrated.kept.length,
      equalized: calibrated.equalized,
      notes: [...canonical.notes, ...measured.notes],
    },
  };
}

/** Writes what stays in floating point in half precision, so that it is measured with the rest. */
function inHalves(rewriter: Rewriter): Rewriter {
  return {
    ...rewriter,
    rewrite(floats, weights) {
      const rewritten = rewriter.rewrite(floats, weights);
      const { model } = rewritten;
      return { ...rewritten, model: { ...model, graph: withHalfWeights(model.graph) } };
    },
  };
}

function checkFloat(graph: Graph): void {
  const node = graph.nodes.find(({ op }) => op === 'QuantizeLinear' || op === 'DequantizeLinear');
  if (node === undefined) return;
  throw new WhylightError(
    'MODEL_TYPE',
    `The model is quantized already (node "${node.name}"); give the float model that it was made from.`,
    { details: { node: node.name } },
  );
}

function checkPatterns(graph: Graph, patterns: readonly string[]): void {
  const unused = patterns.find((glob) => !graph.nodes.some((node) => globMatches(glob, nameOf(node))));
  if (unused === undefined) return;
  throw new WhylightError('OPTION_INVALID', `Option "exclude" of quantize: no node is called "${unused}".`, {
    details: { field: 'exclude', name: unused },
  });
}

function ratioOf({ noise }: Measured, tensor: string): { sqnr?: number } {
  const entry = noise.get(tensor);
  return entry === undefined ? {} : { sqnr: sqnrOf(entry) };
}

function layerReports(
  { model, observations }: Calibrated,
  { ranges, steps }: Rewriter,
  measured: Measured,
  scheme: QuantizedLayerReport['scheme'],
): QuantizedLayerReport[] {
  const { plan, weightsOnly, floats } = measured.rewritten;
  const layers = new Map(plan?.layers.map((layer) => [layer.node, layer]));
  return model.graph.nodes.flatMap((node): QuantizedLayerReport[] => {
    const layer = layers.get(node);
    const common = { name: nameOf(node), operator: node.op };
    if (layer === undefined) {
      const output = node.outputs[0]!;
      const ratio = ratioOf(measured, output);
      const reason = floats.get(node);
      if (reason !== undefined) return [{ ...common, scheme: 'float32', reason, output, ...ratio }];
      if (!weightsOnly.has(node)) return [];
      const why = weightsOnly.get(node);
      if (why === undefined) return [{ ...common, scheme, output, ...ratio }];
      return [{ ...common, scheme: 'int8-weights', reason: why, output, ...ratio }];
    }
    const { output } = layer;
    const report = { ...common, scheme, output, ...ratioOf(measured, output) };
    const source = plan?.tensors.get(output);
    if (source === undefined) return [report];
    const histogram = observations.histograms.get(source);
    return [
      {
        ...report,
        ...steps.get(source)!,
        ...(histogram === undefined ? {} : { saturation: saturation(histogram, ranges.get(source)!) }),
      },
    ];
  });
}
