import {
  asyncScheduler,
  isObservable,
  Observable,
  type OperatorFunction,
  type SchedulerLike,
  Subscription,
} from 'rxjs';
import type { Frame, TimedFrame } from '../sources/frame.js';
import { asLive } from '../sources/source.js';

/** Settings of {@link paced}. */
export interface PacedOptions {
  /** media seconds per second, > 0; default 1 */
  readonly rate?: number | Observable<number>;
  /** true stops the clock, false lets it go on; the first frame comes even so, for there to be a picture */
  readonly paused$?: Observable<boolean>;
  /** while the clock stands, every value lets one frame through */
  readonly step$?: Observable<unknown>;
  /** where time comes from, default `asyncScheduler`; a TestScheduler makes it virtual */
  readonly scheduler?: SchedulerLike;
  /** the clock of {@link TimedFrame.captured}, default `performance.now()` */
  readonly now?: () => number;
}

/** Even where everything comes too late, one frame in so many milliseconds is let through: a slow picture is better than none. */
const leastEvery = 250;

/**
 * Plays a file's frames in real time: every frame waits until its timestamp is due on a clock that starts with the first
 * frame. A frame that is overdue by more than its duration (or 40 ms) is dropped, closed, and counted in `dropped` of the next
 * one. From here on the file is live: a frame is captured when it is due, and `explain` drops it for a newer one.
 *
 * A timestamp that lies before the last one (a file that starts again) starts the clock anew. Unsubscribing closes what waits.
 */
export function paced<Item extends TimedFrame = Frame>(options: PacedOptions = {}): OperatorFunction<Item, Item> {
  const { scheduler = asyncScheduler, now = () => performance.now() } = options;
  return (source) =>
    new Observable<Item>((subscriber) => {
      const waiting: Item[] = [];
      let rate = typeof options.rate === 'number' ? options.rate : 1;
      let paused = false;
      /** one frame may pass whatever the clock says */
      let stepping = true;
      /** media time in milliseconds at the moment `anchor` of the scheduler's clock; undefined before the first frame */
      let media: number | undefined;
      let anchor = 0;
      let lastTimestamp = Number.NEGATIVE_INFINITY;
      let lastEmission = Number.NEGATIVE_INFINITY;
      let dropped = 0;
      let ended = false;
      let timer: Subscription | undefined;

      /** Media time now; moves the anchor here, so that rate and pause can change from now on. */
      const clock = (): number => {
        const time = scheduler.now();
        if (media !== undefined && !paused) media += (time - anchor) * rate;
        anchor = time;
        return media ?? 0;
      };

      const stopTimer = () => {
        timer?.unsubscribe();
        timer = undefined;
      };

      const pass = (frame: Item) => {
        waiting.shift();
        lastEmission = scheduler.now();
        const before = dropped;
        dropped = 0;
        subscriber.next(asLive(frame, now(), before));
      };

      const advance = () => {
        stopTimer();
        while (!subscriber.closed && (stepping || !paused)) {
          const frame = waiting[0];
          if (frame === undefined) break;
          const due = frame.timestamp / 1000;
          if (stepping || frame.timestamp < lastTimestamp) {
            clock();
            media = due;
            stepping = false;
          }
          const wait = (due - clock()) / rate;
          lastTimestamp = frame.timestamp;
          if (wait > 0) {
            stopTimer();
            timer = scheduler.schedule(advance, wait);
            return;
          }
          const late = -wait > (frame.duration ?? 40_000) / 1000;
          if (late && scheduler.now() - lastEmission < leastEvery) {
            waiting.shift();
            dropped += frame.dropped + 1;
            frame.close();
          } else {
            pass(frame);
          }
        }
        if (ended && waiting.length === 0) subscriber.complete();
      };

      const subscriptions = new Subscription(() => {
        stopTimer();
        for (const frame of waiting.splice(0)) frame.close();
      });
      subscriber.add(subscriptions);
      const error = (thrown: unknown) => subscriber.error(thrown);
      subscriptions.add(
        options.step$?.subscribe({
          next: () => {
            stepping ||= paused;
            advance();
          },
          error,
        }),
      );
      subscriptions.add(
        options.paused$?.subscribe({
          next: (value) => {
            clock();
            paused = value;
            advance();
          },
          error,
        }),
      );
      if (isObservable(options.rate)) {
        subscriptions.add(
          options.rate.subscribe({
            next: (value) => {
              clock();
              rate = value;
              advance();
            },
            error,
          }),
        );
      }
      subscriptions.add(
        source.subscribe({
          next: (frame) => {
            if (subscriber.closed) {
              frame.close();
              return;
            }
            waiting.push(frame);
            if (waiting.length === 1) advance();
          },
          error,
          complete: () => {
            ended = true;
            advance();
          },
        }),
      );
    });
}
