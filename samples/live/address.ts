import type { DrawingMode, Settings } from './settings.js';

const modes: readonly string[] = ['tint', 'overlay', 'alpha', 'heatmap'] satisfies DrawingMode[];
const devices: readonly string[] = ['auto', 'webgpu', 'wasm'] satisfies Settings['device'][];

/**
 * Settings that the page's address asks for, such as `?model=glyphs-hans&device=wasm`, so that a view can be sent to
 * somebody; what is not known is left as it is.
 */
export function settingsOf(
  search: string,
  known: {
    readonly models: readonly string[];
    readonly composites: readonly string[];
    readonly colorMaps: readonly string[];
  },
): Partial<Settings> {
  const asked = new URLSearchParams(search);
  const one = (name: string, values: readonly string[]) => {
    const value = asked.get(name);
    return value !== null && values.includes(value) ? value : undefined;
  };
  const model = one('model', known.models);
  const composite = one('composite', known.composites);
  const colorMap = one('colours', known.colorMaps);
  const mode = one('show', modes);
  const device = one('device', devices);
  const budget = Number(asked.get('budget'));
  return {
    ...(budget >= 1 && budget <= 10_000 && { budgetMs: budget }),
    ...(model !== undefined && { model: { kind: 'bundled', name: model } }),
    ...(composite !== undefined && { composite }),
    ...(colorMap !== undefined && { colorMap }),
    ...(mode !== undefined && { mode: mode as DrawingMode }),
    ...(device !== undefined && { device: device as Settings['device'] }),
    ...(asked.get('compare') === 'float32' && { compare: true }),
  };
}
