import type { QuantizationReport, QuantizedLayerReport } from '../quantize/report.js';
import { textTable } from './text-table.js';

const COLUMNS = ['layer', 'operator', 'scheme', 'scale', 'zero', 'clipped', 'SQNR', 'because'] as const;
const RIGHT: readonly (typeof COLUMNS)[number][] = ['scale', 'zero', 'clipped', 'SQNR'];

const decibel = (value: number | undefined): string => (value === undefined ? '' : `${value.toFixed(1)} dB`);

function rowOf(layer: QuantizedLayerReport): Readonly<Record<(typeof COLUMNS)[number], string>> {
  const { saturation } = layer;
  return {
    layer: layer.name,
    operator: layer.operator,
    scheme: layer.scheme,
    scale: layer.scale?.toPrecision(4) ?? '',
    zero: layer.zeroPoint?.toString() ?? '',
    clipped: saturation === undefined ? '' : `${(100 * saturation).toFixed(3)} %`,
    SQNR: decibel(layer.sqnr),
    because: layer.reason ?? '',
  };
}

/** A quantization report as a table for the terminal: one line per layer, then outputs, sizes and notes. */
export function quantizationTable(report: QuantizationReport): string {
  const { original, quantized } = report.bytes;
  const share = ((100 * quantized) / original).toFixed(1);
  return `${[
    ...textTable(COLUMNS, report.layers.map(rowOf), RIGHT),
    '',
    ...report.outputs.map(({ name, sqnr }) => `output ${name}: ${sqnr === undefined ? 'not measured' : decibel(sqnr)}`),
    `frames: ${report.calibrationFrames} for calibration, ${report.measuredFrames} of them measured`,
    `channels equalized before ${report.equalized} layers`,
    `size: ${original} → ${quantized} bytes, ${share} %`,
    ...report.notes.map((note) => `note: ${note}`),
  ].join('\n')}\n`;
}
