import { figure, setText } from '../dom.js';

/** What the colours stand for right now. */
export interface Scale {
  /** relevance at the strongest colour; the scale is symmetric about 0 */
  readonly limit: number;
  /** highest and lowest relevance of a pixel in this frame */
  readonly highest: number;
  readonly lowest: number;
  /** Σ of the positive and of the negative relevance */
  readonly positive: number;
  readonly negative: number;
}

const markup = `
  <canvas width="256" height="1" role="img" aria-label="Colours from most negative to most positive relevance"></canvas>
  <div class="scale number"><span data-part="low"></span><span>0</span><span data-part="high"></span></div>
  <dl class="table">
    <dt>speaks for it, Σ R<sup>+</sup></dt><dd class="number" data-part="positive"></dd>
    <dt>speaks against it, Σ R<sup>−</sup></dt><dd class="number" data-part="negative"></dd>
    <dt>of one pixel</dt><dd class="number" data-part="range"></dd>
  </dl>`;

/** Shows the colour map with numbers under it. `paint` fills an RGBA row from −1 to 1. */
export function legendPanel(box: HTMLElement) {
  box.innerHTML = markup;
  const part = (name: string) => box.querySelector(`[data-part="${name}"]`)!;
  const canvas = box.querySelector('canvas')!;
  return {
    colours(row: Uint8ClampedArray<ArrayBuffer>) {
      canvas.width = row.length / 4;
      canvas.getContext('2d')?.putImageData(new ImageData(row, row.length / 4, 1), 0, 0);
    },
    /** Undefined where there is no relevance to be coloured. */
    show(scale: Scale | undefined) {
      if (scale === undefined) {
        for (const name of ['low', 'high', 'positive', 'negative', 'range']) setText(part(name), '–');
        return;
      }
      const { limit, highest, lowest, positive, negative } = scale;
      setText(part('low'), figure(-limit, 4));
      setText(part('high'), `+${figure(limit, 4)}`);
      setText(part('positive'), `+${figure(positive, 3)}`);
      setText(part('negative'), figure(negative, 3));
      setText(part('range'), `${figure(lowest, 4)} … +${figure(highest, 4)}`);
    },
  };
}
