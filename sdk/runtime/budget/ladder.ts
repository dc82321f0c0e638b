import { WhylightError } from '../../errors.js';
import type { Composite } from '../../lrp/composite.js';
import { presets } from '../../lrp/presets.js';
import type { CompileReport } from '../../lrp/report.js';
import type { Rung } from './rung.js';

/** A rung of a ladder of one's own: what is left out of the full explanation of every frame. */
export interface RungOptions {
  /** for a person; default says what is left out */
  readonly name?: string;
  /** other rules than the explainer's */
  readonly composite?: Composite;
  /** the decomposition ends at this depth or layer, see `flatBelow` of a composite (thesis 5.4.2) */
  readonly flatBelow?: number | string;
  /** LRP on every n-th frame, an integer ≥ 1, the forward pass on all; the last relevance is carried along. 'never' is forward only. Default 1 */
  readonly every?: number | 'never';
  /** height and width of the model's input in pixels, for a model that leaves them open */
  readonly size?: readonly [height: number, width: number];
}

/** What has to be compiled for a rung. */
export interface GraphForm {
  readonly composite: Composite | undefined;
  readonly size: readonly [height: number, width: number] | undefined;
}

/** Rungs from best to cheapest, and the graphs that they run by key. */
export interface Ladder {
  readonly rungs: readonly Rung[];
  readonly forms: ReadonlyMap<string, GraphForm>;
}

/** What a ladder is made from: the explainer as it was asked for. */
export interface LadderBase {
  readonly report: CompileReport;
  readonly composite: Composite | undefined;
  /** height and width of the model's input in pixels */
  readonly size: readonly [height: number, width: number];
  /** the model leaves its input's height and width open */
  readonly resizable: boolean;
}

/** Key of the graph that the explainer itself has. */
export const fullGraph = 'full';

/** Shares of the full backward pass that the two shorter ones of the default ladder may cost. */
const shorter = [0.55, 0.3] as const;
const cadence = 4;
/** Inputs are not made smaller than this many pixels, and to multiples of the strides that networks usually have. */
const smallest = 64;
const stride = 32;

/**
 * The ladder of a model: LRP on every frame; LRP that ends higher up, at the depths where about half and a quarter of the
 * backward pass's multiply-adds are left (the lowest layers cost the most and only sharpen the grain, thesis 5.4.2); the
 * cheapest of these on every fourth frame; the same on an input of half the size, where the model takes one; forward only.
 */
export function defaultLadder(base: LadderBase): readonly RungOptions[] {
  const { report, composite, size, resizable } = base;
  const depths = canEndEarly(composite) ? depthsFor(report) : [];
  const cheapest = depths.length === 0 ? {} : { flatBelow: depths.at(-1)! };
  const half = size.map((side) => Math.max(smallest, Math.round(side / 2 / stride) * stride)) as [number, number];
  const isSmaller = half[0] * half[1] < size[0] * size[1];
  return [
    {},
    ...depths.map((flatBelow) => ({ flatBelow })),
    { ...cheapest, every: cadence },
    ...(resizable && isSmaller ? [{ ...cheapest, every: cadence, size: half }] : []),
    { every: 'never' },
  ];
}

/**
 * Rungs with their costs by the compiler's report; a graph's own report is not there before it is compiled.
 *
 * Throws WhylightError OPTION_INVALID.
 */
export function makeLadder(options: readonly RungOptions[], base: LadderBase): Ladder {
  checkLadder(options);
  const { report, size } = base;
  const forms = new Map<string, GraphForm>();
  const rungs = options.map((option): Rung => {
    const { every = 1 } = option;
    const relevance = every !== 'never';
    const form: GraphForm = {
      // without relevance the rules do not matter: the forward pass is the full graph’s
      composite: relevance ? compositeOf(option, base.composite) : base.composite,
      size: option.size,
    };
    const isFull =
      form.size === undefined && (!relevance || (option.composite === undefined && option.flatBelow === undefined));
    const key = isFull ? fullGraph : JSON.stringify([form.composite, form.size]);
    if (!isFull) forms.set(key, form);
    const scale = option.size === undefined ? 1 : (option.size[0] * option.size[1]) / (size[0] * size[1]);
    return {
      name: option.name ?? nameOf(option),
      graph: key,
      every: every === 'never' ? Number.POSITIVE_INFINITY : every,
      forward: Math.max(1, scale * report.forward),
      backward: scale * backwardAbove(report, option.flatBelow),
    };
  });
  return { rungs, forms };
}

