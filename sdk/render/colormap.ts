import { WhylightError } from '../errors.js';
import { type Lab, labToRgb, type Rgb, rgbToLab } from './cielab.js';

/** Names of the colour maps. */
export type ColormapName = 'seismic' | 'jet' | 'black-firered' | 'vik' | 'coolwarm';

/** How relevance becomes colour. The zero is always in the middle: relevance has a sign, and no relevance is its own colour. */
export interface Colormap {
  /** what it is asked for by */
  readonly name: ColormapName;
  /**
   * 257 colours as RGBA, 0…255, for relevance −1 … +1 in steps of 1/128: entry 128, four bytes from `4 * 128` on, is exactly
   * zero. Alpha is 255 throughout.
   */
  readonly table: Uint8ClampedArray<ArrayBuffer>;
  /** whether equal steps of relevance look equally large, so that the picture shows no edges that are not in the data */
  readonly uniform: boolean;
}

/** Entry of zero relevance in {@link Colormap.table}. */
export const zeroEntry = 128;

/** A colour for relevance −1…1. */
type Formula = (relevance: number) => Rgb;

interface Definition {
  readonly formula: Formula;
  readonly uniform: boolean;
}

// The first three are those of Lapuschkin 2019, figure 2.5; the other two are perceptually uniform.
const definitions: Readonly<Record<ColormapName, Definition>> = {
  /** blue – white – red; control points of matplotlib's map of that name (licence: PSF-compatible) */
  seismic: { formula: piecewise(['#00004c', '#0000ff', '#ffffff', '#ff0000', '#800000']), uniform: false },

  /** blue – cyan – green – yellow – red, zero at green; the classic formula, whose three triangles are symmetric about zero */
  jet: {
    formula: (relevance) => {
      const triangle = (centre: number) => 255 * clamp01(1.5 - Math.abs(2 * relevance - centre));
      return [triangle(1), triangle(0), triangle(-1)];
    },
    uniform: false,
  },

  /**
   * cyan – blue – black – red – yellow, for strong contrast on dark pages. As "black-firered" of the LRP toolbox, but
   * without its last step to white, at which the signs could no longer be told apart.
   */
  'black-firered': { formula: piecewise(['#00ffff', '#0000ff', '#000000', '#ff0000', '#ffff00']), uniform: false },

  /**
   * dark blue – nearly white – dark red: `vik` of F. Crameri, Scientific colour maps (doi:10.5281/zenodo.1243862, MIT), from
   * eleven of its 256 colours
   */
  vik: {
    formula: piecewise(
      [
        ...['#001261', '#023a7b', '#116496', '#5496b7', '#a7c9da'],
        '#ece5e0',
        ...['#e1b8a0', '#cd8961', '#b75a26', '#852206', '#590008'],
      ],
      'lab',
    ),
    uniform: true,
  },

  /** blue – grey – red: K. Moreland, Diverging Color Maps for Scientific Visualization (2009), by his formula */
  coolwarm: { formula: moreland([59, 76, 192], [180, 4, 38]), uniform: true },
};

const made = new Map<ColormapName, Colormap>();

/** All names, those of the thesis first. */
export const colormaps: readonly ColormapName[] = Object.keys(definitions) as ColormapName[];

/**
 * The colour map of that name; made once.
 *
 * @throws {@link WhylightError} OPTION_INVALID for any other name
 */
export function colormap(name: ColormapName): Colormap {
  const known = made.get(name);
  if (known !== undefined) return known;
  const definition = Object.hasOwn(definitions, name) ? definitions[name] : undefined;
  if (definition === undefined) {
    throw new WhylightError('OPTION_INVALID', `There is no colour map "${name}"; there are ${colormaps.join(', ')}.`, {
      details: { field: 'colormap', value: String(name) },
    });
  }
  const table = new Uint8ClampedArray(4 * (2 * zeroEntry + 1));
  for (let entry = 0; entry <= 2 * zeroEntry; entry++) {
    table.set([...definition.formula((entry - zeroEntry) / zeroEntry), 255], 4 * entry);
  }
  const colours: Colormap = { name, table, uniform: definition.uniform };
  made.set(name, colours);
  return colours;
}

/** The colour of a relevance of −1…1; values outside are cut off, NaN is zero. */
export function colourOf({ table }: Colormap, relevance: number): Rgb {
  const at = 4 * entryOf(relevance);
  return [table[at]!, table[at + 1]!, table[at + 2]!];
}

/** The entry of a relevance in a colour map's table. */
export function entryOf(relevance: number): number {
  // NaN fails both comparisons and is no relevance
  if (relevance >= 1) return 2 * zeroEntry;
  if (relevance <= -1) return 0;
  // rounded by magnitude: r and −r are equally far from the middle
  return zeroEntry + Math.sign(relevance || 0) * Math.round(zeroEntry * Math.abs(relevance || 0));
}

/** Colours at equal distances, with straight lines between them in sRGB or in CIELAB. */
function piecewise(stops: readonly string[], space: 'srgb' | 'lab' = 'srgb'): Formula {
  const points = stops.map((stop) => {
    const rgb: Rgb = [1, 3, 5].map((at) => Number.parseInt(stop.slice(at, at + 2), 16)) as unknown as Rgb;
    return space === 'lab' ? rgbToLab(rgb) : rgb;
  });
  const last = points.length - 1;
  return (relevance) => {
    const position = clamp01((relevance + 1) / 2) * last;
    const from = Math.min(last - 1, Math.floor(position));
    const mixed = mix(points[from]!, points[from + 1]!, position - from);
    return space === 'lab' ? labToRgb(mixed) : mixed;
  };
}

/** Moreland's Msh: CIELAB in polar coordinates, with the angle to the lightness axis as saturation. */
interface Msh {
  readonly magnitude: number;
  readonly saturation: number;
  readonly hue: number;
}

function moreland(negative: Rgb, positive: Rgb): Formula {
  const cold = toMsh(rgbToLab(negative));
  const warm = toMsh(rgbToLab(positive));
  const magnitude = Math.max(cold.magnitude, warm.magnitude, 88);
  return (relevance) => {
    const end = relevance < 0 ? cold : warm;
    const t = Math.abs(relevance);
    return labToRgb(
      fromMsh({
        magnitude: magnitude + (end.magnitude - magnitude) * t,
        saturation: end.saturation * t,
        // towards grey the hue turns, so that equal steps stay equally large
        hue: end.hue + hueSpin(end, magnitude) * (1 - t),
      }),
    );
  };
}

function hueSpin({ magnitude, saturation, hue }: Msh, unsaturated: number): number {
  if (magnitude >= unsaturated) return 0;
  const spin = (saturation * Math.sqrt(unsaturated ** 2 - magnitude ** 2)) / (magnitude * Math.sin(saturation));
  return hue > -Math.PI / 3 ? spin : -spin; // away from purple
}

function toMsh([lightness, a, b]: Lab): Msh {
  const magnitude = Math.hypot(lightness, a, b);
  return { magnitude, saturation: Math.acos(lightness / magnitude), hue: Math.atan2(b, a) };
}

function fromMsh({ magnitude, saturation, hue }: Msh): Lab {
  return [
    magnitude * Math.cos(saturation),
    magnitude * Math.sin(saturation) * Math.cos(hue),
    magnitude * Math.sin(saturation) * Math.sin(hue),
  ];
}

type Triple = readonly [number, number, number];

function mix(a: Triple, b: Triple, t: number): Triple {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t];
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}
