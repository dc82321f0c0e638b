import type { CompileReport, LayerReport, OffGpu } from '../lrp/report.js';
import { textTable } from './text-table.js';

const COLUMNS = ['layer', 'operator', 'rule', 'after', 'shape', 'depth', 'forward', 'backward', 'on the CPU'] as const;
const RIGHT: readonly (typeof COLUMNS)[number][] = ['depth', 'forward', 'backward'];

/** Multiply-adds with a unit: 1234567 → 1.23 M. */
export function multiplyAddsText(count: number): string {
  if (count === 0) return '';
  const units = ['', ' k', ' M', ' G', ' T'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  return `${(count / 1000 ** unit).toPrecision(3)}${units[unit]}`;
}

function rowOf(layer: LayerReport): Readonly<Record<(typeof COLUMNS)[number], string>> {
  return {
    layer: layer.name,
    operator: layer.operator,
    rule: layer.rule === 'none' ? '–' : layer.rule === 'move' ? 'moves' : layer.description,
    after: layer.source,
    shape: [layer.inputShape, layer.outputShape]
      .flatMap((dims) => (dims.length === 0 ? [] : [dims.join('×')]))
      .join(' → '),
    depth: layer.depth === undefined ? '' : String(layer.depth),
    forward: multiplyAddsText(layer.forward),
    backward: multiplyAddsText(layer.backward),
    'on the CPU': layer.cpu.join(', '),
  };
}

function offGpuText(list: readonly OffGpu[]): string {
  const text = (known: boolean): string =>
    list
      .filter((entry) => entry.known === known)
      .map(({ operator, nodes }) => `${nodes} × ${operator}`)
      .join(', ');
  const [moved, unknown] = [text(true), text(false)];
  if (moved === '' && unknown === '') return 'WebGPU: all of the graph runs on the GPU';
  const parts = [moved && `on the CPU, with a copy each way: ${moved}`, unknown && `not known: ${unknown}`];
  return `WebGPU: ${parts.filter((part) => part !== '').join('; ')}`;
}

/** A compile report as a table for the terminal: one line per node, then the sums and what canonicalization did. */
export function inspectTable(report: CompileReport): string {
  const rows = report.layers.map(rowOf);
  const total = report.forward === 0 ? 0 : (report.forward + report.backward) / report.forward;
  return `${[
    ...textTable(COLUMNS, rows, RIGHT),
    '',
    `explained: ${report.explained.logits} [${report.explained.shape.join(', ')}]`,
    `multiply-adds: forward ${multiplyAddsText(report.forward)}, backward ${multiplyAddsText(report.backward)}, together ${total.toFixed(2)} × forward`,
    offGpuText(report.offGpu),
    ...report.notes.map((note) => `note: ${note}`),
  ].join('\n')}\n`;
}
