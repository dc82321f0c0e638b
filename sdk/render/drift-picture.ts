import { type Colormap, type ColormapName, colormap } from './colormap.js';
import { differenceMap, magnification } from './difference.js';
import { normalize, normalizer, percentile, type RelevanceMap } from './normalize.js';
import { type Pixels, resample } from './overlay.js';
import { writeText } from './pixel-text.js';
import { blank, cut, gap, ink, legend, line, margin, paint, quiet, size, tinted } from './sheet.js';

/** One frame of a drift picture. */
export interface DriftRow {
  /** the frame as the model sees it: lightness 0…1 of each pixel, of the maps' size */
  readonly picture: RelevanceMap;
  /** relevance in the reference model */
  readonly reference: RelevanceMap;
  /** relevance in the model that is compared with it */
  readonly compared: RelevanceMap;
  /** what is written under it, line by line */
  readonly text: readonly string[];
}

/** Settings of {@link driftPicture}. */
export interface DriftPictureOptions {
  /** what the two models are called, above their columns; default `reference` and `compared` */
  readonly names?: readonly [reference: string, compared: string];
  /** default `seismic` */
  readonly colormap?: ColormapName | Colormap;
  /** width and height that each map is enlarged to at least, in pixels; default 224 */
  readonly side?: number;
}

/**
 * Two models' relevance and its difference side by side, one row for each frame, over the frame in grey: as opaque as the
 * relevance is strong. Both maps of a row have one scale, which is written under the row's colour bar; the difference is magnified by the
 * round number above it, if need be. Plain pixels, so that it is drawn in Node as in a browser.
 */
export function driftPicture(rows: readonly DriftRow[], options: DriftPictureOptions = {}): Pixels {
  const { names = ['reference', 'compared'], side = 224 } = options;
  const chosen = options.colormap ?? 'seismic';
  const colours = typeof chosen === 'string' ? colormap(chosen) : chosen;
  const drawn = rows.map((row) => ({ ...row, ...scaled(row, side) }));
  const width = Math.max(3 * side, ...drawn.map(({ panels }) => 3 * panels[0].width)) + 2 * gap + 2 * margin;
  const heightOf = ({ panels, text }: (typeof drawn)[number]) =>
    line + panels[0].height + gap + Math.max(3, text.length) * line + margin;
  const page = blank(width, 2 * margin + drawn.reduce((sum, row) => sum + heightOf(row), 0) - margin);
  let top = margin;
  for (const row of drawn) {
    const { panels, picture, maximum, times, text } = row;
    const step = panels[0].width + gap;
    const heads = [...names, `difference${times === 1 ? '' : ` × ${times}`}`];
    for (const [column, panel] of panels.entries()) {
      const left = margin + column * step;
      writeText(page, cut(heads[column]!, panel.width), left, top, { colour: ink, size });
      paint(page, tinted(picture, panel, colours), left, top + line);
    }
    const under = top + line + panels[0].height + gap;
    for (const [at, words] of text.entries()) {
      writeText(page, cut(words, 2 * step - gap), margin, under + at * line, {
        colour: at === 0 ? ink : quiet,
        size,
      });
    }
    legend(page, colours, maximum, margin + 2 * step, under, panels[0].width);
    top += heightOf(row);
  }
  return page;
}

/** The three maps of a row on one scale and in one size, and the picture as large. */
function scaled({ picture, reference, compared }: DriftRow, side: number) {
  const factor = Math.max(1, Math.ceil(side / Math.max(1, Math.min(reference.width, reference.height))));
  const [width, height] = [reference.width * factor, reference.height * factor];
  // as on the live page: a few single pixels that stand out must not make the rest invisible
  const scale = normalizer({ scale: { percentile: 99.5 }, joint: true });
  const [first, second] = scale([reference, compared], 0);
  const difference = differenceMap(compared, reference);
  const { maximum } = first!;
  const times = magnification(maximum, percentile(difference, 99.5));
  const large = (map: RelevanceMap) => resample(map, width, height);
  const panels = [large(first!), large(second!), large(normalize(difference, maximum / times))] as const;
  return { panels, picture: large(picture), maximum, times };
}
