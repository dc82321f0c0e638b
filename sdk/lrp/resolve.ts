import type {
  BiasPolicy,
  Composite,
  CompositeEntry,
  CompositeMethod,
  CompositeOptions,
  CompositeRules,
  GatePolicy,
  RelevanceInit,
  RuleName,
  TiePolicy,
} from './composite.js';
import { invalid } from './invalid.js';
import { type Method, resolveMethod } from './method.js';
import { presets } from './presets.js';

/** A composite with every option filled in. */
export interface ResolvedComposite {
  readonly rules: readonly CompositeEntry[];
  readonly stabilizer: number;
  readonly bias: BiasPolicy;
  readonly ties: TiePolicy;
  readonly gates: GatePolicy;
  readonly init: RelevanceInit;
  readonly flatBelow: number | string | undefined;
  readonly method: Method | undefined;
}

/** The rule of one node with its parameters. */
export interface NodeRule {
  readonly name: RuleName;
  readonly stabilizer: number;
  readonly bias: BiasPolicy;
  readonly ties: TiePolicy;
  readonly gates: GatePolicy;
  readonly epsilon: number;
  readonly alpha: number;
  readonly beta: number;
  readonly gamma: number;
  readonly low: number | readonly number[] | undefined;
  readonly high: number | readonly number[] | undefined;
}

const RULES: readonly RuleName[] = [
  'z',
  'epsilon',
  'alpha-beta',
  'z-plus',
  'gamma',
  'flat',
  'w-square',
  'z-box',
  'gradient',
  'pass',
  'norm',
  'deconvnet',
  'guided',
  'rescale',
];

const ENTRY_FIELDS = [
  'match',
  'rule',
  'epsilon',
  'alpha',
  'beta',
  'gamma',
  'low',
  'high',
  'stabilizer',
  'bias',
  'ties',
  'gates',
] as const satisfies readonly (keyof CompositeEntry)[];

const OPTION_FIELDS = [
  'stabilizer',
  'bias',
  'ties',
  'gates',
  'init',
  'flatBelow',
] as const satisfies readonly (keyof CompositeOptions)[];

function checkFields(value: object, known: readonly string[], field: string): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) invalid(`${field}${unknown}`, `is not known; known are ${known.join(', ')}`);
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], field: string, fallback: T): T {
  if (value === undefined) return fallback;
  if (allowed.includes(value as T)) return value as T;
  return invalid(field, `is ${JSON.stringify(value)}; it must be one of ${allowed.join(', ')}`);
}

function atLeastZero(value: unknown, field: string, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  return invalid(field, `is ${JSON.stringify(value)}; it must be a number ≥ 0`);
}

function checkMatch(match: unknown, field: string): void {
  if (typeof match !== 'object' || match === null || Array.isArray(match)) {
    invalid(field, 'must be an object such as {"op": "Conv"}; {} matches every node');
  }
  for (const [key, value] of Object.entries(match)) {
    const at = `${field}.${key}`;
    if (key === 'op' || key === 'name') {
      const list = Array.isArray(value) ? value : [value];
      if (list.length === 0 || list.some((item) => typeof item !== 'string' || item === '')) {
        invalid(at, 'must be a non-empty string or a list of them');
      }
    } else if (key === 'first' || key === 'last') {
      if (typeof value !== 'boolean') invalid(at, 'must be true or false');
    } else if (key === 'depth') {
      const [from, to, ...more] = Array.isArray(value) ? value : [];
      if (!Number.isInteger(from) || !Number.isInteger(to) || more.length > 0 || from > to) {
        invalid(at, 'must be [from, to], two integers with from ≤ to');
      }
    } else invalid(at, 'is not known; known are op, name, first, last, depth');
  }
}

function checkBox(entry: CompositeEntry, field: string): void {
  const { low, high } = entry;
  if ((low === undefined) !== (high === undefined)) invalid(field, 'needs both "low" and "high", or neither');
  if (low === undefined || high === undefined) return;
  const lows = typeof low === 'number' ? [low] : low;
  const highs = typeof high === 'number' ? [high] : high;
  for (const [name, list] of [
    ['low', lows],
    ['high', highs],
  ] as const) {
    if (!Array.isArray(list) || list.length === 0 || list.some((value) => !Number.isFinite(value))) {
      invalid(`${field}.${name}`, 'must be a number or one number per channel');
    }
  }
  const length = Math.max(lows.length, highs.length);
  for (let channel = 0; channel < length; channel++) {
    const l = lows[lows.length === 1 ? 0 : channel];
    const h = highs[highs.length === 1 ? 0 : channel];
    if (l === undefined || h === undefined) invalid(field, '"low" and "high" have different numbers of channels');
    if (l > h) invalid(field, `has low ${l} above high ${h} in channel ${channel}`);
  }
}

