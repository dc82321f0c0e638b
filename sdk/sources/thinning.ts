/**
 * Which frames to keep so that at most `fps` of them fall into a second: time is cut into slots of 1/fps seconds from the
 * first frame on, and the first frame of every slot is kept, with its own timestamp. Without `fps` every frame is kept.
 *
 * @returns a predicate over timestamps in microseconds, to be asked once per frame in their order
 */
export function thinning(fps: number | undefined): (timestamp: number) => boolean {
  if (fps === undefined) return () => true;
  let first: number | undefined;
  let slot = -1;
  return (timestamp) => {
    first ??= timestamp;
    // half a microsecond: timestamps are rounded, a frame exactly on the edge belongs to the slot that begins there
    const reached = Math.floor(((timestamp - first + 0.5) * fps) / 1e6);
    if (reached <= slot) return false;
    slot = reached;
    return true;
  };
}
