import { BehaviorSubject, distinctUntilChanged, map, type Observable } from 'rxjs';

/** Where frames come from; files are the user's own. */
export type Input =
  | { readonly kind: 'clip' }
  | { readonly kind: 'camera' }
  | { readonly kind: 'screen' }
  | { readonly kind: 'files'; readonly files: readonly File[] };

/** Which model is explained. */
export type ModelChoice =
  | { readonly kind: 'bundled'; readonly name: string }
  | { readonly kind: 'own'; readonly model: File; readonly metadata?: File; readonly labels?: File };

/** How relevance is laid over the picture. */
export type DrawingMode = 'tint' | 'overlay' | 'alpha' | 'heatmap';

/** Everything that a person can set on this page. */
export interface Settings {
  readonly input: Input;
  readonly model: ModelChoice;
  /** whether the float32 model that a quantized one was made from is explained beside it */
  readonly compare: boolean;
  readonly device: 'auto' | 'webgpu' | 'wasm';
  readonly composite: string;
  /** `class` and `group` explain `chosen` */
  readonly target: 'strongest' | 'class' | 'group';
  /** indices of outputs */
  readonly chosen: readonly number[];
  readonly mode: DrawingMode;
  /** 0…1 */
  readonly opacity: number;
  /** seconds in which the colour scale forgets half of a former maximum; 0: every frame has its own scale */
  readonly smoothing: number;
  readonly colorMap: string;
  readonly paused: boolean;
  /** how old an explanation may be, in milliseconds; undefined: as old as it gets */
  readonly budgetMs: number | undefined;
}

/** The page's one mutable value, and its changes. */
export interface SettingsStore {
  readonly value: Settings;
  readonly all$: Observable<Settings>;
  /** one field: its value now and every later one that differs */
  field<K extends keyof Settings>(name: K): Observable<Settings[K]>;
  change(part: Partial<Settings>): void;
}

/** Starts from `initial`. */
export function createSettings(initial: Settings): SettingsStore {
  const state$ = new BehaviorSubject(initial);
  return {
    get value() {
      return state$.value;
    },
    all$: state$.asObservable(),
    field: (name) =>
      state$.pipe(
        map((settings) => settings[name]),
        distinctUntilChanged(),
      ),
    change: (part) => state$.next({ ...state$.value, ...part }),
  };
}
