import {
  catchError,
  combineLatest,
  concatMap,
  defer,
  EMPTY,
  filter,
  from,
  ignoreElements,
  map,
  merge,
  type Observable,
  of,
  Observable as RxObservable,
  repeat,
  Subject,
  skip,
  switchMap,
  tap,
} from 'rxjs';
import {
  createExplainer,
  type Explainer,
  type Explanation,
  explain,
  type Frame,
  type FrameSource,
  framesOf,
  type ModelMetadata,
  type Progress,
  paced,
  type Target,
  WhylightError,
} from '../../sdk/index.js';
import { openInput } from './inputs.js';
import type { ModelChoice, Settings, SettingsStore } from './settings.js';

/** What the session tells the page. */
export interface SessionEvents {
  /** something starts that takes a while; undefined when it is over */
  progress(progress: Progress | undefined): void;
  explainer(explainer: Explainer): void;
  /** the chosen model cannot be explained; `complain` has said why */
  noExplainer(): void;
  source(source: FrameSource): void;
  /** owns the frame */
  explained(explanation: Explanation, frame: Frame): void;
  /** a frame that came while there was no explainer; owns it */
  unexplained(frame: Frame): void;
  /** an error or a warning for a person */
  complain(error: unknown): void;
}

/** The stream behind the page: explainer × source → explanations, rebuilt where a setting asks for it. */
export function openSession(settings: SettingsStore, events: SessionEvents) {
  const step$ = new Subject<void>();
  let still = false;
  /** the next frame of a paused live source is let through */
  let stepping = false;

  const explainer$ = combineLatest([settings.field('model'), settings.field('device')]).pipe(
    switchMap(([model, device]) => openExplainer(model, device)),
  );

  function openExplainer(model: ModelChoice, device: Settings['device']): Observable<Explainer | undefined> {
    const made$ = new RxObservable<Explainer>((subscriber) => {
      const abort = new AbortController();
      let explainer: Explainer | undefined;
      const start = async () => {
        const options = await modelOptions(model);
        explainer = await createExplainer({
          ...options,
          composite: settings.value.composite,
          device,
          audit: true,
          onProgress: events.progress,
          signal: abort.signal,
        });
        events.progress(undefined);
        events.explainer(explainer);
        subscriber.next(explainer);
      };
      start().catch((error: unknown) => subscriber.error(error));
      return () => {
        abort.abort();
        explainer?.dispose();
      };
    });
    return merge(of(undefined), made$).pipe(
      switchMap((explainer) => (explainer === undefined ? of(undefined) : merge(of(explainer), upkeep(explainer)))),
      catchError((error: unknown) => {
        events.progress(undefined);
        if (!isAborted(error)) events.complain(error);
        events.noExplainer();
        return of(undefined);
      }),
    );
  }

  /** Another composite while the explainer runs, and what it warns of. */
  function upkeep(explainer: Explainer): Observable<never> {
    const composite$ = settings.field('composite').pipe(
      skip(1),
      concatMap((composite) =>
        from(explainer.setComposite(composite)).pipe(
          tap(() => events.explainer(explainer)),
          tap(() => events.progress(undefined)),
          catchError((error: unknown) => {
            events.progress(undefined);
            if (!isAborted(error)) events.complain(error);
            return EMPTY;
          }),
        ),
      ),
    );
    return merge(composite$, explainer.warnings$.pipe(tap(events.complain))).pipe(ignoreElements());
  }

  const frames$ = settings.field('input').pipe(
    switchMap((input) =>
      new RxObservable<FrameSource>((subscriber) => {
        let source: FrameSource | undefined;
        const start = async () => {
          const opened = await openInput(input);
          events.progress(undefined);
          if (subscriber.closed) return opened.close();
          source = opened;
          events.source(source);
          subscriber.next(source);
        };
        start().catch((error: unknown) => subscriber.error(error));
        return () => void source?.close();
      }).pipe(
        switchMap((source) =>
          merge(playing(source), (source.warnings$ ?? EMPTY).pipe(tap(events.complain), ignoreElements())),
        ),
        catchError((error: unknown) => {
          events.progress(undefined);
          events.complain(error);
          return EMPTY;
        }),
      ),
    ),
  );

  /** A file plays in real time, over and over; a camera is as live as it comes, and a still picture needs no repetition. */
  function playing(source: FrameSource): Observable<Frame> {
    const { input } = settings.value;
    still = source.info.decoder === 'images' && input.kind === 'files' && input.files.length === 1;
    if (source.info.kind === 'live') return source.frames$.pipe(filter(unlessPaused));
    // more frames ahead than usual: one is explained, one waits, and a newer one can take its place
    const once$ = defer(() => framesOf(source, { ahead: 4 }).pipe(paced({ paused$: settings.field('paused'), step$ })));
    return still ? once$ : once$.pipe(repeat());
  }

  /** A live source goes on while the page is paused; its frames are closed unseen. */
  function unlessPaused(frame: Frame): boolean {
    const passes = !settings.value.paused || stepping;
    stepping = false;
    if (!passes) frame.close();
    return passes;
  }

  const target$ = settings.all$.pipe(map(targetOf));

  /** frames on their way to whichever explainer there is; the source does not notice that it changes */
  const frame$ = new Subject<Frame>();
  const explanations$ = explainer$.pipe(
    switchMap((explainer) =>
      explainer === undefined ? EMPTY : frame$.pipe(explain(explainer, { target: target$, keepFrame: true })),
    ),
    tap((explanation) => events.explained(explanation, explanation.picture!)),
  );
  const give = (frame: Frame) => {
    if (frame$.observed) frame$.next(frame);
    else events.unexplained(frame);
  };
  const running = merge(explanations$, frames$.pipe(tap(give))).subscribe({ error: events.complain });

  return {
    /** one more frame while paused */
    step() {
      stepping = true;
      step$.next();
    },
    /** explains a picture once more */
    again: give,
    /** whether the source gives no further frame by itself */
    get still() {
      return still;
    },
    close: () => running.unsubscribe(),
  };
}

function targetOf({ target, chosen }: Settings): Target {
  return target === 'strongest' || chosen.length === 0 ? 'strongest' : target === 'class' ? chosen[0]! : chosen;
}

function isAborted(error: unknown): boolean {
  return error instanceof WhylightError && error.code === 'ABORTED';
}

async function readJson(file: File): Promise<ModelMetadata> {
  try {
    return JSON.parse(await file.text()) as ModelMetadata;
  } catch (cause) {
    throw new WhylightError('METADATA_INVALID', `“${file.name}” is not JSON.`, { cause });
  }
}

async function modelOptions(choice: ModelChoice) {
  if (choice.kind === 'bundled') return { model: new URL(`models/${choice.name}.onnx`, document.baseURI) };
  const metadata = choice.metadata === undefined ? undefined : await readJson(choice.metadata);
  const labels =
    choice.labels === undefined
      ? undefined
      : (await choice.labels.text()).split(/\r?\n/).filter((line) => line.trim() !== '');
  return { model: choice.model, ...(metadata !== undefined && { metadata }), ...(labels !== undefined && { labels }) };
}
