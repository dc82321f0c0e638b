import { WhylightError } from '../errors.js';
import { createBuilder } from '../graph/builder.js';
import { globMatches } from '../graph/glob.js';
import type { Model, Node } from '../graph/graph.js';
import { type ChannelClasses, channelClasses } from './channel-classes.js';
import { equalize } from './equalize.js';
import { type CalibrationFrame, type CalibrationFrames, checkedFrames } from './frames.js';
import {
  type ChannelLayout,
  channelLayout,
  type Observations,
  observer,
  type PatchedLayer,
  withOpened,
  withTaps,
} from './observe.js';
import type { ResolvedQuantizeOptions } from './options.js';
import { patchesOf } from './patches.js';
import { integerWeightsOf, type Plan, planOf } from './plan.js';

/** A model in float32, and what its activations were over the calibration frames. */
export interface Calibrated {
  /** Canonical, with equalized channels. */
  readonly model: Model;
  /** Which of its layers become integers; none where only weights do. */
  readonly plan: Plan | undefined;
  readonly observations: Observations;
  /** The first frames, for measuring. */
  readonly kept: readonly CalibrationFrame[];
  /** Number of frames that were observed. */
  readonly frames: number;
  /** Layers that read equalized channels. */
  readonly equalized: number;
}

/** What a node is called in options and reports: its name, or its output where the file gives it none. */
export function nameOf(node: Node): string {
  return node.name === '' ? node.outputs[0]! : node.name;
}

/** The reason why a node stays in float32 by the caller's wish. */
export function excludedByName(patterns: readonly string[]): (node: Node) => string | undefined {
  return (node) => {
    const pattern = patterns.find((glob) => globMatches(glob, nameOf(node)));
    return pattern === undefined ? undefined : `excluded by "${pattern}"`;
  };
}

/**
 * Runs a canonical model over the frames. Throws CALIBRATION_INVALID (no frame where ranges are needed, a frame that does not fit,
 * values that are not finite), ABORTED, and whatever opening and running the model throws.
 */
export async function calibrate(
  model: Model,
  frames: CalibrationFrames,
  options: ResolvedQuantizeOptions,
): Promise<Calibrated> {
  const source = checkedFrames(model.graph, frames, options.maxFrames, options.signal);
  try {
    const kept: CalibrationFrame[] = [];
    while (kept.length < options.measuredFrames) {
      const next = await source.next();
      if (next.done === true) break;
      kept.push(next.value);
    }
    if (options.scheme !== 'int8') return { ...withoutObservations, model, kept, frames: kept.length };
    if (kept.length === 0) {
      throw new WhylightError(
        'CALIBRATION_INVALID',
        'There is no calibration frame; a hundred of what the model will see are enough.',
      );
    }
    const classes = options.equalize ? channelClasses(model.graph) : undefined;
    const count = classes?.layers.filter(({ inputs }) => inputs !== undefined).length ?? 0;
    const equal = classes === undefined || count === 0 ? model : await equalized(model, classes, kept, options);
    return await observed(equal, count, kept, source, options);
  } finally {
    // a source that decodes a clip has something to close
    await source.return(undefined);
  }
}

const withoutObservations: Pick<Calibrated, 'plan' | 'observations' | 'equalized'> = {
  plan: undefined,
  observations: { histograms: new Map(), channels: new Map(), patches: new Map() },
  equalized: 0,
};

async function equalized(
  model: Model,
  classes: ChannelClasses,
  kept: readonly CalibrationFrame[],
  options: ResolvedQuantizeOptions,
): Promise<Model> {
  const tensors = [...classes.tensors.keys()];
  const layouts = new Map(tensors.map((name) => [name, channelLayout(model.graph, name, 'second')]));
  const { observations, observe } = observer(tensors, layouts);
  await withOpened(options, withTaps(model, tensors), async (opened) => {
    for (const [index, frame] of kept.entries()) observe(await opened.run(frame), frame, index);
  });
  const largest = new Map(tensors.map((name) => [name, observations.channels.get(name)!.largest]));
  return { ...model, graph: equalize(model.graph, classes, largest, createBuilder(model.graph)) };
}

async function observed(
  model: Model,
  equalizedLayers: number,
  kept: readonly CalibrationFrame[],
  rest: AsyncIterable<CalibrationFrame>,
  options: ResolvedQuantizeOptions,
): Promise<Calibrated> {
  const { graph } = model;
  const plan = planOf(graph, excludedByName(options.exclude), options.integers);
  const tensors = new Set(plan.tensors.values());
  const layouts = new Map<string, ChannelLayout>();
  const layers: PatchedLayer[] = [];
  for (const layer of integerWeightsOf(plan, graph)) {
    const [input] = layer.node.inputs as [string];
    // every place under a transposed kernel sums up other weights
    if (layer.node.op === 'ConvTranspose') continue;
    if (options.correctBias)
      layouts.set(input, channelLayout(graph, input, layer.node.op === 'Conv' ? 'second' : 'last'));
    if (options.rounding === 'least-error') layers.push({ layer, input, patches: patchesOf(graph, layer) });
  }
  const { observations, observe } = observer(tensors, layouts, layers);
  const taps = [...tensors, ...layouts.keys(), ...layers.map(({ input }) => input)];
  let frames = 0;
  await withOpened(options, withTaps(model, taps), async (opened) => {
    const one = async (frame: CalibrationFrame): Promise<void> => {
      observe(await opened.run(frame), frame, frames);
      frames++;
      options.onProgress?.({ stage: 'calibrate', frames });
    };
    for (const frame of kept) await one(frame);
    for await (const frame of rest) await one(frame);
  });
  return { model, plan, observations, kept, frames, equalized: equalizedLayers };
}