function checkEntry(entry: unknown, index: number): CompositeEntry {
  const field = `rules[${index}]`;
  if (typeof entry !== 'object' || entry === null) invalid(field, 'must be an object with "match" and "rule"');
  checkFields(entry, ENTRY_FIELDS, `${field}.`);
  const typed = entry as CompositeEntry;
  checkMatch(typed.match, `${field}.match`);
  if (typed.rule === undefined) invalid(`${field}.rule`, `is missing; it must be one of ${RULES.join(', ')}`);
  oneOf(typed.rule, RULES, `${field}.rule`, 'epsilon');
  atLeastZero(typed.epsilon, `${field}.epsilon`, 0);
  atLeastZero(typed.gamma, `${field}.gamma`, 0);
  atLeastZero(typed.stabilizer, `${field}.stabilizer`, 0);
  oneOf<BiasPolicy>(typed.bias, ['absorb', 'ignore', 'distribute'], `${field}.bias`, 'absorb');
  oneOf<TiePolicy>(typed.ties, ['split', 'first'], `${field}.ties`, 'split');
  oneOf<GatePolicy>(typed.gates, ['signal', 'halves'], `${field}.gates`, 'signal');
  if (typed.rule === 'alpha-beta') {
    const alpha: unknown = typed.alpha ?? 2;
    const beta: unknown = typed.beta ?? -1;
    if (typeof alpha !== 'number' || typeof beta !== 'number' || !(Math.abs(alpha + beta - 1) < 1e-9)) {
      invalid(field, `has α = ${String(alpha)} and β = ${String(beta)}; α + β must be 1 (as in α = 2, β = −1)`);
    }
    if (alpha < 1) invalid(`${field}.alpha`, `is ${alpha}; it must be ≥ 1, so that β ≤ 0`);
  }
  checkBox(typed, field);
  return typed;
}

/**
 * Validates a composite and fills in its options.
 * Throws `COMPOSITE_INVALID` with the field's path for anything that is not as {@link Composite} says.
 */
export function resolveComposite(composite: Composite): ResolvedComposite {
  if (typeof composite === 'string') return resolveComposite({ method: composite });
  if (typeof composite !== 'object' || composite === null) invalid('composite', 'must be a name or an object');
  const base = 'method' in composite ? presetOf(composite) : composite;
  if (!('method' in composite)) checkFields(composite, ['rules', ...OPTION_FIELDS], '');
  const rules: unknown = base.rules;
  if (!Array.isArray(rules)) invalid('rules', 'must be a list of {"match", "rule"} entries');
  const entries = rules.map(checkEntry);
  if (!('method' in composite) && entries.some(({ rule }) => rule === 'rescale')) {
    invalid('rules', 'ask for "rescale", which needs a reference: use {"method": "deeplift-rescale"}');
  }
  return {
    rules: entries,
    stabilizer: atLeastZero(composite.stabilizer ?? base.stabilizer, 'stabilizer', 1e-6),
    bias: oneOf(composite.bias ?? base.bias, ['absorb', 'ignore', 'distribute'], 'bias', 'absorb'),
    ties: oneOf(composite.ties ?? base.ties, ['split', 'first'], 'ties', 'split'),
    gates: oneOf(composite.gates ?? base.gates, ['signal', 'halves'], 'gates', 'signal'),
    init: oneOf(composite.init ?? base.init, ['logit', 'one'], 'init', 'logit'),
    flatBelow: depthOrName(composite.flatBelow),
    method: 'method' in composite ? resolveMethod(composite, presets[composite.method]!) : undefined,
  };
}

function presetOf(composite: CompositeMethod): CompositeRules {
  const { method }: { readonly method: unknown } = composite;
  // anything may have come out of a file, also what has no text to be looked up by
  const preset = typeof method === 'string' && Object.hasOwn(presets, method) ? presets[method] : undefined;
  if (preset === undefined) {
    return invalid('method', `is ${JSON.stringify(method)}; known are ${Object.keys(presets).join(', ')}`);
  }
  checkFields(composite, ['method', ...OPTION_FIELDS, ...(preset.options ?? [])], '');
  return preset.composite;
}

function depthOrName(value: unknown): number | string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
  return invalid('flatBelow', `is ${JSON.stringify(value)}; it must be a depth ≥ 0 or the name of a weighted layer`);
}
