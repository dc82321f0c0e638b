import type { Explanation } from '../../../sdk/index.js';

const span = 2000;

/** Explanations per second and their age over the last two seconds, and all frames that were dropped. */
export function createRates() {
  let recent: { readonly at: number; readonly age: number }[] = [];
  let dropped = 0;
  return {
    add(explanation: Explanation, paused: boolean) {
      const at = performance.now();
      recent = paused ? [] : recent.filter((entry) => at - entry.at < span);
      recent.push({ at, age: at - explanation.captured });
      dropped += explanation.dropped;
    },
    clear() {
      recent = [];
      dropped = 0;
    },
    get perSecond() {
      const [first] = recent;
      return first === undefined || recent.length < 2
        ? Number.NaN
        : ((recent.length - 1) * 1000) / (recent.at(-1)!.at - first.at);
    },
    /** milliseconds from the moment that a frame was due to its explanation on the screen */
    get age() {
      return recent.length === 0 ? Number.NaN : recent.reduce((sum, { age }) => sum + age, 0) / recent.length;
    },
    get dropped() {
      return dropped;
    },
  };
}
