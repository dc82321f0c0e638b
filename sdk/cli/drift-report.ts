import type { FrameDrift } from '../evaluation/drift.js';
import type { AgreementSummary, Distribution, DriftSummary } from '../evaluation/drift-summary.js';
import type { ModelMatch } from '../evaluation/model-match.js';
import { json } from './files.js';
import { textTable } from './text-table.js';

/** Everything that was compared. */
export interface DriftReport {
  /** file of the model that is the standard */
  readonly reference: string;
  /** file of the model that was compared with it */
  readonly compared: string;
  readonly match: ModelMatch;
  readonly summary: DriftSummary;
  readonly frames: readonly (FrameDrift & { readonly file: string })[];
}

const figure = (value: number, digits = 4): string =>
  Number.isFinite(value) ? value.toFixed(digits).replace('-', '−') : '–';
const percent = (share: number): string => (Number.isFinite(share) ? `${figure(100 * share, 1)} %` : '–');

const COLUMNS = ['', 'mean', 'median', 'worst', 'in', 'all pixels'] as const;
const LAYER_COLUMNS = ['layer', 'shape', 'cosine', 'Spearman', 'top 1 %', 'top 10 %', 'sides changed'] as const;

/** The figures as tables for the terminal: over all pictures, then layer by layer from the input to the logits. */
export function driftTable({ reference, compared, match, summary, frames }: DriftReport): string {
  const { map, layers, logit, decisionsChanged } = summary;
  const row = (name: string, values: Distribution, write: (value: number) => string, pooled?: number) => ({
    '': name,
    mean: write(values.mean),
    median: write(values.median),
    worst: values.worst === undefined ? '–' : write(values.worst.value),
    in: values.worst === undefined ? '' : fileOf(frames, values.worst.timestamp),
    'all pixels': pooled === undefined ? '' : write(pooled),
  });
  const { pooled } = map;
  const figures = [
    row('cosine', map.cosine, figure, pooled.cosine),
    row('Spearman', map.spearman, figure, pooled.spearman),
    row('top 1 % shared', map.top1, percent, pooled.top1),
    row('top 10 % shared', map.top10, percent, pooled.top10),
    row('pixels that changed sides', map.signFlips.elements, percent, pooled.signFlips.elements),
    row('relevance that changed sides', map.signFlips.relevance, percent, pooled.signFlips.relevance),
    row('change of the logit', logit.absolute, figure),
    row('… relative', logit.relative, percent),
  ];
  const rows = layers.map((layer) => ({
    layer: layer.reference === layer.compared ? layer.reference : `${layer.reference} → ${layer.compared}`,
    shape: layer.shape.join('×'),
    cosine: figure(meanOf(layer).cosine),
    Spearman: figure(meanOf(layer).spearman),
    'top 1 %': percent(meanOf(layer).top1),
    'top 10 %': percent(meanOf(layer).top10),
    'sides changed': percent(layer.signFlips.relevance.mean),
  }));
  const unmatched = [...match.unmatched.reference, ...match.unmatched.compared];
  const byPosition = layers.filter(({ matchedBy }) => matchedBy === 'position').length;
  return `${[
    `${compared} against ${reference}: ${summary.frames} pictures, ${decisionsChanged === 0 ? 'the same decisions' : `${decisionsChanged} of them decided otherwise`}`,
    '',
    ...textTable(COLUMNS, figures, ['mean', 'median', 'worst', 'all pixels']),
    ...(rows.length === 0
      ? []
      : [
          '',
          ...textTable(LAYER_COLUMNS, rows, LAYER_COLUMNS.slice(2)),
          '',
          `layers: ${layers.length - byPosition} matched by name, ${byPosition} by position; means over the pictures`,
        ]),
    ...(unmatched.length === 0 ? [] : [`without a counterpart: ${unmatched.join(', ')}`]),
  ].join('\n')}\n`;
}

function meanOf({ cosine, spearman, top1, top10 }: AgreementSummary) {
  return { cosine: cosine.mean, spearman: spearman.mean, top1: top1.mean, top10: top10.mean };
}

function fileOf(frames: DriftReport['frames'], timestamp: number): string {
  return frames.find((frame) => frame.timestamp === timestamp)?.file ?? '';
}

/** The report without what JSON cannot hold, and with files for timestamps. */
export function driftJson(report: DriftReport): string {
  const fileAt = (timestamp: number) => report.frames.find((frame) => frame.timestamp === timestamp)?.file;
  return json(report, (key, value) => {
    if (key === 'weights' || key === 'timestamp') return undefined;
    if (key !== 'worst' || value === undefined) return value;
    const worst = value as { readonly value: number; readonly timestamp: number };
    return { value: worst.value, file: fileAt(worst.timestamp) };
  });
}
