import { type Colormap, type ColormapName, colormap, colourOf } from './colormap.js';
import type { AnyContext, Rectangle } from './overlay.js';

/** What a legend says. */
export interface LegendOptions {
  /** the colours of the heatmap */
  readonly colormap: ColormapName | Colormap;
  /** the relevance that has the outermost colours, in `unit`; ≥ 0 */
  readonly maximum: number;
  /** default `logit`: relevance is measured in what the model gives before its softmax */
  readonly unit?: string;
  /** what the colours show; default `relevance` */
  readonly title?: string;
}

/** Settings of {@link drawLegend}. */
export interface DrawLegendOptions extends LegendOptions {
  /** where the colour bar goes with its text below; at least about 160 × 32 pixels */
  readonly place: Rectangle;
  /** of the text; default `#fff` */
  readonly textColour?: string;
  /** a CSS font; default 12 pixels, sans-serif */
  readonly font?: string;
}

/**
 * A relevance for a legend: three significant digits, a true minus sign, and a sign for everything but zero. Not a number is `–`.
 */
export function formatRelevance(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const magnitude = Math.abs(value);
  if (magnitude === 0) return '0';
  const digits =
    magnitude >= 1e5 || magnitude < 1e-3
      ? magnitude.toExponential(2).replace('e+', 'e').replace('e-', 'e−')
      : Number(magnitude.toPrecision(3)).toString();
  return `${value < 0 ? '−' : '+'}${digits}`;
}

/** Draws a colour bar from −maximum over 0 to +maximum with its numbers and unit. */
export function drawLegend(context: AnyContext, options: DrawLegendOptions): void {
  const { place, maximum, unit = 'logit', title = 'relevance' } = options;
  const colours = typeof options.colormap === 'string' ? colormap(options.colormap) : options.colormap;
  const textHeight = 16;
  const barHeight = Math.max(4, place.height - textHeight);
  context.save();
  const steps = Math.max(2, Math.round(place.width));
  for (let step = 0; step < steps; step++) {
    const [red, green, blue] = colourOf(colours, (2 * step) / (steps - 1) - 1);
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    // one pixel wider, so that no seam shows between two of them
    context.fillRect(
      place.x + (step * place.width) / steps,
      place.y,
      place.width / steps + (step < steps - 1 ? 1 : 0),
      barHeight,
    );
  }
  context.font = options.font ?? '12px system-ui, sans-serif';
  context.fillStyle = options.textColour ?? '#fff';
  context.textBaseline = 'bottom';
  const baseline = place.y + place.height;
  for (const [text, align, at] of labels(maximum, unit, title)) {
    context.textAlign = align;
    context.fillText(text, place.x + at * place.width, baseline);
  }
  context.restore();
}

function labels(
  maximum: number,
  unit: string,
  title: string,
): readonly (readonly [text: string, align: 'left' | 'center' | 'right', at: number])[] {
  return [
    [formatRelevance(-maximum), 'left', 0],
    [`0 · ${title} (${unit})`, 'center', 0.5],
    [formatRelevance(maximum), 'right', 1],
  ];
}

/** The same as an SVG of 240 × 40 units without scripts or inline style, its text in the page's current colour. */
export function legendSvg(options: LegendOptions): string {
  const { maximum, unit = 'logit', title = 'relevance' } = options;
  const colours = typeof options.colormap === 'string' ? colormap(options.colormap) : options.colormap;
  const stops = Array.from({ length: 33 }, (_, i) => {
    const [red, green, blue] = colourOf(colours, i / 16 - 1);
    return `<stop offset="${i / 32}" stop-color="rgb(${red},${green},${blue})"/>`;
  }).join('');
  const anchors = { left: 'start', center: 'middle', right: 'end' } as const;
  const texts = labels(maximum, unit, title)
    .map(
      ([text, align, at]) =>
        `<text x="${at * 240}" y="36" text-anchor="${anchors[align]}" font-size="11" font-family="system-ui, sans-serif" fill="currentColor">${escapeXml(text)}</text>`,
    )
    .join('');
  const name = escapeXml(`${title}, ${formatRelevance(-maximum)} to ${formatRelevance(maximum)} ${unit}`);
  // the gradient's id is the map's own: two legends of one page may share it, they hold the same
  const id = `whylight-${colours.name}`;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 40" role="img" aria-label="${name}">` +
    `<defs><linearGradient id="${id}">${stops}</linearGradient></defs>` +
    `<rect width="240" height="20" fill="url(#${id})"/>${texts}</svg>`
  );
}

function escapeXml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}
