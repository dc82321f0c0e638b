/** The element with this id; the page is ours, so a missing one is a mistake in it. */
export function element<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no element #${id}`);
  return found as unknown as T;
}

/** Sets text only when it differs: a screen reader and the layout are left alone otherwise. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** A number in at most five characters or so, for columns of figures; minus is a true minus. */
export function figure(value: number, digits = 2): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const text =
    size >= 1e5 || (size > 0 && size < 1e-3) ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : digits);
  return text.replaceAll('-', '−');
}

/** `1.2 MB`, `340 kB`. */
export function bytes(count: number): string {
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(count / 1e3))} kB`;
}

/** `0:07.40` from seconds. */
export function clock(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - minutes * 60).toFixed(2).padStart(5, '0')}`;
}
