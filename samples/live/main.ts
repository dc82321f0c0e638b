import { merge, skip } from 'rxjs';
import { type Explainer, type Frame, type Progress, presets, WhylightError } from '../../sdk/index.js';
import { settingsOf } from './address.js';
import { connectClasses } from './classes.js';
import { connectControls } from './controls.js';
import { bytes, clock, element, figure, setText } from './dom.js';
import { connectFiles } from './files.js';
import { createPainter } from './painter.js';
import { budgetPanel } from './panels/budget.js';
import { comparisonPanel } from './panels/comparison.js';
import { conservationPanel } from './panels/conservation.js';
import { decisionPanel } from './panels/decision.js';
import { legendPanel } from './panels/legend.js';
import { createRates } from './panels/rates.js';
import { timingPanel } from './panels/timing.js';
import { openSession, type Shown } from './session.js';
import { createSettings } from './settings.js';
import { createStage } from './stage.js';

const painter = createPainter();
const settings = createSettings({
  input: { kind: 'clip' },
  model: { kind: 'bundled', name: 'glyphs-int8' },
  compare: false,
  device: 'auto',
  composite: 'epsilon-plus-flat',
  target: 'strongest',
  chosen: [],
  mode: 'tint',
  opacity: 0.9,
  smoothing: 2,
  colorMap: painter.colorMaps[0]!,
  paused: false,
  budgetMs: undefined,
  ...settingsOf(location.search, {
    models: [...element<HTMLSelectElement>('model').options].map((option) => option.value),
    composites: Object.keys(presets),
    colorMaps: painter.colorMaps,
  }),
});

const comparison = comparisonPanel(element('views'), element('comparison'));
const stage = createStage(element<HTMLCanvasElement>('canvas'), (canvas, ...shown) =>
  painter.paint(canvas, comparison.canvases, ...shown),
);
const decision = decisionPanel(element('decision'), (index) => settings.change({ target: 'class', chosen: [index] }));
const legend = legendPanel(element('legend'));
const conservation = conservationPanel(element('conservation'));
const timing = timingPanel(element('timing'), ['waiting', 'preprocessing', 'model and relevance', 'reading back']);
const budget = budgetPanel(element('budget'));
const classes = connectClasses(settings);
const rates = createRates();

const session = openSession(settings, {
  progress: showProgress,
  explainer: showExplainer,
  comparing(on) {
    comparison.open(on);
    if (on) explainAgain();
  },
  noExplainer() {
    setText(element('device-status'), 'no model is running');
    for (const fact of ['model-fact', 'device-fact']) setText(element(fact), '');
    decision.clear();
    legend.show(undefined);
    conservation.show(undefined);
    timing.clear();
    budget.clear();
    rates.clear();
    showRates();
  },
  source(source) {
    stage.clear();
    rates.clear();
    timing.clear();
    budget.clear();
    const { info } = source;
    const size = info.width === undefined ? '' : `${info.width} × ${info.height}, `;
    const length = info.duration === undefined ? 'live' : `${info.duration.toFixed(1)} s`;
    setText(element('source-fact'), `${size}${length}, decoded by ${decoders[info.decoder]}`);
  },
  explained(explanation, frame) {
    stage.show(explanation, frame, settings.value);
    element('waiting').hidden = true;
    comparison.add(explanation);
    showExplanation(explanation);
    rates.add(explanation, settings.value.paused);
    showRates();
    const { queue, preprocess, inference, readback } = explanation.timing;
    timing.add([queue, preprocess, inference, readback]);
    budget.add(explanation);
    document.dispatchEvent(new CustomEvent('explanation', { detail: explanation }));
  },
  unexplained(frame: Frame) {
    setText(element('clock'), clock(frame.timestamp / 1e6));
    stage.showPlain(frame);
    element('waiting').hidden = true;
  },
  stopped() {
    setText(element('device-status'), 'the model has stopped');
  },
  metrics: (metrics) => budget.metrics(metrics),
  complain,
});

const decoders = {
  webcodecs: 'the browser',
  ffmpeg: 'ffmpeg.wasm',
  camera: 'the camera',
  screen: 'the screen',
  images: 'the browser',
  microphone: 'the microphone',
} as const;

connectControls(
  settings,
  {
    composites: Object.entries(presets).map(([name, { description }]) => ({ name, description })),
    colorMaps: painter.colorMaps,
  },
  (by) => {
    if (stage.step(by, settings.value)) showShown();
    else if (by === 1) session.step();
  },
);
connectFiles(settings, complain);

