import type { Node } from '../graph/graph.js';
import { auditAtInputs } from './audit.js';
import { emitBackward, pathTo } from './backward.js';
import { baselineFor } from './baseline.js';
import { copyOf } from './copies.js';
import { forwardMultiplyAdds, type Value } from './emitter.js';
import { invalid } from './invalid.js';
import type { Method } from './method.js';
import { forwardValue } from './readings.js';
import type { Explanation, Scene } from './scene.js';

/**
 * DeepLIFT with the Rescale rule (Shrikumar et al. 2017): the network runs once more, at a reference input. What goes back are
 * multipliers m with Σ m·Δx = Δy: the weights of a linear layer, the slope Δy/Δx of a function. A tensor's contributions are its
 * multipliers times its difference from the reference, and those of the inputs add up to the difference of the outputs.
 */
export function deepLift(scene: Scene, method: Method): Explanation {
  const { graph, readings, emit, logits, start, composite, options, inputs, taps } = scene;
  if (composite.flatBelow !== undefined) {
    invalid('flatBelow', 'spreads relevance, of which "deeplift-rescale" has none: its multipliers end at the input');
  }
  const path = pathTo(graph, logits);
  const references = inputs
    .filter((name) => path.has(name))
    .map((name): [string, Value] => {
      const input = forwardValue(graph, name);
      return [name, emit.expand(baselineFor(emit, input, method), input.dims)];
    });
  const copy = copyOf(scene, new Map(references));
  const wanted = new Set([...inputs, ...taps]);
  const { audit: _, ...unaudited } = options;
  const back = emitBackward(graph, readings, emit, logits, start, wanted, composite, unaudited, {
    reference: copy.value,
  });
  const relevance = new Map(
    [...back.relevance].map(([name, multiplier]): [string, Value] => [
      name,
      emit.mul(multiplier, emit.sub(readings.read(name), copy.value(name))),
    ]),
  );
  // a reference that is fed with every run costs a forward pass with every run
  const again = new Set(copy.originals.values());
  const costs = references.every(([, { constant }]) => constant)
    ? () => 0
    : (node: Node) => forwardMultiplyAdds(graph, node);
  const explained = new Map(
    [...back.explained].map(([node, entry]) => [
      node,
      again.has(node) ? { ...entry, backward: entry.backward + costs(node) } : entry,
    ]),
  );
  return { relevance, explained, audit: auditAtInputs(scene, method, relevance) };
}
