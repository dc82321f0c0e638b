// temporary
import type { Explanation } from '../../sdk/index.js';
import type { Scale } from './panels/legend.js';
import type { Settings } from './settings.js';

export function createPainter() {
  const pixels = (explanation: Explanation) => {
    const r = Object.values(explanation.relevance)[0]!;
    const [, , height, width] = r.dims as [number, number, number, number];
    const sums = new Float32Array(width * height);
    for (let c = 0; c < r.data.length / sums.length; c++)
      for (let i = 0; i < sums.length; i++) sums[i]! += r.data[c * sums.length + i]!;
    return { sums, width, height };
  };
  return {
    colorMaps: ['seismic'],
    colours(_name: string) {
      const row = new Uint8ClampedArray(1024);
      for (let i = 0; i < 256; i++) {
        const v = (i - 127.5) / 127.5;
        row.set([v > 0 ? 255 : 255 * (1 + v), 255 * (1 - Math.abs(v)), v < 0 ? 255 : 255 * (1 - v), 255], i * 4);
      }
      return row;
    },
    reset() {},
    scale(explanation: Explanation): Scale {
      const { sums } = pixels(explanation);
      let positive = 0,
        negative = 0,
        highest = 0,
        lowest = 0;
      for (const v of sums) {
        if (v > 0) positive += v;
        else negative += v;
        highest = Math.max(highest, v);
        lowest = Math.min(lowest, v);
      }
      return { positive, negative, highest, lowest, limit: Math.max(highest, -lowest) };
    },
    paint(
      canvas: HTMLCanvasElement,
      picture: HTMLCanvasElement,
      explanation: Explanation,
      settings: Settings,
      _live: boolean,
    ) {
      const { sums, width, height } = pixels(explanation);
      const max = Math.max(...sums.map(Math.abs));
      const image = new ImageData(width, height);
      for (let i = 0; i < sums.length; i++) {
        const v = sums[i]! / max;
        image.data.set([v > 0 ? 255 : 0, 0, v < 0 ? 255 : 0, 255 * Math.min(1, Math.abs(v) * settings.opacity)], 4 * i);
      }
      const small = document.createElement('canvas');
      small.width = width;
      small.height = height;
      small.getContext('2d')!.putImageData(image, 0, 0);
      const context = canvas.getContext('2d')!;
      context.drawImage(picture, 0, 0);
      const { fit, frame } = explanation;
      const k = canvas.width / frame.width;
      context.drawImage(
        small,
        (-fit.offsetX / fit.scaleX) * k,
        (-fit.offsetY / fit.scaleY) * k,
        (width / fit.scaleX) * k,
        (height / fit.scaleY) * k,
      );
    },
  };
}
