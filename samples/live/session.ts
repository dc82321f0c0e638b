import {
  catchError,
  combineLatest,
  concatMap,
  defer,
  distinctUntilChanged,
  EMPTY,
  endWith,
  filter,
  finalize,
  from,
  ignoreElements,
  map,
  merge,
  type Observable,
  of,
  Observable as RxObservable,
  repeat,
  Subject,
  shareReplay,
  skip,
  startWith,
  switchMap,
  tap,
} from 'rxjs';
import {
  type Comparison,
  createExplainer,
  type Explainer,
  type ExplainsFrames,
  type Explanation,
  explain,
  explainerPair,
  type Frame,
  type FrameSource,
  framesOf,
  type Metrics,
  type ModelMetadata,
  type Progress,
  paced,
  type Target,
  WhylightError,
} from '../../sdk/index.js';
import { float32Of } from './float32.js';
import { openInput } from './inputs.js';
import type { ModelChoice, Settings, SettingsStore } from './settings.js';

/** What is shown of a frame: its explanation, and while models are compared that of the float32 model too. */
export type Shown = Explanation & { readonly comparison?: Comparison<Explanation> | undefined };

/** One model or two that explain every frame, and say how that goes. */
type Explains = ExplainsFrames<Shown> & Pick<Explainer, 'metrics$'>;

/** The model that is explained now. */
interface Running {
  readonly explainer: Explainer;
  readonly model: ModelChoice;
  readonly device: Settings['device'];
  readonly composite: string;
  /** false while another composite is being compiled */
  readonly settled: boolean;
}

/** What the session tells the page. */
export interface SessionEvents {
  /** something starts that takes a while; undefined when it is over */
  progress(progress: Progress | undefined): void;
  explainer(explainer: Explainer): void;
  /** the float32 model explains every frame too, or does so no longer */
  comparing(on: boolean): void;
  /** the chosen model cannot be explained; `complain` has said why */
  noExplainer(): void;
  source(source: FrameSource): void;
  /** owns the frame */
  explained(explanation: Shown, frame: Frame): void;
  /** a frame that came while there was no explainer; owns it */
  unexplained(frame: Frame): void;
  /** how the stream is doing */
  metrics(metrics: Metrics): void;
  /** the model failed in mid-stream: what it explained last stays, until something is chosen or tried again; `complain` says why */
  stopped(): void;
  /** an error or a warning for a person; what failed begins anew by `retry` */
  complain(error: unknown, retry?: () => void): void;
}

