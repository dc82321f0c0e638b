import { element, setText } from './dom.js';
import { float32Of } from './float32.js';
import type { DrawingMode, Settings, SettingsStore } from './settings.js';

/** What the composite and colour map menus offer. */
export interface Choices {
  readonly composites: readonly { readonly name: string; readonly description: string }[];
  readonly colorMaps: readonly string[];
}

/** Ties every control to the settings, both ways, and the keyboard to the transport. */
export function connectControls(settings: SettingsStore, choices: Choices, step: (by: -1 | 1) => void): void {
  const composite = element<HTMLSelectElement>('composite');
  composite.append(
    ...choices.composites.map(({ name, description }) => {
      const option = new Option(name, name);
      option.title = description;
      return option;
    }),
  );
  const colorMap = element<HTMLSelectElement>('color-map');
  colorMap.append(...choices.colorMaps.map((name) => new Option(name, name)));

  const fact = element('composite-fact');
  const drawing = element<HTMLFormElement>('drawing');
  const setup = element<HTMLFormElement>('setup');
  const model = element<HTMLSelectElement>('model');
  const device = element<HTMLSelectElement>('device');
  const compare = element<HTMLInputElement>('compare');
  const budgetOn = element<HTMLInputElement>('budget-on');
  const budgetMs = element<HTMLInputElement>('budget-ms');
  for (const form of [drawing, setup]) form.addEventListener('submit', (event) => event.preventDefault());

  const drawAnew = () => {
    const data = new FormData(drawing);
    settings.change({
      mode: data.get('mode') as DrawingMode,
      opacity: Number(data.get('opacity')),
      smoothing: Number(data.get('smoothing')),
      colorMap: String(data.get('colorMap')),
    });
  };
  drawing.addEventListener('input', drawAnew);
  // belongs to the form, but stands elsewhere, beside the legend
  colorMap.addEventListener('input', drawAnew);
  composite.addEventListener('change', () => settings.change({ composite: composite.value }));
  model.addEventListener('change', () => {
    if (model.value === 'own') return;
    settings.change({ model: { kind: 'bundled', name: model.value }, target: 'strongest', chosen: [] });
  });
  const setBudget = () => settings.change({ budgetMs: budgetOn.checked ? Number(budgetMs.value) : undefined });
  budgetOn.addEventListener('change', setBudget);
  budgetMs.addEventListener('input', () => {
    budgetOn.checked = true;
    setBudget();
  });
  compare.addEventListener('change', () => settings.change({ compare: compare.checked }));
  device.addEventListener('change', () => settings.change({ device: device.value as Settings['device'] }));
  for (const radio of setup.querySelectorAll<HTMLInputElement>('[name="target"]')) {
    radio.addEventListener('change', () => {
      const target = radio.value as Settings['target'];
      const { chosen } = settings.value;
      settings.change({ target, chosen: target === 'class' ? chosen.slice(0, 1) : chosen });
    });
  }
  for (const button of setup.querySelectorAll<HTMLButtonElement>('[data-source]')) {
    const kind = button.dataset.source;
    if (kind !== 'clip' && kind !== 'camera' && kind !== 'screen') continue;
    button.addEventListener('click', () => settings.change({ input: { kind }, paused: false }));
  }

  const pause = element<HTMLButtonElement>('pause');
  const back = element<HTMLButtonElement>('step-back');
  const forward = element<HTMLButtonElement>('step-forward');
  const toggle = () => settings.change({ paused: !settings.value.paused });
  pause.addEventListener('click', toggle);
  back.addEventListener('click', () => step(-1));
  forward.addEventListener('click', () => step(1));
  addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || usesKeys(event.target, event.key)) return;
    if (event.key === ' ') toggle();
    else if (event.key === 'ArrowLeft' && settings.value.paused) step(-1);
    else if (event.key === 'ArrowRight' && settings.value.paused) step(1);
    else return;
    event.preventDefault();
  });

  settings.all$.subscribe((now) => {
    setText(pause, now.paused ? 'Play' : 'Pause');
    back.disabled = forward.disabled = !now.paused;
    const source = now.input.kind === 'files' ? 'file' : now.input.kind;
    for (const button of setup.querySelectorAll<HTMLButtonElement>('[data-source]')) {
      button.setAttribute('aria-pressed', String(button.dataset.source === source));
    }
    for (const radio of setup.querySelectorAll<HTMLInputElement>('[name="target"]')) {
      radio.checked = radio.value === now.target;
    }
    showModel(model, now);
    for (const radio of drawing.querySelectorAll<HTMLInputElement>('[name="mode"]')) {
      radio.checked = radio.value === now.mode;
    }
    device.value = now.device;
    budgetOn.checked = now.budgetMs !== undefined;
    if (now.budgetMs !== undefined) budgetMs.value = String(now.budgetMs);
    setText(element('budget-value'), `${now.budgetMs ?? budgetMs.value} ms`);
    const hasFloat32 = float32Of(now.model) !== undefined;
    compare.checked = now.compare && hasFloat32;
    compare.disabled = !hasFloat32;
    composite.value = now.composite;
    setText(fact, choices.composites.find(({ name }) => name === now.composite)?.description ?? '');
    colorMap.value = now.colorMap;
  });
}

/** The user's own model is one entry of the menu while it is in use. */
function showModel(model: HTMLSelectElement, { model: choice }: Settings): void {
  let own = model.querySelector<HTMLOptionElement>('option[value="own"]');
  if (choice.kind === 'own') {
    if (own === null) {
      own = new Option('', 'own');
      model.append(own);
    }
    setText(own, choice.model.name);
    model.value = 'own';
  } else {
    own?.remove();
    model.value = choice.name;
  }
}

/** Whether the focused control has a use of its own for this key. */
function usesKeys(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof Element)) return false;
  if (key === ' ') return target.closest('button, select, input, a, [contenteditable]') !== null;
  return target.closest('select, input, [contenteditable]') !== null;
}
