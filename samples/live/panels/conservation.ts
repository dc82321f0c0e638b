import { figure, setText } from '../dom.js';

/** The account of one explanation: the explained logit is what the pixels got plus what was absorbed on the way. */
export interface Account {
  /** ΣR over the input */
  readonly relevance: number;
  /** the explained logit, or the sum of a group's */
  readonly logit: number;
  /** relevance that biases kept, where the compiled graph measures it */
  readonly absorbed: number | undefined;
  /** false for methods that do not share out the logit, such as the gradient: their sums need not come out */
  readonly conserves: boolean;
}

const width = 1000;

const markup = `
  <svg viewBox="0 0 ${width} 40" preserveAspectRatio="none" aria-hidden="true">
    <defs>
      <pattern id="hatch" width="9" height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <line class="hatch" x1="0" y1="0" x2="0" y2="9" vector-effect="non-scaling-stroke" />
      </pattern>
    </defs>
    <rect class="track" width="${width}" height="40" />
    <rect class="relevance" y="6" height="28" />
    <rect class="absorbed" y="6" height="28" />
    <line class="zero" y1="0" y2="40" vector-effect="non-scaling-stroke" />
    <line class="logit" y1="0" y2="40" vector-effect="non-scaling-stroke" />
  </svg>
  <dl class="table">
    <dt><span class="key key-relevance"></span>ΣR of the pixels</dt><dd class="number" data-part="relevance"></dd>
    <dt><span class="key key-absorbed"></span>absorbed by biases</dt><dd class="number" data-part="absorbed"></dd>
    <dt>explained logit</dt><dd class="number" data-part="logit"></dd>
    <dt title="stabilizers, rounding, and units whose inputs all have one sign under a rule that shares out both">not handed on</dt><dd class="number" data-part="rest"></dd>
  </dl>
  <p class="fact" data-part="note" hidden>This method does not share out the logit, so the sums need not come out.</p>`;

/** Shows how much of the explained logit arrives at the pixels: relevance is redistributed, not made. */
export function conservationPanel(box: HTMLElement) {
  box.innerHTML = markup;
  const part = (name: string) => box.querySelector(`[data-part="${name}"]`)!;
  const note = box.querySelector<HTMLElement>('[data-part="note"]')!;
  const shape = (name: string) => box.querySelector(`svg .${name}`)!;

  const span = (target: Element, from: number, to: number) => {
    target.setAttribute('x', Math.min(from, to).toFixed(1));
    target.setAttribute('width', Math.abs(to - from).toFixed(1));
  };
  const stand = (target: Element, at: number) => {
    target.setAttribute('x1', at.toFixed(1));
    target.setAttribute('x2', at.toFixed(1));
  };

  return {
    /** Undefined where nothing is redistributed. */
    show(account: Account | undefined) {
      if (account === undefined) {
        for (const name of ['relevance', 'absorbed']) span(shape(name), 0, 0);
        for (const name of ['zero', 'logit']) stand(shape(name), -width);
        for (const name of ['relevance', 'absorbed', 'logit', 'rest']) setText(part(name), '–');
        note.hidden = true;
        return;
      }
      const { relevance, logit, absorbed, conserves } = account;
      const end = relevance + (absorbed ?? 0);
      const low = Math.min(0, relevance, end, logit);
      const high = Math.max(0, relevance, end, logit);
      // a little air on both sides, so that a marker at the end is still seen whole
      const place = (value: number) => 12 + ((value - low) / Math.max(high - low, 1e-9)) * (width - 24);
      span(shape('relevance'), place(0), place(relevance));
      span(shape('absorbed'), place(relevance), place(end));
      stand(shape('zero'), place(0));
      stand(shape('logit'), place(logit));
      setText(part('relevance'), figure(relevance, 3));
      setText(part('absorbed'), absorbed === undefined ? 'not measured' : figure(absorbed, 3));
      setText(part('logit'), figure(logit, 3));
      setText(part('rest'), absorbed === undefined || !conserves ? '–' : figure(logit - end, 3));
      note.hidden = conserves;
    },
  };
}
