import { type Colormap, type ColormapName, colormap } from './colormap.js';
import { normalizer, type RelevanceMap } from './normalize.js';
import { type Pixels, resample } from './overlay.js';
import { writeText } from './pixel-text.js';
import { blank, cut, gap, ink, legend, line, margin, paint, quiet, size, tinted } from './sheet.js';

/** What an explanation picture shows. */
export interface ExplainedPicture {
  /** what the model saw: lightness 0…1 of each pixel, of the map's size */
  readonly picture: RelevanceMap;
  /** relevance of each pixel */
  readonly relevance: RelevanceMap;
  /** what is written under it, line by line */
  readonly text: readonly string[];
}

/** Settings of {@link explanationPicture}. */
export interface ExplanationPictureOptions {
  /** default `seismic` */
  readonly colormap?: ColormapName | Colormap;
  /** width and height that both panels are enlarged to at least, in pixels; default 320 */
  readonly side?: number;
}

/**
 * What a model saw, and beside it the relevance of its pixels over the same picture, paler: as opaque as the relevance is strong, with
 * the scale under it. One pixel in 200 may be off the scale, so that a few that stand out do not make the rest invisible.
 */
export function explanationPicture(
  { picture, relevance, text }: ExplainedPicture,
  options: ExplanationPictureOptions = {},
): Pixels {
  const { side = 320 } = options;
  const chosen = options.colormap ?? 'seismic';
  const colours = typeof chosen === 'string' ? colormap(chosen) : chosen;
  const factor = Math.max(1, Math.ceil(side / Math.max(1, Math.min(relevance.width, relevance.height))));
  const [width, height] = [relevance.width * factor, relevance.height * factor];
  const [map] = normalizer({ scale: { percentile: 99.5 } })([relevance], 0);
  const shown = resample(picture, width, height);
  const under = margin + height + gap;
  const lines = Math.max(3, text.length);
  const sheet = blank(2 * width + gap + 2 * margin, under + lines * line + margin);
  paint(sheet, grey(shown), margin, margin);
  paint(sheet, tinted(shown, resample(map!, width, height), colours), margin + width + gap, margin);
  for (const [at, words] of text.entries()) {
    writeText(sheet, cut(words, width), margin, under + at * line, { colour: at === 0 ? ink : quiet, size });
  }
  legend(sheet, colours, map!.maximum, margin + width + gap, under, width);
  return sheet;
}

function grey({ width, height, data }: RelevanceMap): Pixels {
  const pixels = blank(width, height);
  for (const [at, lightness] of data.entries())
    pixels.data.fill(255 * Math.min(1, Math.max(0, lightness)), 4 * at, 4 * at + 3);
  return pixels;
}
