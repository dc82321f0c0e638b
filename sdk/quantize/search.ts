import type { Calibrated } from './calibrate.js';
import { nameOf } from './calibrate.js';
import type { CalibrationFrame } from './frames.js';
import { lowestSqnr, type Noise, noiseOf } from './measure.js';
import { floatsIn, withOpened, withTaps } from './observe.js';
import type { ResolvedQuantizeOptions } from './options.js';
import type { Rewriter, Rewritten } from './rewrite.js';

/** A quantized model, and how far it is from the original. */
export interface Measured {
  readonly rewritten: Rewritten;
  readonly noise: Noise;
  readonly notes: readonly string[];
}

/** Frames that a single layer is judged by. */
const FRAMES_PER_LAYER = 8;

/**
 * Quantizes as much of a model as the bound allows. Where the outputs come out below it with everything quantized, each layer is
 * quantized by itself, and those that harm the outputs most compute in float32: as few as hold the bound, found by bisection. Their
 * weights are integers all the same where that holds the bound too, for a small file.
 */
export async function withinBound(
  calibrated: Calibrated,
  rewriter: Rewriter,
  options: ResolvedQuantizeOptions,
): Promise<Measured> {
  const { kept, model } = calibrated;
  const outputs = model.graph.outputs.map(({ name }) => name);
  const none = new Map<string, string>();
  const full = rewriter.rewrite(none);
  if (kept.length === 0) return { rewritten: full, noise: new Map(), notes: [] };
  const noise = await comparison(calibrated, full, options);
  const { bound } = options;
  if (bound === undefined || lowestSqnr(noise, outputs) >= bound) return { rewritten: full, noise, notes: [] };

  const references = await outputsOf(calibrated, options);
  const few = kept.slice(0, FRAMES_PER_LAYER);
  const outputSqnr = async (rewritten: Rewritten, frames: readonly CalibrationFrame[]): Promise<number> =>
    withOpened(options, rewritten.model, async (opened) => {
      const found = await noiseOf(opened, frames, async (_, index) => references[index]!);
      return lowestSqnr(found, outputs);
    });
  const names = layerNames(full);
  const harm: { readonly name: string; readonly sqnr: number }[] = [];
  for (const [index, name] of names.entries()) {
    const others = new Map(names.filter((other) => other !== name).map((other) => [other, '']));
    harm.push({ name, sqnr: await outputSqnr(rewriter.rewrite(others), few) });
    options.onProgress?.({ stage: 'search', layers: index + 1, total: names.length });
  }
  harm.sort((a, b) => a.sqnr - b.sqnr);
  const without = (count: number): Map<string, string> =>
    new Map(
      harm.slice(0, count).map(({ name, sqnr }) => {
        return [name, `quantized by itself it leaves the outputs ${sqnr.toFixed(1)} dB; the bound is ${bound} dB`];
      }),
    );
  const holds = async (count: number, weights: 'float32' | 'int8'): Promise<boolean> =>
    (await outputSqnr(rewriter.rewrite(without(count), weights), kept)) >= bound;
  const weights = options.scheme === 'int8' && (await holds(harm.length, 'int8')) ? 'int8' : 'float32';
  let [from, to] = [1, harm.length];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (await holds(middle, weights)) to = middle;
    else from = middle + 1;
  }
  const rewritten = rewriter.rewrite(without(to), weights);
  const how = weights === 'int8' ? 'compute in float32 with integer weights' : 'stay in float32';
  return {
    rewritten,
    noise: await comparison(calibrated, rewritten, options),
    notes: [`${to} of ${names.length} layers ${how}, so that the outputs hold ${bound} dB.`],
  };
}

/** Layers that can be left out one by one: those with weights. What lies between two of them goes with them. */
function layerNames({ plan, weightsOnly }: Rewritten): string[] {
  const integers = plan?.layers.filter(({ form }) => form === 'weights').map(({ node }) => nameOf(node)) ?? [];
  return [...new Set([...integers, ...[...weightsOnly.keys()].map(nameOf)])];
}

/** Noise of the outputs and of every layer's own output. */
async function comparison(
  { model, kept }: Calibrated,
  rewritten: Rewritten,
  options: ResolvedQuantizeOptions,
): Promise<Noise> {
  const { plan, weightsOnly } = rewritten;
  const integers = plan?.layers.map(({ output }) => output) ?? [];
  const taps = [...integers, ...[...weightsOnly.keys()].map((node) => node.outputs[0]!)];
  const original = withTaps(model, taps);
  const types = new Map(original.graph.outputs.map((output) => [output.name, output]));
  const names = [...types.keys()].filter((name) => types.get(name)!.type === 'float32');
  const tapped = { ...rewritten.model, graph: { ...rewritten.model.graph, outputs: original.graph.outputs } };
  return withOpened(options, original, (reference) =>
    withOpened(options, tapped, (opened) =>
      noiseOf(
        opened,
        kept,
        async (frame) => {
          const run = await reference.run(frame);
          return new Map(names.map((name) => [name, floatsIn(run, frame, name)]));
        },
        (index) => options.onProgress?.({ stage: 'measure', frames: index + 1, total: kept.length }),
      ),
    ),
  );
}

/** The original's float32 outputs for every kept frame. */
async function outputsOf(
  { model, kept }: Calibrated,
  options: ResolvedQuantizeOptions,
): Promise<readonly ReadonlyMap<string, Float32Array>[]> {
  const names = model.graph.outputs.filter(({ type }) => type === 'float32').map(({ name }) => name);
  return withOpened(options, model, async (opened) => {
    const all: ReadonlyMap<string, Float32Array>[] = [];
    for (const frame of kept) {
      const run = await opened.run(frame);
      all.push(new Map(names.map((name) => [name, floatsIn(run, frame, name)])));
    }
    return all;
  });
}