/** Multiply-adds of the backward pass above the depth where it ends. */
function backwardAbove({ layers, backward }: CompileReport, flatBelow: number | string | undefined): number {
  if (flatBelow === undefined) return backward;
  const end = typeof flatBelow === 'number' ? flatBelow : layers.find(({ name }) => name === flatBelow)?.depth;
  if (end === undefined) return backward;
  const below = layers.filter(({ depth }) => depth !== undefined && depth <= end);
  return backward - below.reduce((sum, layer) => sum + layer.backward, 0);
}

/** The least depths at which no more than the given shares of the backward pass are left; the last layer always is decomposed. */
function depthsFor(report: CompileReport): readonly number[] {
  const deepest = Math.max(-1, ...report.layers.map(({ depth }) => depth ?? -1));
  const found = shorter.flatMap((share) => {
    for (let depth = 0; depth < deepest; depth++) {
      if (backwardAbove(report, depth) <= share * report.backward) return [depth];
    }
    return [];
  });
  return [...new Set(found)];
}

/** Rules can end anywhere; a method that is made from what rules carry back, or that is no relevance, cannot. */
function canEndEarly(composite: Composite | undefined): boolean {
  if (composite === undefined) return true;
  const name = typeof composite === 'string' ? composite : 'method' in composite ? composite.method : undefined;
  const preset = name === undefined ? undefined : presets[name];
  if (typeof composite === 'object' && (composite.flatBelow !== undefined || composite.init === 'one')) return false;
  return preset === undefined
    ? name === undefined
    : preset.attribution === undefined && preset.composite.init !== 'one';
}

function compositeOf({ composite, flatBelow }: RungOptions, own: Composite | undefined): Composite | undefined {
  const chosen = composite ?? own;
  if (flatBelow === undefined) return chosen;
  if (typeof chosen === 'object') return { ...chosen, flatBelow };
  return { method: chosen ?? 'epsilon-plus-flat', flatBelow };
}

function nameOf({ composite, flatBelow, every = 1, size }: RungOptions): string {
  const where = size === undefined ? '' : ` at ${size[1]} × ${size[0]}`;
  if (every === 'never') return `forward only${where}`;
  const rules = composite === undefined ? 'LRP' : typeof composite === 'string' ? composite : 'other rules';
  const end = flatBelow === undefined ? '' : ` above layer ${flatBelow}`;
  return `${rules}${end}${every === 1 ? '' : ` on every ${ordinal(every)} frame`}${where}`;
}

function ordinal(count: number): string {
  const ending = count % 100 >= 11 && count % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][count % 10] ?? 'th');
  return `${count}${ending}`;
}

function checkLadder(options: readonly RungOptions[]): void {
  const wrong = (what: string, index?: number): never => {
    throw new WhylightError('OPTION_INVALID', `"ladder"${index === undefined ? '' : `[${index}]`} ${what}.`, {
      details: { option: 'ladder', ...(index === undefined ? {} : { index }) },
    });
  };
  if (!Array.isArray(options) || options.length === 0) wrong('must be a list of at least one rung');
  for (const [index, { every = 1, size }] of options.entries()) {
    if (every !== 'never' && !(Number.isInteger(every) && every >= 1)) {
      wrong(`has "every" ${JSON.stringify(every)}; it must be a whole number from 1 or "never"`, index);
    }
    if (size !== undefined && !(size.length === 2 && size.every((side) => Number.isInteger(side) && side > 0))) {
      wrong('has a "size" that is not [height, width] in pixels', index);
    }
  }
}
