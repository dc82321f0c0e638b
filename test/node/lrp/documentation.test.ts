import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { operators } from '../../../sdk/lrp/operators/index.js';
import { placementOf } from '../../../sdk/lrp/placement.js';
import { presets } from '../../../sdk/lrp/presets.js';

const reference = readFileSync(new URL('../../../docs/operators.md', import.meta.url), 'utf8');

/** Cells of the row whose first cell is `name`. */
function row(name: string): readonly string[] {
  const line = reference.split('\n').find((text) => text.startsWith(`| ${name} |`));
  return (line ?? '').split(/(?<!\\)\|/).map((cell) => cell.trim());
}
const coded = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ');

describe('docs/operators.md', () => {
  test.each(Object.entries(operators))('has %s with its rules, source, place and limits', (name, operator) => {
    const { rules, source, limits } = operator;
    const place = placementOf(name);
    expect(place).not.toBe('unknown');
    expect(row(name).slice(1, -1)).toEqual([
      name,
      rules.length === 0 ? '—' : coded(rules),
      source,
      place === 'cpu' ? 'on the CPU' : '',
      limits ?? '',
    ]);
  });
  test.each(Object.entries(presets))('has %s with its options', (name, { description, options }) => {
    expect(row(`\`${name}\``).slice(1, -1)).toEqual([`\`${name}\``, description, coded(options ?? [])]);
  });
});
