import type { Rgb } from './cielab.js';
import { type Colormap, type ColormapName, colormap, colourOf } from './colormap.js';
import { differenceMap, magnification } from './difference.js';
import { formatRelevance } from './legend.js';
import { normalize, normalizer, percentile, type RelevanceMap } from './normalize.js';
import { type Pixels, resample } from './overlay.js';
import { textSize, writeText } from './pixel-text.js';

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

const [paper, ink, quiet]: readonly Rgb[] = [
  [255, 255, 255],
  [27, 28, 30],
  [98, 101, 107],
];
const margin = 16;
const gap = 8;
const size = 2;
const line = textSize('', size).height + 6;

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
      writeText(page, cut(heads[column]!, panel.width), left, top, { colour: ink!, size });
      paint(page, tinted(picture, panel, colours), left, top + line);
    }
    const under = top + line + panels[0].height + gap;
    for (const [at, words] of text.entries()) {
      writeText(page, cut(words, 2 * step - gap), margin, under + at * line, {
        colour: at === 0 ? ink! : quiet!,
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

/** A map over a grey picture that is paler than any colour of it. */
function tinted(picture: RelevanceMap, map: RelevanceMap, colours: Colormap): Pixels {
  const { width, height } = map;
  const pixels = blank(width, height);
  for (let pixel = 0; pixel < map.data.length; pixel++) {
    const grey = 120 + 135 * Math.min(1, Math.max(0, picture.data[pixel]!));
    const value = map.data[pixel]!;
    const opacity = Math.min(1, Math.abs(value));
    const colour = colourOf(colours, value);
    for (let k = 0; k < 3; k++) pixels.data[4 * pixel + k] = grey * (1 - opacity) + colour[k]! * opacity;
  }
  return pixels;
}

function legend(page: Pixels, colours: Colormap, maximum: number, left: number, top: number, width: number): void {
  const bar = blank(width, textSize('', size).height);
  for (let x = 0; x < width; x++) {
    const colour = colourOf(colours, (2 * x) / (width - 1) - 1);
    for (let y = 0; y < bar.height; y++) bar.data.set([...colour, 255], 4 * (y * width + x));
  }
  paint(page, bar, left, top);
  const lines = [
    [formatRelevance(-maximum), '0', formatRelevance(maximum)],
    ['against', '', 'for it'],
  ] as const;
  for (const [at, [low, middle, high]] of lines.entries()) {
    const wide = (text: string) => textSize(text, size).width;
    const below = top + (at + 1) * line;
    writeText(page, low, left, below, { colour: quiet!, size });
    writeText(page, middle, left + Math.round((width - wide(middle)) / 2), below, { colour: quiet!, size });
    writeText(page, high, left + width - wide(high), below, { colour: quiet!, size });
  }
}

function cut(text: string, width: number): string {
  const letters = Math.floor((width + size) / (textSize('  ', size).width - textSize(' ', size).width));
  const characters = [...text];
  return characters.length <= letters ? text : `${characters.slice(0, letters - 1).join('')}…`;
}

function blank(width: number, height: number): Pixels {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let at = 0; at < data.length; at += 4) data.set([...paper!, 255], at);
  return { width, height, data };
}

function paint(page: Pixels, pixels: Pixels, left: number, top: number): void {
  for (let y = 0; y < pixels.height; y++) {
    const row = pixels.data.subarray(4 * y * pixels.width, 4 * (y + 1) * pixels.width);
    page.data.set(row, 4 * ((top + y) * page.width + left));
  }
}
