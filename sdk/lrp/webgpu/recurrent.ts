import { intAttribute, textAttribute } from '../../graph/graph.js';
import type { Value } from '../emitter.js';
import { within } from '../limits.js';
import { stacked, stepOf, timesTransposed } from '../operators/cells.js';
import { type Rewrite, unary } from './kernel.js';

const ACTIVATIONS: Readonly<Record<string, string>> = { tanh: 'Tanh', relu: 'Relu', sigmoid: 'Sigmoid' };

/** An RNN step by step: h_t = f(x_t·wᵀ + h_{t−1}·rᵀ + b). */
export const rnn: Rewrite = ({ emit, node, inputs, inputTypes, outputTypes }) => {
  const [x, w, r, b, lengths, initial] = inputs;
  const plain = intAttribute(node, 'layout', 0) === 0 && !node.attributes.has('clip') && lengths === undefined;
  if (!plain || x === undefined || w === undefined || r === undefined || inputTypes[0]?.type !== 'float32') {
    return undefined;
  }
  const [directions, hidden] = w.dims as [number, number, number];
  const [length, batch] = x.dims as [number, number, number];
  within(length, 'time steps', 2 ** 14);
  const given = node.attributes.get('activations');
  const names = given?.kind === 'strings' ? given.value : [];
  const row = (value: Value, d: number): Value =>
    emit.reshape(emit.slice(value, [d], [d + 1], [0]), value.dims.slice(1));
  const perDirection: Value[] = [];
  const last: Value[] = [];
  for (let d = 0; d < directions; d++) {
    const activation = ACTIVATIONS[(names[d] ?? 'Tanh').toLowerCase()];
    if (activation === undefined) return undefined;
    let z = timesTransposed(emit, x, row(w, d));
    if (b !== undefined) {
      const both = row(b, d);
      z = emit.add(z, emit.add(emit.slice(both, [0], [hidden], [0]), emit.slice(both, [hidden], [2 * hidden], [0])));
    }
    const backwards = textAttribute(node, 'direction', 'forward') === 'reverse' || d === 1;
    const steps = new Array<Value>(length);
    let h = initial === undefined ? emit.filled(0, [batch, hidden]) : row(initial, d);
    for (let k = 0; k < length; k++) {
      const t = backwards ? length - 1 - k : k;
      h = unary(emit, activation, emit.add(stepOf(emit, z, t), timesTransposed(emit, h, row(r, d))));
      steps[t] = h;
    }
    perDirection.push(emit.reshape(stacked(emit, steps), [length, 1, batch, hidden]));
    last.push(h);
  }
  const results = [() => emit.concat(perDirection, 1), () => stacked(emit, last)];
  return outputTypes.map((type, index) => (type === undefined ? undefined : results[index]!()));
};
