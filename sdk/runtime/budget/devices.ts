import type { DeviceChoice } from '../explanation.js';
import type { Resource, Use } from './turns.js';

/** So many milliseconds a run has its device to itself; one that takes longer, or never answers, runs beside others from then on. */
const longestHold = 2000;

/** The one GPU that a page gets. */
const gpu: Resource = { units: 1, heldFor: longestHold };

/** The processor. */
const cores: Resource = {
  get units() {
    return Math.max(1, globalThis.navigator?.hardwareConcurrency ?? 1);
  },
  heldFor: longestHold,
};

/** A resource of an explainer's own: it runs one graph at a time, whichever stream's frame it is and however long it takes. */
export function oneAtATime(): Use {
  return { resource: { units: 1, heldFor: Number.POSITIVE_INFINITY }, units: 1 };
}

/** What a run takes of the device that all explainers of the page share: the GPU, or as many cores as it has threads. */
export function shareOf({ device, threads }: Pick<DeviceChoice, 'device' | 'threads'>): Use {
  return device === 'webgpu' ? { resource: gpu, units: 1 } : { resource: cores, units: threads };
}
