import { isObservable, map, Observable, type OperatorFunction, Subscription } from 'rxjs';
import { WhylightError } from '../errors.js';
import type { ExplainerStream, StreamOptions } from '../runtime/budget/lane.js';
import type { DrawOptions } from '../runtime/drawing.js';
import type { Explainer, ExplainFrameOptions } from '../runtime/explainer.js';
import type { Explanation } from '../runtime/explanation.js';
import type { Target } from '../runtime/target.js';
import type { MediaFrame } from '../sources/sound-window.js';
import { isWaitedFor } from '../sources/source.js';

/** What happens to a frame that comes while another is being explained. */
export type Flow = 'latest' | 'lossless';

/** Settings of {@link explain}. */
export interface ExplainOptions {
  /** what to explain, default `strongest`; of an Observable the last value so far, `strongest` before the first */
  readonly target?: Target | Observable<Target>;
  /**
   * `latest`: one frame is being explained and one waits; a newer one takes the waiting one's place.
   * `lossless`: every frame is explained, however many wait.
   * Default: lossless for frames of a file, whose source waits for them ({@link isWaitedFor}), latest for all others.
   */
  readonly flow?: Flow;
  /**
   * The age in milliseconds, from a frame's capture to its explanation here, that 95 % of the explanations are to keep, > 0;
   * of an Observable the last value so far, no budget before the first and for undefined. The explainer chooses how much to explain for it,
   * frame by frame, from its {@link ExplainerOptions.ladder}, and drops frames that would be too late; every explanation says
   * what was chosen in {@link Explanation.quality}. Default: no budget. Lossless frames have none.
   */
  readonly budgetMs?: number | Observable<number | undefined>;
  /** every explanation carries its frame as `picture`, a window of sound as `sound`, to be closed by whoever receives it; default false */
  readonly keepFrame?: boolean;
  /** draws every frame with its relevance where it is computed, as {@link Explanation.drawing}; of an Observable the last value so far */
  readonly draw?: DrawOptions | Observable<DrawOptions>;
  /** false, with `draw` on a GPU: nothing is read back, and explanations have a drawing only; default true */
  readonly numbers?: boolean;
  /** milliseconds of a monotonic clock, default `performance.now()` */
  readonly now?: () => number;
}

/** What {@link explain} asks of an explainer; a pair of two gives more than an explanation. */
export interface ExplainsFrames<Result extends Explanation> extends Partial<Pick<Explainer, 'warn'>> {
  /** see {@link Explainer.explainFrame} */
  explainFrame(frame: MediaFrame, options?: ExplainFrameOptions): Promise<Result>;
  /** see {@link Explainer.openStream}; without it there is no budget */
  openStream?(options: StreamOptions): ExplainerStream<Result>;
}

interface Waiting {
  readonly frame: MediaFrame;
  readonly since: number;
  /** frames dropped before this one that no explanation has told of yet */
  readonly dropped: number;
}

/**
 * Frames in, explanations out, in order, one at a time. The operator owns every frame it gets and closes it exactly once:
 * explained, dropped, failed or unsubscribed.
 *
 * A frame that fails by itself (FRAME_FAILED) is, in the latest flow, a warning of the explainer and counts as dropped; in the lossless flow
 * it is the stream's error. Every other error is the stream's error. When the source ends or fails, the frames that it
 * already gave are explained first. Unsubscribing closes what waits; the frame that is being explained is ignored.
 */
