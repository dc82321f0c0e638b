import type { CompositeMethod } from './composite.js';
import { invalid } from './invalid.js';
import type { Attribution, Preset } from './presets.js';

/** A method whose result is made from what its rules carry back, with every option filled in. */
export interface Method {
  readonly name: string;
  readonly attribution: Attribution;
  readonly layer: string | undefined;
  readonly channelAxis: number | undefined;
  readonly steps: number;
  readonly baseline: readonly number[] | 'input';
  readonly noise: number;
  readonly seed: number;
  readonly patches: number;
}

function integer(value: unknown, field: string, [low, high]: readonly [number, number]): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value;
  return invalid(field, `is ${JSON.stringify(value)}; it must be an integer from ${low} to ${high}`);
}

function numberOrList(value: unknown, field: string): readonly number[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isNumber = (item: unknown): item is number => typeof item === 'number' && Number.isFinite(item);
  if (list.length > 0 && list.every(isNumber)) return list;
  return invalid(field, 'must be "input", a number, or one number per channel or per element');
}

/** Validates a method's own options; undefined where the rules' relevance is the result. Throws `COMPOSITE_INVALID`. */
export function resolveMethod(composite: CompositeMethod, { attribution }: Preset): Method | undefined {
  if (attribution === undefined) return undefined;
  const { method, layer, channelAxis, steps = 8, baseline = 0, noise = 0.15, seed = 1, patches = 4 } = composite;
  if (layer !== undefined && (typeof layer !== 'string' || layer === '')) {
    invalid('layer', `is ${JSON.stringify(layer)}; it must be the name of a tensor`);
  }
  if (typeof noise !== 'number' || !Number.isFinite(noise) || noise < 0) {
    invalid('noise', `is ${JSON.stringify(noise)}; it must be a number ≥ 0`);
  }
  return {
    name: method,
    attribution,
    layer,
    channelAxis: channelAxis === undefined ? undefined : integer(channelAxis, 'channelAxis', [1, 16]),
    steps: integer(steps, 'steps', [1, 64]),
    baseline: baseline === 'input' ? baseline : numberOrList(baseline, 'baseline'),
    noise,
    seed: integer(seed, 'seed', [0, 2 ** 32 - 1]),
    patches: integer(patches, 'patches', [1, 16]),
  };
}
