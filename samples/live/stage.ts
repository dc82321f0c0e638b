import type { Frame } from '../../sdk/index.js';
import type { Shown } from './session.js';
import type { Settings } from './settings.js';

/** How many explained frames can be stepped back to. */
const remembered = 32;
/** Wider pictures are shown, and remembered, at this width. */
const widest = 1280;

/** One explained frame with a copy of its picture, which outlives the decoder's. */
interface Remembered {
  readonly explanation: Shown;
  readonly picture: HTMLCanvasElement;
}

/** Lays relevance over a picture that is already on the canvas; the picture is given for modes that draw it anew. */
export type Painter = (
  canvas: HTMLCanvasElement,
  picture: HTMLCanvasElement,
  explanation: Shown,
  settings: Settings,
) => void;

/**
 * The canvas: the picture that an explanation belongs to, and the relevance over it. The last frames are kept, so that a
 * person can step back while the video is paused.
 */
export function createStage(canvas: HTMLCanvasElement, paint: Painter) {
  const history: Remembered[] = [];
  const spare: HTMLCanvasElement[] = [];
  /** how many frames back from the newest is shown */
  let back = 0;
  /** the picture that came last, where it has no explanation yet */
  let unexplained: { readonly picture: HTMLCanvasElement; readonly timestamp: number } | undefined;
  let plain: HTMLCanvasElement | undefined;

  const resize = ({ width, height }: HTMLCanvasElement) => {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
  };

  const forget = (frames: readonly Remembered[]) => {
    for (const { explanation, picture } of frames) {
      spare.push(picture);
      explanation.release();
    }
  };

  const draw = (settings: Settings) => {
    const shown = history.at(-1 - back);
    if (shown === undefined) return;
    resize(shown.picture);
    paint(canvas, shown.picture, shown.explanation, settings);
  };

  return {
    /** Takes over the frame, closes it, and shows it with its relevance. */
    show(explanation: Shown, frame: Frame, settings: Settings) {
      const picture = spare.pop() ?? document.createElement('canvas');
      drawPicture(picture, frame);
      history.push({ explanation, picture });
      if (history.length > remembered) forget(history.splice(0, 1));
      back = 0;
      unexplained = undefined;
      draw(settings);
    },
    /** Takes over a frame for which there is no explanation, closes it, and shows it as it is. */
    showPlain(frame: Frame) {
      plain ??= document.createElement('canvas');
      drawPicture(plain, frame);
      unexplained = { picture: plain, timestamp: frame.timestamp };
      resize(plain);
      canvas.getContext('2d')!.drawImage(plain, 0, 0);
    },
    /** Draws what is shown with other settings. */
    redraw(settings: Settings) {
      draw(settings);
    },
    /** Steps through the remembered frames; false at the newest, and at the oldest. */
    step(by: -1 | 1, settings: Settings): boolean {
      const next = back - by;
      if (next < 0 || next >= history.length) return false;
      back = next;
      draw(settings);
      return true;
    },
    get shown(): Shown | undefined {
      return history.at(-1 - back)?.explanation;
    },
    /** A copy of the shown picture as a frame of its own, to be explained once more with other settings. */
    async frameAgain(): Promise<Frame | undefined> {
      const shown = history.at(-1 - back);
      const picture = unexplained?.picture ?? shown?.picture;
      if (picture === undefined) return undefined;
      const timestamp = unexplained?.timestamp ?? shown?.explanation.timestamp ?? 0;
      const image = await createImageBitmap(picture);
      return {
        timestamp,
        captured: performance.now(),
        width: image.width,
        height: image.height,
        rotation: 0,
        image,
        dropped: 0,
        close: () => image.close(),
      };
    },
    /** Forgets every frame: the next come from elsewhere. */
    clear() {
      forget(history.splice(0));
      back = 0;
      unexplained = undefined;
    },
  };
}

/** Draws the frame upright, at its shown size or the widest that is kept, and closes it, even where it cannot be drawn. */
function drawPicture(canvas: HTMLCanvasElement, frame: Frame): void {
  try {
    drawUpright(canvas, frame);
  } finally {
    frame.close();
  }
}

function drawUpright(canvas: HTMLCanvasElement, frame: Frame): void {
  const scale = Math.min(1, widest / frame.width);
  const width = Math.max(1, Math.round(frame.width * scale));
  const height = Math.max(1, Math.round(frame.height * scale));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext('2d')!;
  const turned = frame.rotation === 90 || frame.rotation === 270;
  context.save();
  context.clearRect(0, 0, width, height);
  context.translate(width / 2, height / 2);
  context.rotate((frame.rotation * Math.PI) / 180);
  const [across, down] = turned ? [height, width] : [width, height];
  context.drawImage(frame.image, -across / 2, -down / 2, across, down);
  context.restore();
}
