import { element } from './dom.js';
import type { SettingsStore } from './settings.js';

/** What a set of files is, by their names and types: a model with its companions, or media. */
export type Sorted =
  | { readonly kind: 'model'; readonly model: File; readonly metadata?: File; readonly labels?: File }
  | { readonly kind: 'media'; readonly files: readonly File[] }
  | { readonly kind: 'neither'; readonly reason: string };

/** Sorts files that were dropped or chosen together. */
export function sortFiles(files: readonly File[]): Sorted {
  const ending = (suffix: string) => files.find((file) => file.name.toLowerCase().endsWith(suffix));
  const model = ending('.onnx');
  if (model !== undefined) {
    const metadata = ending('.json');
    const labels = ending('.txt');
    return { kind: 'model', model, ...(metadata && { metadata }), ...(labels && { labels }) };
  }
  const media = files.filter(
    (file) => /^(video|image)\//.test(file.type) || /\.(mkv|avi|mov|ts|mpg|wmv|flv)$/i.test(file.name),
  );
  if (media.length > 0) return { kind: 'media', files: media };
  const names = files.map((file) => `“${file.name}”`).join(', ');
  const other =
    files.length === 1
      ? 'is neither a video, a picture nor an ONNX model'
      : 'are neither videos, pictures nor an ONNX model';
  return {
    kind: 'neither',
    reason:
      files.length === 0
        ? 'What was dropped is not a file.'
        : `${names} ${other} (.onnx, with its .json and labels .txt).`,
  };
}

/** Opens files by button or by dropping them anywhere on the page. */
export function connectFiles(settings: SettingsStore, complain: (sentence: string) => void): void {
  const take = (files: readonly File[]) => {
    const sorted = sortFiles(files);
    if (sorted.kind === 'media') settings.change({ input: { kind: 'files', files: sorted.files }, paused: false });
    else if (sorted.kind === 'model')
      settings.change({ model: { ...sorted, kind: 'own' }, target: 'strongest', chosen: [] });
    else complain(sorted.reason);
  };
  for (const [button, input] of [
    ['[data-source="file"]', 'media-file'],
    ['#open-model', 'model-file'],
  ] as const) {
    const chooser = element<HTMLInputElement>(input);
    document.querySelector(button)?.addEventListener('click', () => chooser.click());
    chooser.addEventListener('change', () => {
      const files = [...(chooser.files ?? [])];
      // the same file can be chosen again
      chooser.value = '';
      if (files.length > 0) take(files);
    });
  }

  const hint = element('drop-hint');
  let depth = 0;
  addEventListener('dragenter', (event) => {
    event.preventDefault();
    depth++;
    hint.hidden = false;
  });
  addEventListener('dragleave', () => {
    depth = Math.max(0, depth - 1);
    hint.hidden = depth === 0;
  });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    hint.hidden = true;
    take([...(event.dataTransfer?.files ?? [])]);
  });
}