export function explain<Result extends Explanation = Explanation>(
  explainer: ExplainsFrames<Result>,
  options: ExplainOptions = {},
): OperatorFunction<MediaFrame, Result> {
  const { flow, keepFrame = false, numbers = true, now = () => performance.now() } = options;
  if (typeof options.budgetMs === 'number') checkBudget(options.budgetMs);
  return (source) =>
    new Observable<Result>((subscriber) => {
      const waiting: Waiting[] = [];
      let target: Target = 'strongest';
      let draw: DrawOptions | undefined;
      let budget: number | undefined;
      let busy = false;
      let dropped = 0;
      let finish: (() => void) | undefined;

      const stream = explainer.openStream?.({ budgetMs: () => budget });

      const isLossless = (frame: MediaFrame) => (flow === undefined ? isWaitedFor(frame) : flow === 'lossless');

      const step = async ({ frame, since, dropped: before }: Waiting): Promise<void> => {
        const started = now();
        const queue = started - since;
        let kept: MediaFrame | undefined;
        try {
          const handed = keepFrame ? await duplicate(frame) : frame;
          if (keepFrame) kept = frame;
          const how: ExplainFrameOptions = { target, numbers, ...(draw && { draw }) };
          const explanation =
            stream === undefined
              ? await explainer.explainFrame(handed, how)
              : await stream.explainFrame(handed, { ...how, arrived: since, lossless: isLossless(frame) });
          if (explanation === 'stale') {
            dropped += before + 1;
            return;
          }
          if (subscriber.closed) {
            explanation.drawing?.close();
            explanation.release();
            return;
          }
          const { timing } = explanation;
          const result: Result = {
            ...explanation,
            ...(kept && ('samples' in kept ? { sound: kept } : { picture: kept })),
            dropped: before,
            timing: { ...timing, queue: timing.queue + queue, total: timing.total + queue },
          };
          kept = undefined;
          const begun = now();
          subscriber.next(result);
          stream?.rendered(now() - begun);
        } catch (error) {
          if (subscriber.closed) return;
          const recoverable = error instanceof WhylightError && error.code === 'FRAME_FAILED' && !isLossless(frame);
          if (!recoverable) {
            subscriber.error(error);
            return;
          }
          dropped += before + 1;
          stream?.dropped('failed', 1);
          explainer.warn?.(error);
        } finally {
          stream?.pass();
          kept?.close();
        }
      };

      const advance = async (): Promise<void> => {
        if (busy) return;
        busy = true;
        while (waiting.length > 0 && !subscriber.closed) {
          const turn = stream?.turn(waiting[0]!.frame.captured);
          // whichever frame is the newest when the device is free
          if (turn !== undefined) await turn;
          const next = waiting.shift();
          if (next !== undefined) await step(next);
        }
        busy = false;
        if (!subscriber.closed) finish?.();
      };

      const closeAll = () => {
        stream?.close();
        for (const { frame } of waiting.splice(0)) frame.close();
      };

      const arrive = (frame: MediaFrame) => {
        // a source that emits synchronously is heard to its end, even where nobody listens any more
        if (subscriber.closed) {
          frame.close();
          return;
        }
        stream?.arrived(frame);
        let before = dropped + frame.dropped;
        dropped = 0;
        const superseded = waiting.at(-1);
        if (superseded !== undefined && !isLossless(superseded.frame)) {
          waiting.pop();
          superseded.frame.close();
          stream?.dropped('superseded', 1);
          before += superseded.dropped + 1;
        }
        waiting.push({ frame, since: now(), dropped: before });
        void advance();
      };

      const end = (how: () => void) => {
        finish = how;
        if (!busy) how();
      };

      const subscriptions = new Subscription(closeAll);
      /** Follows an option that may change while frames come. */
      const follow = <T>(option: T | Observable<T> | undefined, take: (value: T) => void) => {
        if (!isObservable(option)) {
          if (option !== undefined) take(option);
          return;
        }
        subscriptions.add(option.subscribe({ next: take, error: (error: unknown) => subscriber.error(error) }));
      };
      follow(options.target, (value) => {
        target = value;
      });
      follow(options.draw, (value) => {
        draw = value;
      });
      follow(isObservable(options.budgetMs) ? options.budgetMs.pipe(map(checkBudget)) : options.budgetMs, (value) => {
        budget = value;
      });
      subscriber.add(subscriptions);
      if (subscriber.closed) return;
      subscriptions.add(
        source.subscribe({
          next: arrive,
          error: (error: unknown) => end(() => subscriber.error(error)),
          complete: () => end(() => subscriber.complete()),
        }),
      );
    });
}

function checkBudget(milliseconds: number | undefined): number | undefined {
  if (milliseconds === undefined || (milliseconds > 0 && Number.isFinite(milliseconds))) return milliseconds;
  throw new WhylightError(
    'OPTION_INVALID',
    `"budgetMs" is ${milliseconds}; it must be a number of milliseconds above 0.`,
    {
      details: { option: 'budgetMs' },
    },
  );
}

/** A second frame of the same, so that one can go to the worker and the other stays; both are to be closed. */
export async function duplicate(frame: MediaFrame): Promise<MediaFrame> {
  if ('samples' in frame) return { ...frame, samples: frame.samples.slice(), close: () => undefined };
  let image: VideoFrame | ImageBitmap;
  try {
    image = 'clone' in frame.image ? frame.image.clone() : await createImageBitmap(frame.image);
  } catch (error) {
    frame.close();
    throw new WhylightError('FRAME_FAILED', `The frame at ${frame.timestamp} µs could not be copied.`, {
      cause: error,
    });
  }
  const { timestamp, captured, width, height, rotation, dropped } = frame;
  return { timestamp, captured, width, height, rotation, dropped, image, close: () => image.close() };
}
