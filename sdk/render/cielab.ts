/** A colour as red, green and blue, each 0…255. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** A colour in CIELAB under D65: lightness 0…100, a towards red, b towards yellow. */
export type Lab = readonly [lightness: number, a: number, b: number];

const whiteD65 = [0.95047, 1, 1.08883] as const;

/** sRGB (IEC 61966-2-1) → CIELAB. */
export function rgbToLab([red, green, blue]: Rgb): Lab {
  const [r, g, b] = [linear(red), linear(green), linear(blue)];
  const x = fromXyz((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / whiteD65[0]);
  const y = fromXyz((0.2126729 * r + 0.7151522 * g + 0.072175 * b) / whiteD65[1]);
  const z = fromXyz((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / whiteD65[2]);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** CIELAB → sRGB, rounded and cut off at the edge of what a screen can show. */
export function labToRgb([lightness, a, b]: Lab): Rgb {
  const fy = (lightness + 16) / 116;
  const x = whiteD65[0] * toXyz(fy + a / 500);
  const y = whiteD65[1] * toXyz(fy);
  const z = whiteD65[2] * toXyz(fy - b / 200);
  return [
    companded(3.2404542 * x - 1.5371385 * y - 0.4985314 * z),
    companded(-0.969266 * x + 1.8760108 * y + 0.041556 * z),
    companded(0.0556434 * x - 0.2040259 * y + 1.0572252 * z),
  ];
}

const edge = 6 / 29;

function fromXyz(t: number): number {
  return t > edge ** 3 ? Math.cbrt(t) : t / (3 * edge ** 2) + 4 / 29;
}

function toXyz(t: number): number {
  return t > edge ? t ** 3 : 3 * edge ** 2 * (t - 4 / 29);
}

function linear(channel: number): number {
  const c = channel / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
}

function companded(c: number): number {
  const value = c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, value)));
}
