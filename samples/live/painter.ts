import {
  type ColormapName,
  colormap,
  colormaps,
  drawOverlay,
  type Explainer,
  type Explanation,
  type NormalizedMap,
  normalizer,
  type RelevanceMap,
  sumChannels,
} from '../../sdk/index.js';
import type { Scale } from './panels/legend.js';
import type { Settings } from './settings.js';

interface Painted {
  /** relevance per pixel, its sum is the explained logit less what was absorbed */
  readonly relevance: RelevanceMap;
  readonly normalized: NormalizedMap;
}

/** Relevance in colours over a picture, on a scale that follows the video without flicker. */
export function createPainter() {
  const painted = new WeakMap<Explanation, Painted>();
  let layout: 'NCHW' | 'NHWC' = 'NCHW';
  let smoothing = 0;
  let normalize: ReturnType<typeof normalizer>;

  const steadied = (seconds: number) => {
    smoothing = seconds;
    // a few single pixels that stand out must not make the rest invisible
    const scale = { percentile: 99.5 };
    normalize = normalizer(seconds > 0 ? { scale, running: { halfLife: seconds } } : { scale });
  };

  steadied(smoothing);

  /** Once per explanation, when it is shown first: the running scale must not see a frame twice. */
  const prepare = (explanation: Explanation): Painted => {
    const known = painted.get(explanation);
    if (known !== undefined) return known;
    const [tensor] = Object.values(explanation.relevance);
    const relevance =
      tensor === undefined
        ? { width: 0, height: 0, data: new Float32Array() }
        : sumChannels(tensor.data, tensor.dims, layout);
    const [normalized] = normalize([relevance], explanation.timestamp);
    const made = { relevance, normalized: normalized! };
    painted.set(explanation, made);
    return made;
  };

  return {
    colorMaps: colormaps as readonly string[],
    /** A colour map's row of RGBA pixels from −1 to 1. */
    colours: (name: string) => colormap(name as ColormapName).table,
    /** Another model: other units, another layout. */
    reset({ metadata }: Explainer) {
      layout = metadata.input.layout;
      steadied(smoothing);
    },
    paint(canvas: HTMLCanvasElement, picture: HTMLCanvasElement, explanation: Explanation, settings: Settings) {
      if (settings.smoothing !== smoothing) steadied(settings.smoothing);
      const { normalized } = prepare(explanation);
      const context = canvas.getContext('2d')!;
      context.clearRect(0, 0, canvas.width, canvas.height);
      drawOverlay(
        context,
        picture,
        { map: normalized, fit: explanation.fit, frame: explanation.frame },
        { mode: settings.mode, colormap: settings.colorMap as ColormapName, opacity: settings.opacity },
      );
    },
    scale(explanation: Explanation): Scale {
      const { relevance, normalized } = prepare(explanation);
      let [positive, negative, highest, lowest] = [0, 0, 0, 0];
      for (const value of relevance.data) {
        if (value > 0) positive += value;
        else negative += value;
        highest = Math.max(highest, value);
        lowest = Math.min(lowest, value);
      }
      return { positive, negative, highest, lowest, limit: normalized.maximum };
    },
  };
}
