import { BALANCE_COLUMNS } from './audit.js';
import type { CompileReport, LayerReport } from './report.js';

/** What one step of a backward pass did with the relevance that had arrived: it is the sum of everything else here. */
export interface StepBalance {
  /** the node's name; the first step is the explained output itself */
  readonly step: string;
  /** ΣR that has arrived at the node's outputs */
  readonly arrived: number;
  /** ΣR that it has passed on to its inputs */
  readonly passedOn: number;
  /** ΣR that biases and constants have absorbed (thesis 2.16) */
  readonly absorbed: number;
  /** ΣR that is lost */
  readonly lost: StepLoss;
}

/** Relevance that a step has lost, by cause. */
export interface StepLoss {
  /** ε's share in ε / (|z| + ε), thesis 2.22 */
  readonly stabilizer: number;
  /** all that had arrived where contributions are none or cancel, so that z = 0 and there is nobody to give it to */
  readonly silent: number;
  /** what `reason` says */
  readonly elsewhere: number;
  /** why relevance may be lost elsewhere; undefined where a node of this kind loses none but by rounding */
  readonly reason: string | undefined;
}

const CHAIN_RULES: readonly string[] = ['gradient', 'deconvnet', 'guided', 'rescale'];

/** Operators that can lose relevance although they only move it or share it out, and how. */
const REASONS: Readonly<Record<string, string>> = {
  Pad: 'what lies on padding belongs to no input',
  Where: 'the side that was taken is a constant',
  Concat: 'a part is a constant',
  ScatterElements: 'what was written over, or with a constant',
  ScatterND: 'what was written over, or with a constant',
  LSTM: 'stabilizers within the cell, and the state that it starts from',
  GRU: 'stabilizers within the cell, and the state that it starts from',
  RNN: 'stabilizers within the cell, and the state that it starts from',
  Conv: 'windows that lie on padding alone',
  ConvTranspose: 'places that no input reaches',
};

function reasonOf(layer: LayerReport | undefined): string | undefined {
  if (layer === undefined) return undefined;
  return CHAIN_RULES.includes(layer.rule) ? 'the chain rule keeps no sum' : REASONS[layer.operator];
}

/**
 * Reads the output `balance` of a graph that was compiled with `audit`: where relevance was absorbed or lost, layer by layer, from
 * the output to the input. `balance` is its data, float32 [steps, 6], row by row.
 *
 * Throws a RangeError where `balance` does not belong to `report`.
 */
export function balanceOf(report: CompileReport, balance: ArrayLike<number>): StepBalance[] {
  const width = BALANCE_COLUMNS.length;
  if (balance.length !== report.steps.length * width) {
    throw new RangeError(`${balance.length} numbers are no balance of ${report.steps.length} steps.`);
  }
  const layers = new Map(report.layers.map((layer) => [layer.name, layer]));
  return report.steps.map((step, row) => {
    const at = (column: (typeof BALANCE_COLUMNS)[number]): number =>
      balance[row * width + BALANCE_COLUMNS.indexOf(column)]!;
    return {
      step,
      arrived: at('arrived'),
      passedOn: at('passedOn'),
      absorbed: at('absorbed'),
      lost: {
        stabilizer: at('stabilizer'),
        silent: at('silent'),
        elsewhere: at('elsewhere'),
        reason: reasonOf(layers.get(step)),
      },
    };
  });
}
