import type { Rgb } from './cielab.js';
import type { Pixels } from './overlay.js';

/** Columns and rows of a letter. */
const letter = { width: 5, height: 7 } as const;

/** Seven rows of five pixels, each row a digit of base 32. */
const letters: Readonly<Record<string, string>> = {
  ...{ 0: 'ehjlphe', 1: '4c4444e', 2: 'eh1248v', 3: 'v2421he', 4: '26aiv22' },
  ...{ 5: 'vgu11he', 6: '68guhhe', 7: 'v124888', 8: 'ehhehhe', 9: 'ehhf12c' },
  ...{ A: 'ehhvhhh', B: 'uhhuhhu', C: 'ehggghe', D: 'sihhhis', E: 'vgguggv', F: 'vgguggg', G: 'ehgnhhf' },
  ...{ H: 'hhhvhhh', I: 'e44444e', J: '72222ic', K: 'hikokih', L: 'ggggggv', M: 'hrllhhh', N: 'hhpljhh' },
  ...{ O: 'ehhhhhe', P: 'uhhuggg', Q: 'ehhhlid', R: 'uhhukih', S: 'fgge11u', T: 'v444444', U: 'hhhhhhe' },
  ...{ V: 'hhhhha4', W: 'hhhllla', X: 'hha4ahh', Y: 'hhha444', Z: 'v1248gv' },
  ...{ ' ': '0000000', '.': '00000cc', ',': '0000048', ':': '0cc0cc0', '-': '000v000', '−': '000v000' },
  ...{ '+': '044v440', '±': '44v440v', '×': '0ha4ah0', '=': '00v0v00', '/': '01248g0', '%': 'op248j3' },
  ...{ '(': '2488842', ')': '8422248', _: '000000v', '·': '0004000', '…': '000000l', '→': '042v240', '?': 'eh12404' },
};

/** Settings of {@link writeText}. */
export interface TextOptions {
  /** default black */
  readonly colour?: Rgb;
  /** pixels of the picture per pixel of a letter, ≥ 1; default 1 */
  readonly size?: number;
}

/** Width and height of a text in pixels. */
export function textSize(text: string, size = 1): { readonly width: number; readonly height: number } {
  const { length } = [...text];
  return { width: size * Math.max(0, length * (letter.width + 1) - 1), height: size * letter.height };
}

/**
 * Writes into a picture, where there is no canvas that could: capital letters of five by seven pixels. What has no letter becomes a question
 * mark, and what lies outside of the picture is cut off.
 */
export function writeText(pixels: Pixels, text: string, x: number, y: number, options: TextOptions = {}): void {
  const { colour = [0, 0, 0], size = 1 } = options;
  for (const [place, character] of [...text.toUpperCase()].entries()) {
    const rows = letters[character] ?? letters['?']!;
    const left = x + place * size * (letter.width + 1);
    for (let row = 0; row < letter.height; row++) {
      const bits = Number.parseInt(rows[row]!, 32);
      for (let column = 0; column < letter.width; column++) {
        if ((bits >> (letter.width - 1 - column)) & 1) fill(pixels, left + column * size, y + row * size, size, colour);
      }
    }
  }
}

function fill({ width, height, data }: Pixels, left: number, top: number, size: number, colour: Rgb): void {
  for (let y = Math.max(0, top); y < Math.min(height, top + size); y++) {
    for (let x = Math.max(0, left); x < Math.min(width, left + size); x++)
      data.set([...colour, 255], 4 * (y * width + x));
  }
}
