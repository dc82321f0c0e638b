import { describe, expect, test } from 'vitest';
import { labToRgb, rgbToLab } from '../../../sdk/render/cielab.js';
import { type ColormapName, colormap, colormaps, colourOf, entryOf, zeroEntry } from '../../../sdk/render/colormap.js';

/** CIE 1976 L* of an sRGB colour, written out again from the definition. */
function lightness([red, green, blue]: readonly [number, number, number]): number {
  const [r, g, b] = [red, green, blue].map((v) =>
    v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4,
  );
  const y = 0.2126729 * r! + 0.7151522 * g! + 0.072175 * b!;
  return y > 216 / 24389 ? 116 * Math.cbrt(y) - 16 : (24389 / 27) * y;
}

const steps = Array.from({ length: 257 }, (_, i) => (i - 128) / 128);

describe('every colour map', () => {
  test.each(colormaps)('%s has 257 opaque colours and zero in the middle', (name) => {
    const map = colormap(name);
    expect(map.name).toBe(name);
    expect(map.table).toHaveLength(4 * 257);
    for (let alpha = 3; alpha < map.table.length; alpha += 4) expect(map.table[alpha]).toBe(255);
    expect(entryOf(0)).toBe(zeroEntry);
    expect([...map.table.slice(4 * 128, 4 * 128 + 3)]).toEqual(colourOf(map, 0));
  });

  test.each(colormaps)('%s gives NaN the colour of zero and cuts off outside −1…1', (name) => {
    const map = colormap(name);
    expect(colourOf(map, Number.NaN)).toEqual(colourOf(map, 0));
    expect(colourOf(map, 7)).toEqual(colourOf(map, 1));
    expect(colourOf(map, Number.NEGATIVE_INFINITY)).toEqual(colourOf(map, -1));
  });

  test.each(colormaps)('%s tells plus from minus at every strength', (name) => {
    const map = colormap(name);
    for (const strength of steps.filter((r) => r > 0.02)) {
      const [plus, minus] = [rgbToLab(colourOf(map, strength)), rgbToLab(colourOf(map, -strength))];
      expect(Math.hypot(plus[1] - minus[1], plus[2] - minus[2])).toBeGreaterThan(2);
      // warm is for, cold is against
      expect(colourOf(map, strength)[0]).toBeGreaterThan(colourOf(map, -strength)[0]);
    }
  });

  test('entries are symmetric about zero', () => {
    for (const r of [0, 1 / 256, 0.1, 0.3, 0.5, 127.5 / 128, 1]) expect(entryOf(r) - 128).toBe(128 - entryOf(-r));
  });

  test('an unknown name is an error that lists the known ones', () => {
    expect(() => colormap('viridis' as ColormapName)).toThrow(/no colour map "viridis".*seismic, jet, black-firered/);
    expect(() => colormap('toString' as ColormapName)).toThrow(/no colour map/);
  });
});

describe('the maps of the thesis', () => {
  test('seismic: white at zero, blue below, red above, by its control points', () => {
    const map = colormap('seismic');
    expect(colourOf(map, 0)).toEqual([255, 255, 255]);
    expect(colourOf(map, 0.5)).toEqual([255, 0, 0]);
    expect(colourOf(map, -0.5)).toEqual([0, 0, 255]);
    expect(colourOf(map, 1)).toEqual([128, 0, 0]);
    expect(colourOf(map, -1)).toEqual([0, 0, 76]);
  });

  test('jet: green at zero, and red mirrors blue', () => {
    const map = colormap('jet');
    expect(colourOf(map, 0)).toEqual([128, 255, 128]);
    for (const r of steps) {
      const [red, green, blue] = colourOf(map, r);
      expect(colourOf(map, -r)).toEqual([blue, green, red]);
    }
    expect(colourOf(map, 0.25)).toEqual([255, 255, 0]);
    expect(colourOf(map, 0.75)).toEqual([255, 0, 0]);
  });

  test('black-firered: black at zero, red then yellow above, blue then cyan below', () => {
    const map = colormap('black-firered');
    expect(colourOf(map, 0)).toEqual([0, 0, 0]);
    expect(colourOf(map, 0.5)).toEqual([255, 0, 0]);
    expect(colourOf(map, 1)).toEqual([255, 255, 0]);
    for (const r of steps) {
      const [red, green, blue] = colourOf(map, r);
      expect(colourOf(map, -r)).toEqual([blue, green, red]);
    }
  });
});

describe('the uniform maps', () => {
  const uniform = colormaps.filter((name) => colormap(name).uniform);

  test('are vik and coolwarm', () => expect(uniform).toEqual(['vik', 'coolwarm']));

  test.each(uniform)('%s is lightest at zero and only darkens away from it', (name) => {
    const map = colormap(name);
    const side = (sign: number) => steps.filter((r) => r >= 0).map((r) => lightness(colourOf(map, sign * r)));
    for (const levels of [side(1), side(-1)]) {
      for (let i = 1; i < levels.length; i++) {
        // 8-bit rounding moves L* by at most 0.4 (green carries 72 % of the luminance)
        expect(levels[i]!).toBeLessThan(levels[i - 1]! + 0.4);
      }
      expect(levels[0]! - levels.at(-1)!).toBeGreaterThan(40);
    }
  });

  test.each(uniform)('%s takes equal steps on both sides of zero', (name) => {
    const map = colormap(name);
    const pace = (sign: number) => {
      let length = 0;
      for (let r = 0; r < 1; r += 1 / 16) {
        const [a, b] = [rgbToLab(colourOf(map, sign * r)), rgbToLab(colourOf(map, sign * (r + 1 / 16)))];
        length += Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
      }
      return length;
    };
    expect(pace(1) / pace(-1)).toBeGreaterThan(0.7);
    expect(pace(1) / pace(-1)).toBeLessThan(1.45);
  });

  test('coolwarm has its published ends and a grey without a hue in the middle', () => {
    const map = colormap('coolwarm');
    expect(colourOf(map, -1)).toEqual([59, 76, 192]);
    expect(colourOf(map, 1)).toEqual([180, 4, 38]);
    const [red, green, blue] = colourOf(map, 0);
    expect([red - green, green - blue]).toEqual([0, 0]);
    expect(lightness([red, green, blue])).toBeCloseTo(88, 0);
  });

  test('vik passes through its published colours', () => {
    const map = colormap('vik');
    expect(colourOf(map, -1)).toEqual([0x00, 0x12, 0x61]);
    expect(colourOf(map, 0)).toEqual([0xec, 0xe5, 0xe0]);
    expect(colourOf(map, 1)).toEqual([0x59, 0x00, 0x08]);
  });
});

describe('CIELAB', () => {
  test('knows white, black and mid grey', () => {
    for (const [rgb, l] of [
      [[255, 255, 255], 100],
      [[0, 0, 0], 0],
      [[119, 119, 119], 50.034],
    ] as const) {
      const lab = rgbToLab(rgb);
      expect(lab[0]).toBeCloseTo(l, 2);
      expect(Math.hypot(lab[1], lab[2])).toBeLessThan(0.02);
    }
  });

  test('there and back is the same colour', () => {
    for (let i = 0; i < 512; i++) {
      const rgb = [(i * 37) % 256, (i * 91) % 256, (i * 151) % 256] as const;
      expect(labToRgb(rgbToLab(rgb))).toEqual([...rgb]);
    }
  });
});
