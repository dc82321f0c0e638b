import { type Use, unitsOf } from './turns.js';

/** A stream that may have to wait for one's runs. */
export interface Neighbour {
  /** what one of its runs takes */
  uses(): readonly Use[];
  /**
   * how many milliseconds of its budget it can spare for the runs of others; Infinity where it has no budget. The rest is its own run's: on the
   * best rung what that takes, else the given share, for which there may be a better one, and never less than the cheapest rung's
   */
  patience(now: number, share: number): number;
  /** milliseconds that the longest of its last runs took, 0 before there was one */
  longestOfLate(): number;
}

/**
 * How many milliseconds a run may take for the sake of those who cannot have what they need at the same time; Infinity where there are none. Each
 * of them waits for the runs of all others: one's own may take what the rest leave of its patience, and an equal share of that in any
 * case. So of streams that are alike none has the best rung at the price of another's.
 */
export function longestTolerated(uses: readonly Use[], neighbours: readonly Neighbour[], now: number): number {
  let longest = Number.POSITIVE_INFINITY;
  for (const use of uses) {
    const units = unitsOf(use);
    const { units: capacity } = use.resource;
    const users = neighbours.flatMap((neighbour) => {
      const same = neighbour.uses().find(({ resource }) => resource === use.resource);
      return same === undefined ? [] : [{ neighbour, units: unitsOf(same) }];
    });
    const wanted = users.reduce((sum, user) => sum + user.units, units);
    if (wanted <= capacity) continue;
    const runs = users.reduce((sum, user) => sum + user.units * user.neighbour.longestOfLate(), 0);
    for (const { neighbour, units: its } of users) {
      const patience = neighbour.patience(now, capacity / wanted);
      const share = (patience * capacity) / (wanted - its);
      const left = (patience * capacity - (runs - its * neighbour.longestOfLate())) / units;
      longest = Math.min(longest, patience, Math.max(share, left));
    }
  }
  return longest;
}
