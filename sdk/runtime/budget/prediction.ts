import { type Mode, modeOf, type Rung } from './rung.js';
import { quantile, quantileOf } from './statistics.js';

// How old frames would be on a rung, from what frames on any rung have met.
//
// A frame's age when it is handed over is
//
//   source (capture → arrival) + wait (until the device is free) + overhead (transfer, preprocessing, read-back) + inference
//
// Only inference, and with it the wait, depends on the rung. A mode's inference is taken to be work × load: work is what the
// mode costs beside others, by multiply-adds until it was measured, and load is how slow the device is at the moment, which
// is measured on whatever mode is running and holds for all of them. So a rung can be judged without being tried: every frame of the
// last while says how old it would have been there, and the 95th percentile is taken of these ages. (That of each part for itself
// added up is half as much again where parts are late one at a time.)

/** What a frame met, in milliseconds. */
export interface Conditions {
  /** capture → arrival */
  readonly source: number;
  /** arrival → start, because other streams held the device */
  readonly foreign: number;
  /** everything between start and hand-over but inference */
  readonly overhead: number;
  /** what the subscriber did with it before the next could start */
  readonly render: number;
  /** inference over the work of its mode */
  readonly load: number;
}

/** Work of a rung's two modes. */
export interface Costs {
  readonly forward: number;
  readonly explained: number;
}

/** Work that was measured, by mode, in multiply-adds of the forward pass. */
export type Work = Readonly<Partial<Record<Mode, number>>>;

/**
 * What the rungs' runs cost. What was not measured is derived from what was: the forward pass is the same in every graph of the
 * same size, and the backward pass has so many multiply-adds, each as dear as those of other graphs.
 */
export function costsOf(ladder: readonly Rung[], work: Work): readonly Costs[] {
  const forwards = ladder.map(({ graph, forward }) => {
    const alike = ladder.find((other) => other.forward === forward && work[modeOf(other.graph, false)] !== undefined);
    return work[modeOf(graph, false)] ?? (alike && work[modeOf(alike.graph, false)]) ?? forward;
  });
  const paces = ladder.flatMap(({ graph, backward }, index) => {
    const explained = work[modeOf(graph, true)];
    return explained === undefined || backward === 0 ? [] : [(explained - forwards[index]!) / backward];
  });
  const pace = paces.length === 0 ? 1 : Math.max(0, quantile(paces, 0.5));
  return ladder.map(({ graph, backward }, index) => {
    const forward = forwards[index]!;
    return { forward, explained: work[modeOf(graph, true)] ?? forward + backward * pace };
  });
}

/** A rung to be judged. */
export interface Candidate {
  readonly rung: Rung;
  readonly costs: Costs;
  /** the cheapest drops what has waited and takes what is fresh; better ones are not to be had at the price of idle time */
  readonly waits: boolean;
  /** milliseconds between two frames of the source */
  readonly interval: number;
}

/** Milliseconds from start to hand-over that a run would have taken under the conditions. */
export function runOf(cost: number, { overhead, load }: Conditions): number {
  return overhead + load * cost;
}

/** The most work that one frame of the rung is. */
export function mostWork({ rung, costs }: Pick<Candidate, 'rung' | 'costs'>): number {
  return rung.every < Number.POSITIVE_INFINITY ? costs.explained : costs.forward;
}

/**
 * The age that the share `q` of a rung's frames would have had under the conditions, the older ones of its cadence; NaN under none. A run may
 * take `slack` intervals before the next frame is said to wait for it.
 */
export function ageOn(candidate: Candidate, conditions: readonly Conditions[], q: number, slack = 1): number {
  const { rung, costs, waits } = candidate;
  const { every } = rung;
  const age = (cost: number, after: number) =>
    quantileOf(conditions, ({ source, foreign, overhead, load }) => source + foreign + overhead + load * cost, q) +
    (waits ? waitAfter(after, candidate.interval, slack, conditions, q) : 0);
  if (every === Number.POSITIVE_INFINITY) return age(costs.forward, costs.forward);
  if (every === 1) return age(costs.explained, costs.explained);
  return Math.max(age(costs.explained, costs.forward), age(costs.forward, costs.explained));
}

/** Share of the time for which a stream is busy that takes all that it can: the next frame has to come first. */
const busiest = 0.9;

/** How many frames a second a rung would have handed over under the conditions: those that it takes, less the stale ones that it drops. */
export function rateOn({ rung, costs, interval }: Candidate, conditions: readonly Conditions[]): number {
  const share = 1 / rung.every;
  const cost = share * costs.explained + (1 - share) * costs.forward;
  let busy = 0;
  for (const one of conditions) busy += runOf(cost, one) + one.render;
  return Math.min(1000 / interval, (busiest * 1000 * conditions.length) / busy);
}

/**
 * How long a frame waits that comes while another is running. Where most runs take longer than the source's interval, that is up to
 * an interval: then a newer frame takes its place. Where only some do, it is what those take more.
 */
function waitAfter(
  cost: number,
  interval: number,
  slack: number,
  conditions: readonly Conditions[],
  q: number,
): number {
  const busy = (one: Conditions) => runOf(cost, one) + one.render;
  if (quantileOf(conditions, busy, 0.95) > slack * interval) return interval;
  return Math.min(interval, Math.max(0, quantileOf(conditions, busy, q) - slack * interval));
}
