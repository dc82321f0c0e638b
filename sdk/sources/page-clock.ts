/**
 * Timestamps of a device run on a clock of their own. The least delay ever seen between the two clocks is taken for their
 * difference: then times of capture are as regular as the device, and what the page was late counts as age.
 *
 * @param drift by how much the device's clock may be slower, as a share, so that the difference may grow again: an interface that
 * counts samples has its own quartz. A delay that stays is then taken for drift, at this rate. Default 0: it counts the system's time
 * @returns the time of capture in milliseconds on the page's clock, for a timestamp in microseconds and the time at
 * which it arrived in milliseconds
 */
export function pageClock(drift = 0): (timestamp: number, arrived: number) => number {
  let difference = Number.POSITIVE_INFINITY;
  let last = 0;
  return (timestamp, arrived) => {
    difference = Math.min(difference + drift * (arrived - last), arrived - timestamp / 1000);
    last = arrived;
    return timestamp / 1000 + difference;
  };
}
