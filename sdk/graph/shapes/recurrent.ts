import { intAttribute, textAttribute } from '../graph.js';
import { misfit, needRank, type ShapeRule, show } from './call.js';

/** `gates` weight rows per hidden unit. Outputs Y, Y_h and, for LSTM, Y_c. */
function recurrent(gates: number): ShapeRule {
  return (call) => {
    const data = needRank(call, 0, 3);
    const weight = needRank(call, 1, 3).dims;
    const state = needRank(call, 2, 3).dims;
    const directions = textAttribute(call.node, 'direction', 'forward') === 'bidirectional' ? 2 : 1;
    const hidden = intAttribute(call.node, 'hidden_size', state[2]!);
    const batchFirst = intAttribute(call.node, 'layout', 0) !== 0;
    const [outer, inner, width] = data.dims;
    if (weight[0] !== directions || weight[1] !== gates * hidden || weight[2] !== width) {
      throw misfit(call, `the weight ${show(weight)} does not fit data ${show(data.dims)} and ${hidden} hidden units`);
    }
    if (state[0] !== directions || state[1] !== gates * hidden || state[2] !== hidden) {
      throw misfit(call, `the recurrence weight ${show(state)} does not fit ${hidden} hidden units`);
    }
    const { type } = data;
    const last = { type, dims: batchFirst ? [outer!, directions, hidden] : [directions, inner!, hidden] };
    const all = {
      type,
      dims: batchFirst ? [outer!, inner!, directions, hidden] : [outer!, directions, inner!, hidden],
    };
    return [all, last, last];
  };
}

/** Recurrent layers. */
export const recurrentShapes: Readonly<Record<string, ShapeRule>> = {
  RNN: recurrent(1),
  GRU: recurrent(3),
  LSTM: recurrent(4),
};
