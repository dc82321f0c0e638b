import type { Node } from '../graph/graph.js';
import { sizeOf } from '../graph/graph.js';
import { auditAtInputs } from './audit.js';
import { channelAxisOf, overChannels, placeAxesOf } from './axes.js';
import { type ExplainedNode, emitBackward, pathTo, supportOf } from './backward.js';
import { baselineFor } from './baseline.js';
import { type Copy, copyOf } from './copies.js';
import { type Emitter, forwardMultiplyAdds, type Value } from './emitter.js';
import { invalid } from './invalid.js';
import { within } from './limits.js';
import type { Method } from './method.js';
import { directReadings, forwardValue } from './readings.js';
import type { Explanation, Scene } from './scene.js';

/** Copies of the forward pass in one graph: beyond these, compiling and loading take longer than anybody waits. */
const MOST_COPIES = 256;

/** What the copies cost, told of the nodes that they are copies of. */
function createBill(scene: Scene) {
  const explained = new Map<Node, ExplainedNode>();
  return {
    explained,
    add(repeated: Copy, backward: ReadonlyMap<Node, ExplainedNode>): void {
      for (const [copy, node] of repeated.originals) {
        const forward = forwardMultiplyAdds(repeated.graph, copy);
        const entry = backward.get(copy);
        const before = explained.get(node);
        explained.set(node, {
          ...(before ?? entry ?? { rule: undefined, support: supportOf(scene.graph, node), depth: undefined }),
          node,
          operators: [...(before?.operators ?? []), ...(entry?.operators ?? [])],
          backward: (before?.backward ?? 0) + forward + (entry?.backward ?? 0),
        });
      }
    },
  };
}

/** Normally distributed numbers, the same ones for the same seed (mulberry32, Box and Muller 1958). */
export function gaussian(seed: number, count: number): Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    return radius * Math.cos(2 * Math.PI * uniform());
  });
}

/** Where each copy's input lies, and what the sum of the copies' gradients is multiplied with. */
interface Walk {
  readonly points: readonly Value[];
  readonly factor: Value;
}

/** Midpoints of `steps` equal stretches of the way from the baseline to the input. */
function wayFromBaseline(emit: Emitter, input: Value, method: Method): Walk {
  const baseline = baselineFor(emit, input, method);
  const fromZero = method.baseline !== 'input' && method.baseline.every((value) => value === 0);
  const difference = fromZero ? input : emit.sub(input, baseline);
  const points = Array.from({ length: method.steps }, (_, step) => {
    const part = emit.mul(difference, emit.scalar((step + 0.5) / method.steps));
    return difference === input ? part : emit.add(baseline, part);
  });
  return { points, factor: emit.mul(difference, emit.scalar(1 / method.steps)) };
}

/** Noise around the input, its deviation a share of every sample's own range; the same for every sample of a batch. */
function cloud(emit: Emitter, input: Value, method: Method): Walk {
  const axes = input.dims.map((_, axis) => axis).slice(1);
  const range = emit.sub(emit.reduce('Max', input, axes), emit.reduce('Min', input, axes));
  const deviation = emit.mul(range, emit.scalar(method.noise));
  const dims = [1, ...input.dims.slice(1)];
  const size = sizeOf(dims);
  const noise = gaussian(method.seed, within(size * method.steps, 'random numbers'));
  const points = Array.from({ length: method.steps }, (_, step) =>
    emit.add(input, emit.mul(deviation, emit.constant(noise.slice(step * size, (step + 1) * size), dims))),
  );
  return { points, factor: emit.scalar(1 / method.steps) };
}

/** Gradients at several points, summed and multiplied: integrated gradients (Sundararajan et al. 2017) and SmoothGrad (Smilkov et al. 2017). */
function averagedGradients(scene: Scene, method: Method): Explanation {
  const { graph, emit, logits, start, composite, options, inputs } = scene;
  const path = pathTo(graph, logits);
  const walk = method.attribution === 'smoothgrad' ? cloud : wayFromBaseline;
  const walks = new Map(
    inputs.filter((name) => path.has(name)).map((name) => [name, walk(emit, forwardValue(graph, name), method)]),
  );
  const bill = createBill(scene);
  const sums = new Map<string, Value>();
  for (let step = 0; step < method.steps; step++) {
    const copy = copyOf(scene, new Map([...walks].map(([name, { points }]) => [name, points[step]!])));
    const wanted = new Map([...walks.keys()].map((name) => [copy.named(name), name]));
    const target = options.target === undefined ? {} : { target: options.target };
    const back = emitBackward(
      copy.graph,
      directReadings(copy.graph),
      emit,
      copy.named(logits),
      start,
      new Set(wanted.keys()),
      composite,
      target,
    );
    bill.add(copy, back.explained);
    for (const [named, name] of wanted) {
      const gradient = back.relevance.get(named);
      const sum = sums.get(name);
      if (gradient !== undefined) sums.set(name, sum === undefined ? gradient : emit.add(sum, gradient));
    }
  }
  const relevance = new Map([...sums].map(([name, sum]) => [name, emit.mul(sum, walks.get(name)!.factor)]));
  return { relevance, explained: bill.explained, audit: auditAtInputs(scene, method, relevance) };
}

