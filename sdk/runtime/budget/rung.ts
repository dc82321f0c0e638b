/** How much is explained, as far as the budget is concerned: one step of a ladder, which goes from best to cheapest. */
export interface Rung {
  /** for a person, such as `LRP down to layer 12` */
  readonly name: string;
  /** key of the compiled graph that it runs; rungs that share a graph share its weights and its worker */
  readonly graph: string;
  /** LRP on every n-th frame and the forward pass on all: 1 is LRP on every frame, Infinity on none */
  readonly every: number;
  /** multiply-adds of the forward pass, > 0 */
  readonly forward: number;
  /** multiply-adds that LRP adds, ≥ 0 */
  readonly backward: number;
}

/** A run of a graph: with or without the backward pass. */
export type Mode = `${'explained' | 'forward'} ${string}`;

/** The mode in which a graph runs. */
export function modeOf(graph: string, explained: boolean): Mode {
  return `${explained ? 'explained' : 'forward'} ${graph}`;
}
