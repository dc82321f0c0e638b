import type { CompileReport } from '../lrp/report.js';

const COLUMNS = ['layer', 'operator', 'rule', 'shape', 'depth', 'forward', 'backward'] as const;
const RIGHT: readonly (typeof COLUMNS)[number][] = ['depth', 'forward', 'backward'];

/** Multiply-adds with a unit: 1234567 → 1.23 M. */
export function multiplyAddsText(count: number): string {
  if (count === 0) return '';
  const units = ['', ' k', ' M', ' G', ' T'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  return `${(count / 1000 ** unit).toPrecision(3)}${units[unit]}`;
}

/** A compile report as a table for the terminal: one line per node, then the sums and what canonicalization did. */
export function inspectTable(report: CompileReport): string {
  const rows = report.layers.map((layer) => ({
    layer: layer.name,
    operator: layer.operator,
    rule: layer.rule === 'none' ? '–' : layer.rule === 'move' ? 'moves' : layer.description,
    shape: `${layer.inputShape.join('×')} → ${layer.outputShape.join('×')}`,
    depth: layer.depth === undefined ? '' : String(layer.depth),
    forward: multiplyAddsText(layer.forward),
    backward: multiplyAddsText(layer.backward),
  }));
  const widths = COLUMNS.map((column) => Math.max(column.length, ...rows.map((row) => row[column].length)));
  const line = (row: Readonly<Record<(typeof COLUMNS)[number], string>>): string =>
    COLUMNS.map((column, k) =>
      RIGHT.includes(column) ? row[column].padStart(widths[k]!) : row[column].padEnd(widths[k]!),
    )
      .join('  ')
      .trimEnd();
  const head = Object.fromEntries(COLUMNS.map((column) => [column, column])) as Record<
    (typeof COLUMNS)[number],
    string
  >;
  const total = report.forward === 0 ? 0 : (report.forward + report.backward) / report.forward;
  return `${[
    line(head),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...rows.map(line),
    '',
    `explained: ${report.explained.logits} [${report.explained.shape.join(', ')}]`,
    `multiply-adds: forward ${multiplyAddsText(report.forward)}, backward ${multiplyAddsText(report.backward)}, together ${total.toFixed(2)} × forward`,
    ...report.notes.map((note) => `note: ${note}`),
  ].join('\n')}\n`;
}
