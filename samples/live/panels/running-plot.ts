import uPlot from 'uplot';

const height = 104;

/** How a plot looks in the page's colours. */
export interface PlotStyle {
  /** a custom property of the style sheet as a colour that a canvas understands */
  readonly colour: (name: string) => string;
  readonly axis: uPlot.Axis;
}

/**
 * A plot of numbers that run on, in the colours of the page, as wide as its box; it is drawn anew at most once per frame of the
 * screen.
 */
export function runningPlot(
  box: HTMLElement,
  describe: (style: PlotStyle) => Omit<uPlot.Options, 'width' | 'height'>,
  data: () => uPlot.AlignedData,
): { update(): void } {
  const draw = (): uPlot => {
    const style = getComputedStyle(box);
    const colour = (name: string) => resolved(box, `var(--${name})`);
    const axis: uPlot.Axis = {
      stroke: colour('quiet'),
      font: `11px ${style.fontFamily}`,
      grid: { stroke: colour('line'), width: 1 },
      ticks: { show: false },
    };
    const common = { width: Math.max(120, box.clientWidth), height, legend: { show: false }, cursor: { show: false } };
    return new uPlot({ ...common, ...describe({ colour, axis }) }, data(), box);
  };
  let plot = draw();
  let scheduled = false;
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    plot.destroy();
    plot = draw();
  });
  new ResizeObserver(() => {
    if (Math.abs(plot.width - box.clientWidth) > 1) plot.setSize({ width: box.clientWidth, height });
  }).observe(box);
  return {
    update() {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        plot.setData(data());
      });
    },
  };
}

/** A CSS colour as a canvas understands it: `var()` and `light-dark()` are resolved by the style engine. */
function resolved(near: Element, colour: string): string {
  const probe = document.createElement('i');
  probe.style.color = colour;
  near.append(probe);
  const result = getComputedStyle(probe).color;
  probe.remove();
  return result;
}
