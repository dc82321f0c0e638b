import {
  type ColormapName,
  colormap,
  colormaps,
  differenceMap,
  drawOverlay,
  type Explainer,
  magnification,
  type NormalizedMap,
  normalize,
  normalizer,
  type RelevanceMap,
  sumChannels,
} from '../../sdk/index.js';
import type { Scale } from './panels/legend.js';
import type { Shown } from './session.js';
import type { Settings } from './settings.js';

interface Painted {
  /** relevance per pixel, its sum is the explained logit less what was absorbed */
  readonly relevance: RelevanceMap;
  readonly normalized: NormalizedMap;
  /** on the same scale: the float32 model's relevance, and what this one has more */
  readonly beside: Beside | undefined;
}

interface Beside {
  readonly float32: RelevanceMap;
  readonly difference: RelevanceMap;
  /** by what the difference is magnified */
  readonly times: number;
}

/** Where the float32 model's relevance and the difference are drawn. */
export type Canvases = Readonly<Record<'float32' | 'difference', HTMLCanvasElement>>;

/** Relevance in colours over a picture, on a scale that follows the video without flicker. */
export function createPainter() {
  const painted = new WeakMap<Shown, Painted>();
  let layout: 'NCHW' | 'NHWC' = 'NCHW';
  let smoothing = 0;
  let toScale: ReturnType<typeof normalizer>;
  let differenceScale: ReturnType<typeof normalizer>;

  const steadied = (seconds: number) => {
    smoothing = seconds;
    // a few single pixels that stand out must not make the rest invisible
    const scale = { scale: { percentile: 99.5 }, joint: true } as const;
    const steady = seconds > 0 ? { ...scale, running: { halfLife: seconds } } : scale;
    toScale = normalizer(steady);
    differenceScale = normalizer(steady);
  };

  steadied(smoothing);

  const magnified = (difference: RelevanceMap, maximum: number, timestamp: number): Omit<Beside, 'float32'> => {
    const times = magnification(maximum, differenceScale([difference], timestamp)[0]!.maximum);
    return { difference: normalize(difference, maximum / times), times };
  };

  /** Once per explanation, when it is shown first: the running scale must not see a frame twice. */
  const prepare = (explanation: Shown): Painted => {
    const known = painted.get(explanation);
    if (known !== undefined) return known;
    const [tensor] = Object.values(explanation.relevance);
    const relevance =
      tensor === undefined
        ? { width: 0, height: 0, data: new Float32Array() }
        : sumChannels(tensor.data, tensor.dims, layout);
    const others = explanation.comparison?.maps.map.a;
    const float32 = others && { ...relevance, data: others };
    // one scale for both models, or the weaker one's relevance would look as strong
    const [normalized, besides] = toScale(float32 ? [relevance, float32] : [relevance], explanation.timestamp);
    const made: Painted = {
      relevance,
      normalized: normalized!,
      beside: float32 && {
        float32: besides!,
        ...magnified(differenceMap(relevance, float32), normalized!.maximum, explanation.timestamp),
      },
    };
    painted.set(explanation, made);
    return made;
  };

  return {
    colorMaps: colormaps as readonly string[],
    /** A colour map's row of RGBA pixels from −1 to 1. */
    colours: (name: string) => colormap(name as ColormapName).table,
    /** Another model: other units, another layout. */
    reset({ metadata }: Explainer) {
      layout = metadata.input.kind === 'picture' ? metadata.input.layout : 'NCHW';
      steadied(smoothing);
    },
    /** Draws the picture with its relevance, and while models are compared the same picture with the other one's and the difference. */
    paint(
      canvas: HTMLCanvasElement,
      { float32, difference }: Canvases,
      picture: HTMLCanvasElement,
      explanation: Shown,
      settings: Settings,
    ) {
      if (settings.smoothing !== smoothing) steadied(settings.smoothing);
      const { normalized, beside } = prepare(explanation);
      draw(canvas, picture, normalized, explanation, settings);
      for (const [other, map] of [
        [float32, beside?.float32],
        [difference, beside?.difference],
      ] as const) {
        // setting the size clears it: no frame stands beside another one
        other.width = canvas.width;
        other.height = canvas.height;
        if (map !== undefined) draw(other, picture, map, explanation, settings);
      }
    },
    /** Undefined for a frame without relevance. */
    scale(explanation: Shown): Scale | undefined {
      const { relevance, normalized } = prepare(explanation);
      if (relevance.width === 0) return undefined;
      let [positive, negative, highest, lowest] = [0, 0, 0, 0];
      for (const value of relevance.data) {
        if (value > 0) positive += value;
        else negative += value;
        highest = Math.max(highest, value);
        lowest = Math.min(lowest, value);
      }
      return { positive, negative, highest, lowest, limit: normalized.maximum };
    },
    /** By what the difference of two models' relevance is magnified to be seen. */
    magnification: (explanation: Shown): number | undefined => prepare(explanation).beside?.times,
  };
}

function draw(
  canvas: HTMLCanvasElement,
  picture: HTMLCanvasElement,
  map: RelevanceMap,
  { fit, frame }: Shown,
  { mode, colorMap, opacity }: Settings,
): void {
  const context = canvas.getContext('2d')!;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (map.width === 0) {
    // a budget that leaves the forward pass alone
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return;
  }
  drawOverlay(context, picture, { map, fit, frame }, { mode, colormap: colorMap as ColormapName, opacity });
}
