/** A place among those who wait for the device. */
export interface Turn {
  /** resolves when the device is this one's, until {@link Turn.end}; undefined where it is so at once */
  readonly granted: Promise<void> | undefined;
  /** Gives the device to the next, or the place up. Idempotent. */
  end(): void;
}

/** Who may use the device, one at a time. */
export interface Turns {
  /**
   * Takes a place: the earliest deadline is served first, equal ones in order of arrival. Whoever keeps the deadline of
   * when it began to wait is served sooner or later, however much sooner the deadlines of others are: theirs move on.
   */
  take(deadline: number): Turn;
}

/** A device that is free. */
export function createTurns(): Turns {
  const waiting: { readonly deadline: number; readonly grant: () => void }[] = [];
  let isTaken = false;
  const next = () => {
    let earliest = 0;
    for (let index = 1; index < waiting.length; index++) {
      if (waiting[index]!.deadline < waiting[earliest]!.deadline) earliest = index;
    }
    const [first] = waiting.splice(earliest, 1);
    isTaken = first !== undefined;
    first?.grant();
  };
  return {
    take(deadline) {
      let state: 'waiting' | 'granted' | 'ended' = isTaken ? 'waiting' : 'granted';
      const place = { deadline, grant: () => {} };
      const granted = isTaken
        ? new Promise<void>((resolve) => {
            place.grant = () => {
              state = 'granted';
              resolve();
            };
            waiting.push(place);
          })
        : undefined;
      isTaken = true;
      return {
        granted,
        end() {
          if (state === 'granted') next();
          else if (state === 'waiting') waiting.splice(waiting.indexOf(place), 1);
          state = 'ended';
        },
      };
    },
  };
}
