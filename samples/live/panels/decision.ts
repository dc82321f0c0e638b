import { figure, setText } from '../dom.js';

/** One output of the model as the panel shows it. */
export interface Candidate {
  readonly index: number;
  readonly label: string;
  /** 0…1 */
  readonly probability: number;
  readonly logit: number | undefined;
}

/** Shows the strongest outputs as bars; a bar is a button that makes its class the explained one. */
export function decisionPanel(list: HTMLElement, pick: (index: number) => void) {
  const rows: {
    item: HTMLLIElement;
    button: HTMLButtonElement;
    share: HTMLElement;
    parts: HTMLElement[];
    index: number;
  }[] = [];

  const addRow = () => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    const share = document.createElement('span');
    share.className = 'share';
    const parts = ['name', 'number', 'logit number'].map((className) => {
      const part = document.createElement('span');
      part.className = className;
      return part;
    });
    button.append(share, ...parts);
    item.append(button);
    list.append(item);
    const row = { item, button, share, parts, index: -1 };
    button.addEventListener('click', () => pick(row.index));
    rows.push(row);
    return row;
  };

  return {
    show(candidates: readonly Candidate[], explained: ReadonlySet<number>) {
      for (const [place, candidate] of candidates.entries()) {
        const row = rows[place] ?? addRow();
        row.index = candidate.index;
        row.item.hidden = false;
        row.item.classList.toggle('explained', explained.has(candidate.index));
        row.button.setAttribute('aria-pressed', String(explained.has(candidate.index)));
        row.share.style.transform = `scaleX(${candidate.probability.toFixed(4)})`;
        const [name, probability, logit] = row.parts;
        setText(name!, candidate.label);
        setText(probability!, `${(candidate.probability * 100).toFixed(1)} %`);
        setText(logit!, candidate.logit === undefined ? '' : figure(candidate.logit));
      }
      for (const row of rows.slice(candidates.length)) row.item.hidden = true;
    },
    clear() {
      for (const row of rows) row.item.hidden = true;
    },
  };
}