/** Patches of an input: a 0/1 constant per patch over the axes of space and time, and how many places it has. */
function patchesOf(dims: readonly number[], places: readonly number[], perAxis: number) {
  const shape = dims.map((dim, axis) => (places.includes(axis) ? dim : 1));
  let borders: (readonly (readonly [number, number])[])[] = [[]];
  for (const axis of places) {
    const count = Math.min(perAxis, dims[axis]!);
    const stretches = Array.from({ length: count }, (_, k): readonly [number, number] => [
      Math.floor((k * dims[axis]!) / count),
      Math.floor(((k + 1) * dims[axis]!) / count),
    ]);
    borders = borders.flatMap((before) => stretches.map((stretch) => [...before, stretch]));
  }
  return borders.map((stretches) => {
    const mask = new Float32Array(within(sizeOf(shape) * borders.length, 'cells of patches') / borders.length);
    for (let offset = 0; offset < mask.length; offset++) {
      let rest = offset;
      const inside = places.toReversed().every((axis, k) => {
        const position = rest % dims[axis]!;
        rest = Math.floor(rest / dims[axis]!);
        const [from, to] = stretches[places.length - 1 - k]!;
        return position >= from && position < to;
      });
      if (inside) mask[offset] = 1;
    }
    return { mask, shape, count: stretches.reduce((product, [from, to]) => product * (to - from), 1) };
  });
}

type Patch = ReturnType<typeof patchesOf>[number];

/** So many patches are covered in one batch: beyond them a batch only takes memory. */
const MOST_AT_ONCE = 16;

/** The patches in batches, each with the graph that takes them; one by one where the model takes single samples only. */
function patchesAtOnce({ graph, batched }: Scene, input: Value, patches: readonly Patch[]) {
  const size = Math.min(MOST_AT_ONCE, patches.length);
  const batches = Array.from({ length: Math.ceil(patches.length / size) }, (_, k) =>
    patches.slice(k * size, (k + 1) * size),
  );
  const graphs = new Map([...new Set(batches.map(({ length }) => length))].map((length) => [length, batched(length)]));
  return batches.flatMap((some) => {
    const together = some.length > 1 && input.dims[0] === 1 ? graphs.get(some.length) : undefined;
    return together === undefined ? some.map((patch) => ({ graph, some: [patch] })) : [{ graph: together, some }];
  });
}

/** Covers every patch of every input, as many in one batch as the model takes; a patch's loss is spread over it evenly (Zeiler and Fergus 2014). */
function occlusion(scene: Scene, method: Method): Explanation {
  const { graph, emit, logits, start, inputs } = scene;
  const path = pathTo(graph, logits);
  const scores = forwardValue(graph, logits);
  const bill = createBill(scene);
  const relevance = new Map<string, Value>();
  const batch = scores.dims.length > 1 ? scores.dims[0]! : 1;
  for (const name of inputs.filter((input) => path.has(input))) {
    const input = forwardValue(graph, name);
    const channelAxis = channelAxisOf(input.dims, method.channelAxis);
    const baseline = baselineFor(emit, input, method);
    const patches = patchesOf(input.dims, placeAxesOf(input.dims, channelAxis), method.patches);
    if (patches.length > MOST_COPIES) {
      invalid('patches', `makes ${patches.length} copies of the model, more than ${MOST_COPIES}`);
    }
    if (input.dims[0] !== batch) {
      invalid('method', `is "occlusion", but input "${name}" and the explained output have different batch sizes`);
    }
    const covered = patchesAtOnce(scene, input, patches).map(({ graph: batched, some }) => {
      const [{ shape }] = some as [Patch];
      const column = [some.length, ...shape.slice(1).map(() => 1)];
      const masks = emit.constant(
        some.flatMap(({ mask }) => [...mask]),
        [some.length, ...shape.slice(1)],
      );
      const rest = emit.mul(input, emit.sub(emit.scalar(1), masks));
      const beside = inputs.filter((other) => other !== name && some.length > 1 && path.has(other));
      const feeds = beside.map((other): [string, Value] => {
        const value = forwardValue(graph, other);
        return [other, emit.expand(value, [some.length, ...value.dims.slice(1)])];
      });
      const copy = copyOf(scene, new Map([...feeds, [name, emit.add(rest, emit.mul(masks, baseline))]]), batched);
      bill.add(copy, new Map());
      const loss = emit.mul(start, emit.sub(scores, copy.value(logits)));
      const rows = loss.dims.length > 1 ? loss.dims[0]! : 1;
      const total = emit.reduce('Sum', emit.reshape(loss, [rows, sizeOf(loss.dims) / rows]), [1]);
      const counts = emit.constant(
        some.map(({ count }) => 1 / count),
        column,
      );
      const placed = emit.mul(emit.mul(emit.reshape(total, [rows, ...column.slice(1)]), counts), masks);
      return some.length > 1 ? emit.reduce('Sum', placed, [0]) : placed;
    });
    const perPlace = covered.reduce((sum, part) => emit.add(sum, part));
    relevance.set(name, overChannels(emit, perPlace, input.dims, channelAxis));
  }
  return { relevance, explained: bill.explained, audit: auditAtInputs(scene, method, relevance) };
}

/** Methods that run the model at several inputs: each is one more copy of the forward pass in the graph. */
export function sampled(scene: Scene, method: Method): Explanation {
  if (scene.taps.length > 0)
    invalid('method', `is "${method.name}", which gives the relevance of inputs only, no taps`);
  return method.attribution === 'occlusion' ? occlusion(scene, method) : averagedGradients(scene, method);
}
