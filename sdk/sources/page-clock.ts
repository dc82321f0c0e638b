/**
 * Timestamps of a camera run on a clock of their own. The least delay ever seen between the two clocks is taken for their
 * difference: then times of capture are as regular as the camera, and what the page was late counts as age.
 *
 * @returns the time of capture in milliseconds on the page's clock, for a frame's timestamp in microseconds and the time at
 * which it arrived in milliseconds
 */
export function pageClock(): (timestamp: number, arrived: number) => number {
  let difference = Number.POSITIVE_INFINITY;
  return (timestamp, arrived) => {
    difference = Math.min(difference, arrived - timestamp / 1000);
    return timestamp / 1000 + difference;
  };
}