settings.field('colorMap').subscribe((name) => legend.colours(painter.colours(name)));
merge(settings.field('mode'), settings.field('opacity'), settings.field('colorMap'))
  .pipe(skip(3))
  .subscribe(() => stage.redraw(settings.value));
// a choice of classes begins with the one that is strongest now
settings.field('target').subscribe((target) => {
  const strongest = stage.shown?.topK[0]?.index;
  if (target === 'strongest' || settings.value.chosen.length > 0 || strongest === undefined) return;
  settings.change({ chosen: [strongest] });
});
// what stands still is explained anew; what moves, with its next frame
merge(settings.field('target'), settings.field('chosen'))
  .pipe(skip(2))
  .subscribe(() => explainAgain());

let retry: (() => void) | undefined;
element('alert-retry').addEventListener('click', () => {
  element('alert').hidden = true;
  retry?.();
});
element('alert-close').addEventListener('click', () => {
  element('alert').hidden = true;
});
// the next thing that a person tries makes the last complaint old news
merge(settings.field('input'), settings.field('model'), settings.field('device'), settings.field('composite'))
  .pipe(skip(4))
  .subscribe(() => {
    element('alert').hidden = true;
  });

function explainAgain(): void {
  if (!settings.value.paused && !session.still) return;
  void stage.frameAgain().then((frame) => frame && session.again(frame));
}

function showRates(): void {
  setText(element('fps'), figure(rates.perSecond, 1));
  setText(element('latency'), figure(rates.age, 0));
  setText(element('dropped'), String(rates.dropped));
}

function showShown(): void {
  if (stage.shown !== undefined) showExplanation(stage.shown);
}

function showExplanation(explanation: Shown): void {
  const { topK, target, logit, conservation: audit } = explanation;
  comparison.show(explanation, painter.magnification(explanation));
  const preset = presets[settings.value.composite];
  decision.show(topK, new Set(target.indices));
  const scale = painter.scale(explanation);
  legend.show(scale);
  conservation.show(
    scale && {
      relevance: scale.positive + scale.negative,
      logit,
      absorbed: audit?.absorbed.at(-1),
      conserves: preset?.composite.init !== 'one' && preset?.attribution === undefined,
    },
  );
  setText(element('clock'), clock(explanation.timestamp / 1e6));
}

function showExplainer(explainer: Explainer): void {
  const { device, report, labels, metadata } = explainer;
  const name = device.device === 'webgpu' ? 'WebGPU' : 'WASM';
  const status = element('device-status');
  const strong = document.createElement('b');
  strong.textContent = name;
  status.replaceChildren(strong, ` ${device.adapter ?? `${device.threads} thread${device.threads === 1 ? '' : 's'}`}`);
  setText(element('device-fact'), device.reason);
  const outputs = report.explained.shape.reduce((product, size) => product * size, 1);
  const cost = report.forward > 0 ? `, relevance costs ${figure(report.backward / report.forward, 1)} × the model` : '';
  setText(element('model-fact'), `${metadata.input.shape.join(' × ')} → ${outputs} outputs${cost}`);
  classes.setLabels(Array.from({ length: outputs }, (_, index) => labels[index] ?? String(index)));
  painter.reset(explainer);
  explainAgain();
}

function showProgress(progress: Progress | undefined): void {
  const box = element('progress');
  box.hidden = progress === undefined || progress.stage === 'ready';
  if (progress === undefined) return;
  const bar = element<HTMLProgressElement>('progress-bar');
  bar.removeAttribute('value');
  setText(element('progress-text'), sentenceOf(progress, bar));
}

function sentenceOf(progress: Progress, bar: HTMLProgressElement): string {
  switch (progress.stage) {
    case 'download': {
      const { loaded, total } = progress;
      if (total !== undefined) bar.value = loaded / total;
      return `Loading the model, ${bytes(loaded)}${total === undefined ? '' : ` of ${bytes(total)}`}`;
    }
    case 'compile':
      return 'Compiling the explanation';
    case 'session':
      return `Starting ${progress.device === 'webgpu' ? 'WebGPU' : 'WASM'}`;
    case 'check':
      return 'Comparing the GPU with the CPU';
    case 'ready':
      return 'Ready';
  }
}

function complain(error: unknown, again?: () => void): void {
  retry = again;
  element('alert-retry').hidden = again === undefined;
  const sentence = error instanceof Error ? error.message : String(error);
  setText(element('alert-text'), sentence);
  element('alert').hidden = false;
  if (!(error instanceof WhylightError) && typeof error !== 'string') console.error(error);
}
