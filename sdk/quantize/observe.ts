import { throwIfAborted, WhylightError } from '../errors.js';
import { encodeModel } from '../graph/encode.js';
import type { Graph, Model, NamedValue } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';
import { staticTypeOf } from '../graph/shapes.js';
import type { CalibrationFrame } from './frames.js';
import { countValues, emptyHistogram, type Histogram } from './histogram.js';
import type { QuantizeOptions } from './options.js';
import type { Patches } from './patches.js';
import type { OpenedModel, Tensors } from './runtime.js';

/** The model with inner tensors as further outputs; those that are outputs already are not repeated. */
export function withTaps(model: Model, tensors: Iterable<string>): Model {
  const { graph } = model;
  const outputs: NamedValue[] = [...graph.outputs];
  const known = new Set([...graph.outputs, ...graph.inputs].map(({ name }) => name));
  for (const name of tensors) {
    if (known.has(name)) continue;
    known.add(name);
    outputs.push({ name, ...staticTypeOf(graph, name) });
  }
  return { ...model, graph: { ...graph, outputs } };
}

/** Opens a model for `use` and closes it whatever happens; a run after the signal has fired throws ABORTED. */
export async function withOpened<T>(
  { open, signal }: Pick<QuantizeOptions, 'open' | 'signal'>,
  model: Model,
  use: (opened: Pick<OpenedModel, 'run'>) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal, 'Quantization');
  const opened = await open(encodeModel(model));
  try {
    return await use({
      async run(inputs) {
        // a runtime on this thread may never let anything else run, such as what fires the signal
        await new Promise((resolve) => setTimeout(resolve));
        throwIfAborted(signal, 'Quantization');
        return opened.run(inputs);
      },
    });
  } finally {
    await opened.close();
  }
}

/** A float32 tensor of a run: an output, or one of the frame's own inputs. Throws CALIBRATION_INVALID where it is missing. */
export function floatsIn(outputs: Tensors, frame: CalibrationFrame, name: string): Float32Array {
  const data = (outputs[name] ?? frame[name])?.data;
  if (data instanceof Float32Array) return data;
  throw new WhylightError('CALIBRATION_INVALID', `The run gave no float32 tensor "${name}".`, {
    details: { tensor: name },
  });
}

/** What is seen of each channel of an activation. */
export interface ChannelStatistics {
  /** Largest absolute value. */
  readonly largest: Float64Array;
  /** Sum of the values, and how many there were in each channel. */
  readonly sums: Float64Array;
  count: number;
}

/** Where the channels of a tensor lie: [before, channels, after] are the products of its dimensions. */
export interface ChannelLayout {
  readonly channels: number;
  readonly after: number;
}

/** Channels along dimension 1, as of a convolution's input, or along the last one, as of a product of matrices. */
export function channelLayout(graph: Graph, name: string, along: 'second' | 'last'): ChannelLayout {
  const { dims } = staticTypeOf(graph, name);
  const axis = along === 'last' ? dims.length - 1 : Math.min(1, dims.length - 1);
  return { channels: dims[axis] ?? 1, after: sizeOf(dims.slice(axis + 1)) };
}

/** Adds a tensor to the statistics of its channels. */
export function countChannels(
  statistics: ChannelStatistics,
  { channels, after }: ChannelLayout,
  values: Float32Array,
): void {
  const { largest, sums } = statistics;
  for (let at = 0, channel = 0; at < values.length; channel = (channel + 1) % channels) {
    let most = largest[channel]!;
    let sum = 0;
    for (const end = at + after; at < end; at++) {
      const value = values[at]!;
      sum += value;
      most = Math.max(most, Math.abs(value));
    }
    largest[channel] = most;
    sums[channel]! += sum;
  }
  statistics.count += values.length / channels;
}

/** Statistics of nothing yet. */
export function noChannels({ channels }: ChannelLayout): ChannelStatistics {
  return { largest: new Float64Array(channels), sums: new Float64Array(channels), count: 0 };
}

/** What calibration keeps of the activations. */
export interface Observations {
  readonly histograms: ReadonlyMap<string, Histogram>;
  readonly channels: ReadonlyMap<string, ChannelStatistics>;
  /** First output of a layer → what it multiplies with its weights. */
  readonly patches: ReadonlyMap<string, Patches>;
}

/** A layer of which patches are taken, and the tensor that they are taken from. */
export interface PatchedLayer {
  readonly layer: LinearLayer;
  readonly input: string;
  readonly patches: Patches;
}

/**
 * Collects the values of tensors while frames go by. `observe` takes what one frame gave; it throws CALIBRATION_INVALID naming
 * tensor and frame where a value is not finite.
 */
export function observer(
  tensors: Iterable<string>,
  layouts: ReadonlyMap<string, ChannelLayout>,
  layers: readonly PatchedLayer[] = [],
): { readonly observations: Observations; observe(outputs: Tensors, frame: CalibrationFrame, index: number): void } {
  const histograms = new Map([...tensors].map((name) => [name, emptyHistogram()]));
  const channels = new Map([...layouts].map(([name, layout]) => [name, noChannels(layout)]));
  return {
    observations: {
      histograms,
      channels,
      patches: new Map(layers.map(({ layer, patches }) => [layer.node.outputs[0]!, patches])),
    },
    observe(outputs, frame, index) {
      for (const [name, histogram] of histograms) {
        if (countValues(histogram, floatsIn(outputs, frame, name))) continue;
        throw new WhylightError(
          'CALIBRATION_INVALID',
          `Tensor "${name}" has a value that is not finite in calibration frame ${index}; the model overflows or its weights are damaged.`,
          { details: { tensor: name, frame: index } },
        );
      }
      for (const [name, layout] of layouts) countChannels(channels.get(name)!, layout, floatsIn(outputs, frame, name));
      for (const { input, patches } of layers) patches.take(floatsIn(outputs, frame, input));
    },
  };
}