/** The stream behind the page: explainer × source → explanations, rebuilt where a setting asks for it. */
export function openSession(settings: SettingsStore, events: SessionEvents) {
  const step$ = new Subject<void>();
  const retryModel$ = new Subject<void>();
  const retryInput$ = new Subject<void>();
  /** the model failed in mid-stream, and none has been opened since */
  let stopped = false;
  let still = false;
  /** the next frame of a paused live source is let through */
  let stepping = false;

  const otherInput$ = settings.field('input').pipe(
    skip(1),
    filter(() => stopped),
  );
  const again$ = merge(retryModel$, otherInput$).pipe(startWith(undefined));
  const running$ = combineLatest([settings.field('model'), settings.field('device'), again$]).pipe(
    switchMap(([model, device]) => run(model, device)),
    shareReplay({ bufferSize: 1, refCount: true }),
  );

  /** An explainer for as long as somebody subscribes. */
  function opened(model: ModelChoice, device: Settings['device'], composite: string): Observable<Explainer> {
    return new RxObservable<Explainer>((subscriber) => {
      const abort = new AbortController();
      let explainer: Explainer | undefined;
      const start = async () => {
        const options = await modelOptions(model);
        explainer = await createExplainer({
          ...options,
          composite,
          device,
          audit: true,
          onProgress: events.progress,
          signal: abort.signal,
        });
        events.progress(undefined);
        subscriber.next(explainer);
      };
      start().catch((error: unknown) => subscriber.error(error));
      return () => {
        abort.abort();
        explainer?.dispose();
      };
    });
  }

  function complain(error: unknown, retry?: () => void): void {
    events.progress(undefined);
    if (!isAborted(error)) events.complain(error, retry);
  }
  const retryModel = () => retryModel$.next();

  function run(model: ModelChoice, device: Settings['device']): Observable<Running | undefined> {
    const { composite } = settings.value;
    stopped = false;
    return opened(model, device, composite).pipe(
      tap((explainer) => events.explainer(explainer)),
      switchMap((explainer) => upkeep({ explainer, model, device, composite, settled: true })),
      startWith(undefined),
      catchError((error: unknown) => {
        complain(error, retryModel);
        events.noExplainer();
        return of(undefined);
      }),
    );
  }

  /** The explainer itself, with another composite while it runs, and what it warns of. */
  function upkeep(first: Running): Observable<Running> {
    const { explainer } = first;
    let running = first;
    const composite$ = settings.field('composite').pipe(
      skip(1),
      concatMap((composite) =>
        from(explainer.setComposite(composite)).pipe(
          tap(() => {
            running = { ...running, composite };
            events.explainer(explainer);
            events.progress(undefined);
          }),
          catchError((error: unknown) => {
            complain(error);
            return EMPTY;
          }),
          ignoreElements(),
          startWith({ ...running, settled: false }),
          endWith(undefined),
          map((changing) => changing ?? running),
        ),
      ),
    );
    const warnings$ = explainer.warnings$.pipe(tap((warning) => events.complain(warning)));
    return merge(of(first), composite$, warnings$.pipe(ignoreElements()));
  }

  /**
   * The float32 model beside the one that is explained, while they are compared. It is opened anew after every change of either:
   * two composites would be compared otherwise, not two models.
   */
  const counterpart$ = combineLatest([running$, settings.field('compare')]).pipe(
    map(([running, compare]) => (compare && running?.settled === true ? running : undefined)),
    distinctUntilChanged(),
    switchMap((running) => {
      const float32 = running && float32Of(running.model);
      if (running === undefined || float32 === undefined) return of(undefined);
      return opened(float32, running.device, running.composite).pipe(
        switchMap((reference) =>
          merge(
            of({ running, pair: explainerPair(reference, running.explainer, { lead: 'compared' }) }),
            reference.warnings$.pipe(
              tap((warning) => events.complain(warning)),
              ignoreElements(),
            ),
          ),
        ),
        startWith(undefined),
        catchError((error: unknown) => {
          complain(error);
          settings.change({ compare: false });
          return of(undefined);
        }),
      );
    }),
  );

  const explainer$: Observable<Explains | undefined> = combineLatest([running$, counterpart$]).pipe(
    map(([running, counterpart]) => (counterpart?.running === running ? counterpart?.pair : running?.explainer)),
    distinctUntilChanged(),
  );

  const input$ = merge(settings.field('input'), retryInput$.pipe(map(() => settings.value.input)));
  const frames$ = input$.pipe(
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
          merge(
            playing(source),
            (source.warnings$ ?? EMPTY).pipe(
              tap((warning) => events.complain(warning)),
              ignoreElements(),
            ),
          ),
        ),
        catchError((error: unknown) => {
          complain(error, () => retryInput$.next());
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
    switchMap((explainer) => (explainer === undefined ? EMPTY : explained(explainer))),
  );
  function explained(explainer: Explains): Observable<Shown> {
    const shown$ = merge(
      frame$.pipe(
        explain(explainer, { target: target$, keepFrame: true, budgetMs: settings.field('budgetMs') }),
        tap((explanation) => events.explained(explanation, explanation.picture!)),
      ),
      explainer.metrics$.pipe(tap(events.metrics), ignoreElements()),
    );
    if (!('match' in explainer)) {
      return shown$.pipe(
        catchError((error: unknown) => {
          stopped = true;
          events.stopped();
          complain(error, retryModel);
          return EMPTY;
        }),
      );
    }
    events.comparing(true);
    return shown$.pipe(
      // what is explained goes on alone
      catchError((error: unknown) => {
        complain(error);
        settings.change({ compare: false });
        return EMPTY;
      }),
      finalize(() => events.comparing(false)),
    );
  }
  const give = (frame: Frame) => {
    if (frame$.observed) frame$.next(frame);
    // a plain picture would take the place of what was explained last
    else if (stopped) frame.close();
    else events.unexplained(frame);
  };
  const running = merge(explanations$, frames$.pipe(tap(give))).subscribe({ error: complain });

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
