/** One line of a plot. */
export interface Line {
  readonly label: string;
  readonly colour: string;
  /** x and y of every point */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** dots instead of a line */
  readonly dots?: boolean;
  /** against an axis of its own on the right */
  readonly right?: boolean;
}

/** A plot of lines over a common x-axis. */
export interface Plot {
  readonly title: string;
  readonly x: string;
  readonly left: string;
  readonly right?: string;
  readonly lines: readonly Line[];
  /** marked on the x-axis, from where on something was so */
  readonly marks?: readonly (readonly [x: number, label: string])[];
}

const [width, height] = [960, 360];
const margin = { left: 64, right: 72, top: 44, bottom: 48 };

/** A plot as an SVG file. */
export function svgPlot({ title, x, left, right, lines, marks = [] }: Plot): string {
  const xs = lines.flatMap(({ points }) => points.map(([at]) => at));
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const across = (at: number) =>
    margin.left + ((at - first) / Math.max(1e-9, last - first)) * (width - margin.left - margin.right);
  const top = (side: boolean) =>
    nice(
      Math.max(
        1e-9,
        ...lines.filter((line) => (line.right ?? false) === side).flatMap(({ points }) => points.map(([, y]) => y)),
      ),
    );
  const up = (value: number, side: boolean) =>
    height - margin.bottom - (value / top(side)) * (height - margin.top - margin.bottom);
  const text = (at: number, y: number, what: string, more = '') =>
    `<text x="${at.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escaped(what)}</text>`;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const parts = [
    text(margin.left, 20, title, 'font-weight="600"'),
    ...ticks.flatMap((share) => {
      const y = up(share * top(false), false);
      return [
        `<path d="M${margin.left} ${y}H${width - margin.right}" stroke="#ddd"/>`,
        text(margin.left - 6, y + 4, label(share * top(false)), 'text-anchor="end"'),
        ...(right === undefined ? [] : [text(width - margin.right + 6, y + 4, label(share * top(true)))]),
      ];
    }),
    ...ticks.map((share) =>
      text(
        across(first + share * (last - first)),
        height - margin.bottom + 18,
        label(first + share * (last - first)),
        'text-anchor="middle"',
      ),
    ),
    text(width / 2, height - 8, x, 'text-anchor="middle"'),
    text(14, height / 2, left, `text-anchor="middle" transform="rotate(-90 14 ${height / 2})"`),
    ...(right === undefined
      ? []
      : [
          text(
            width - 12,
            height / 2,
            right,
            `text-anchor="middle" transform="rotate(90 ${width - 12} ${height / 2})"`,
          ),
        ]),
    ...marks.flatMap(([at, what]) => [
      `<path d="M${across(at)} ${margin.top}V${height - margin.bottom}" stroke="#999" stroke-dasharray="3 3"/>`,
      text(across(at) + 3, margin.top + 10, what, 'font-size="10" fill="#666"'),
    ]),
    ...lines.flatMap(({ points, colour, dots = false, right: side = false }) =>
      dots
        ? points.map(
            ([at, y]) =>
              `<circle cx="${across(at).toFixed(1)}" cy="${up(y, side).toFixed(1)}" r="1.4" fill="${colour}"/>`,
          )
        : [
            `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map(([at, y]) => `${across(at).toFixed(1)},${up(y, side).toFixed(1)}`).join(' ')}"/>`,
          ],
    ),
    ...lines.map((line, index) => text(margin.left + 4 + 180 * index, 36, line.label, `fill="${line.colour}"`)),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12"><title>${escaped(title)}</title><rect width="100%" height="100%" fill="#fff"/>${parts.join('\n')}</svg>\n`;
}

/** The next of 1, 2, 4, 8, 10 … that is no less: four parts of it are numbers that one reads. */
function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 4, 8, 10].find((step) => step * power >= value) ?? 10);
}

function label(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
