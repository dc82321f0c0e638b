import type { FrameDrift } from '../../../sdk/index.js';
import { figure, setText } from '../dom.js';
import type { Shown } from '../session.js';

/** Frames that the second column is the mean of. */
const remembered = 100;

const percent = (share: number): string => (Number.isNaN(share) ? '–' : `${minus((100 * share).toFixed(1))} %`);

const minus = (text: string): string => text.replace('-', '−');

/** The figures, in the order of the table. */
const rows: readonly {
  readonly name: string;
  readonly title: string;
  readonly read: (drift: FrameDrift) => number;
  readonly write: (value: number) => string;
  /** what the mean is taken of; default the figure itself */
  readonly size?: (value: number) => number;
}[] = [
  {
    name: 'cosine',
    title: 'whether both maps have the same shape: 1 for the same, 0 for nothing in common',
    read: ({ map }) => map.cosine,
    write: (value) => figure(value, 4),
  },
  {
    name: 'Spearman’s ρ',
    title: 'whether pixels come in the same order of relevance',
    read: ({ map }) => map.spearman,
    write: (value) => figure(value, 4),
  },
  {
    name: 'top 1 % shared',
    title: 'of the most relevant hundredth of the pixels, how many are the same ones',
    read: ({ map }) => map.top1,
    write: percent,
  },
  {
    name: 'top 10 % shared',
    title: 'of the most relevant tenth of the pixels, how many are the same ones',
    read: ({ map }) => map.top10,
    write: percent,
  },
  {
    name: 'relevance that changed sides',
    title: 'on pixels that speak for the decision in one model and against it in the other',
    read: ({ map }) => map.signFlips.relevance,
    write: percent,
  },
  {
    name: 'change of the logit',
    title: 'this model’s explained logit less the float32 model’s; the mean is of its magnitude',
    read: ({ logit }) => logit.change,
    write: (value) => figure(value, 3),
    size: Math.abs,
  },
  {
    name: '… relative',
    title: 'in units of the float32 model’s logit',
    read: ({ logit }) => logit.relative,
    write: percent,
    size: Math.abs,
  },
];

/** Puts two more pictures beside the page's own and the figures under them. */
export function comparisonPanel(views: HTMLElement, box: HTMLElement) {
  const main = views.querySelector<HTMLElement>('.picture')!;
  const caption = (text: string) => {
    const label = document.createElement('p');
    label.className = 'caption';
    label.textContent = text;
    return label;
  };
  const view = (id: string, name: string, text: string) => {
    const picture = document.createElement('div');
    picture.className = 'picture beside';
    const canvas = document.createElement('canvas');
    canvas.id = id;
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', name);
    const label = caption(text);
    picture.append(canvas, label);
    views.append(picture);
    return { canvas, label };
  };
  main.append(caption('this model'));
  const float32 = view('canvas-float32', 'The same frame with the float32 model’s relevance', 'float32');
  const difference = view('canvas-difference', 'What this model’s relevance has more or less', 'difference');

  const table = document.createElement('table');
  table.className = 'number';
  table.innerHTML =
    '<thead><tr><th scope="col"></th><th scope="col">this frame</th><th scope="col">mean</th></tr></thead>';
  const whose = table.tHead!.rows[0]!.cells[1]!;
  const body = table.createTBody();
  const cells = rows.map(({ name, title }) => {
    const row = body.insertRow();
    const head = document.createElement('th');
    head.scope = 'row';
    head.title = title;
    head.textContent = name;
    row.append(head);
    const [now, mean] = [row.insertCell(), row.insertCell()];
    now.dataset.figure = name;
    return { now, mean };
  });
  const decision = document.createElement('p');
  decision.className = 'fact';
  decision.id = 'comparison-decision';
  box.append(table, decision);

  let recent: FrameDrift[] = [];

  return {
    canvases: { float32: float32.canvas, difference: difference.canvas },
    /** Makes room for the pictures, or takes it back; the figures begin anew. */
    open(on: boolean) {
      views.classList.toggle('comparing', on);
      box.hidden = !on;
      recent = [];
    },
    /** The next frame; one whose comparison is carried along from an earlier one adds nothing. */
    add({ comparison, timestamp }: Shown) {
      if (comparison?.drift.timestamp !== timestamp) return;
      recent = [...recent, comparison.drift].slice(-remembered);
    },
    /**
     * The frame that is looked at, its difference magnified by `times`; one that was explained before the comparison began has no figures.
     * What is carried along from an earlier frame is headed by how much earlier that one is.
     */
    show({ comparison, timestamp }: Shown, times = 1) {
      const drift = comparison?.drift;
      setText(difference.label, times === 1 ? 'difference' : `difference × ${times}`);
      const earlier = drift === undefined ? 0 : timestamp - drift.timestamp;
      setText(whose, earlier === 0 ? 'this frame' : `${figure(earlier / 1000, 0)} ms earlier`);
      for (const [index, { read, write, size = itself }] of rows.entries()) {
        const values = recent.map((frame) => size(read(frame))).filter(Number.isFinite);
        const { now, mean } = cells[index]!;
        setText(now, drift === undefined ? '–' : write(read(drift)));
        setText(mean, write(values.reduce((sum, value) => sum + value, 0) / values.length));
      }
      setText(decision, drift === undefined ? 'This frame was not compared.' : decisionText(drift, recent));
    },
  };
}

const itself = (value: number): number => value;

function decisionText(
  { decision: { reference, compared, changed } }: FrameDrift,
  recent: readonly FrameDrift[],
): string {
  const now = changed
    ? `Another decision: ${compared?.label}, float32 says ${reference?.label}.`
    : `The same decision: ${compared?.label}.`;
  const differing = recent.filter(({ decision }) => decision.changed).length;
  return `${now} In the last ${recent.length} frames ${differing} differ.`;
}
