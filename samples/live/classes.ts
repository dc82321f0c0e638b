import { element } from './dom.js';
import type { SettingsStore } from './settings.js';

const shown = 200;

/** The list of classes to choose one or several from; `label(index)` names them. */
export function connectClasses(settings: SettingsStore) {
  const box = element('classes');
  const list = element('class-list');
  const filter = element<HTMLInputElement>('class-filter');
  let labels: readonly string[] = [];

  const draw = () => {
    const { target, chosen } = settings.value;
    box.hidden = target === 'strongest';
    if (box.hidden) return;
    const wanted = filter.value.trim().toLowerCase();
    const found = [...labels.keys()].filter((index) => labels[index]!.toLowerCase().includes(wanted)).slice(0, shown);
    filter.hidden = labels.length <= 12;
    const focused = document.activeElement instanceof HTMLInputElement ? document.activeElement.value : undefined;
    list.replaceChildren(
      ...found.map((index) => {
        const row = document.createElement('label');
        const box = document.createElement('input');
        box.type = target === 'class' ? 'radio' : 'checkbox';
        box.name = 'chosen';
        box.value = String(index);
        box.checked = chosen.includes(index);
        row.append(box, labels[index]!);
        return row;
      }),
    );
    // redrawing must not take the focus away from the box that was just ticked
    if (focused !== undefined) list.querySelector<HTMLInputElement>(`input[value="${CSS.escape(focused)}"]`)?.focus();
  };

  filter.addEventListener('input', draw);
  list.addEventListener('change', (event) => {
    const box = event.target as HTMLInputElement;
    const index = Number(box.value);
    const { target, chosen } = settings.value;
    const others = chosen.filter((other) => other !== index);
    settings.change({ chosen: target === 'class' ? [index] : box.checked ? [...others, index] : others });
  });
  settings.field('target').subscribe(draw);
  settings.field('chosen').subscribe(draw);

  return {
    /** Called with the labels of every model that is loaded. */
    setLabels(next: readonly string[]) {
      labels = next;
      filter.value = '';
      draw();
    },
  };
}
