import type { Rgb } from './cielab.js';
import { type Colormap, colourOf } from './colormap.js';
import { formatRelevance } from './legend.js';
import type { RelevanceMap } from './normalize.js';
import type { Pixels } from './overlay.js';
import { textSize, writeText } from './pixel-text.js';

const paper: Rgb = [255, 255, 255];
/** Colour of what is read first. */
export const ink: Rgb = [27, 28, 30];
/** Colour of what is read after it. */
export const quiet: Rgb = [98, 101, 107];
/** White around a sheet, in pixels. */
export const margin = 16;
/** White between panels, in pixels. */
export const gap = 8;
/** Pixels to a dot of a letter. */
export const size = 2;
/** Height of a line of text, in pixels. */
export const line = textSize('', size).height + 6;

/** A map over a grey picture that is paler than any colour of it. */
export function tinted(picture: RelevanceMap, map: RelevanceMap, colours: Colormap): Pixels {
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

/** A bar of all colours with the numbers of its ends and middle under it, and what they mean. */
export function legend(
  page: Pixels,
  colours: Colormap,
  maximum: number,
  left: number,
  top: number,
  width: number,
): void {
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
    writeText(page, low, left, below, { colour: quiet, size });
    writeText(page, middle, left + Math.round((width - wide(middle)) / 2), below, { colour: quiet, size });
    writeText(page, high, left + width - wide(high), below, { colour: quiet, size });
  }
}

/** A text that is no wider than so many pixels. */
export function cut(text: string, width: number): string {
  const letters = Math.floor((width + size) / (textSize('  ', size).width - textSize(' ', size).width));
  const characters = [...text];
  return characters.length <= letters ? text : `${characters.slice(0, letters - 1).join('')}…`;
}

/** A white sheet. */
export function blank(width: number, height: number): Pixels {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let at = 0; at < data.length; at += 4) data.set([...paper, 255], at);
  return { width, height, data };
}

/** Lays pixels on a sheet. */
export function paint(page: Pixels, pixels: Pixels, left: number, top: number): void {
  for (let y = 0; y < pixels.height; y++) {
    const row = pixels.data.subarray(4 * y * pixels.width, 4 * (y + 1) * pixels.width);
    page.data.set(row, 4 * ((top + y) * page.width + left));
  }
}
