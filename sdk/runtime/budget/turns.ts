/** What only so many runs can have at once: the GPU, the processor's cores, an explainer's own workers. */
export interface Resource {
  /** how many there are of it */
  readonly units: number;
  /** milliseconds after which it is taken back from whoever does not give it back; Infinity for never */
  readonly heldFor: number;
}

/** How much of a resource a run takes, no more than there is of it. */
export interface Use {
  /** what is shared */
  readonly resource: Resource;
  /** how many of {@link Resource.units} */
  readonly units: number;
}

/** A place among those who wait. */
export interface Turn {
  /** resolves when everything is there for this one, or when the place was given up; undefined where it is so at once */
  readonly granted: Promise<void> | undefined;
  /** Gives what was taken to the next, or the place up. Idempotent. */
  end(): void;
}

/** Who may run, as far as there are resources. */
export interface Turns {
  /**
   * Takes a place: the earliest deadline is served first, equal ones in order of arrival. Nobody takes what an earlier one waits for,
   * however little of it is wanted; who waits for something else is passed by. So whoever keeps the deadline of when it began to wait is served
   * sooner or later, however much sooner the deadlines of others are: theirs move on.
   */
  take(deadline: number, uses: readonly Use[]): Turn;
}

/** How much a use takes: a session of four threads runs on two cores too. */
export function unitsOf({ resource, units }: Use): number {
  return Math.min(units, resource.units);
}

function isLasting({ heldFor }: Resource): boolean {
  return heldFor === Number.POSITIVE_INFINITY;
}

interface Place {
  readonly deadline: number;
  readonly uses: readonly Use[];
  /** what it has waited for */
  readonly claims: Set<Resource>;
  readonly grant: () => void;
}

/** Nobody waits, everything is free. */
export function createTurns(): Turns {
  /** by deadline */
  const waiting: Place[] = [];
  const taken = new WeakMap<Resource, number>();
  const takenOf = (resource: Resource) => taken.get(resource) ?? 0;

  /**
   * What a place has waited for stays claimed when it comes, or two who take turns with the same two things would pass it by for ever.
   * But nothing is claimed that others could use while the place waits for something that is never taken back.
   */
  const serve = () => {
    const claimed = new Set<Resource>();
    for (const place of [...waiting]) {
      const missing = place.uses.filter(
        (use) => claimed.has(use.resource) || takenOf(use.resource) + unitsOf(use) > use.resource.units,
      );
      for (const { resource } of missing) place.claims.add(resource);
      if (missing.length === 0) {
        waiting.splice(waiting.indexOf(place), 1);
        place.grant();
        continue;
      }
      const waitsForLasting = missing.some(({ resource }) => isLasting(resource));
      for (const resource of place.claims) if (!waitsForLasting || isLasting(resource)) claimed.add(resource);
    }
  };

  /** Takes a resource until it is given back, at the latest after its time. */
  const hold = (use: Use): (() => void) => {
    const { resource } = use;
    const units = unitsOf(use);
    taken.set(resource, takenOf(resource) + units);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isHeld = true;
    const giveBack = () => {
      if (!isHeld) return;
      isHeld = false;
      clearTimeout(timer);
      taken.set(resource, takenOf(resource) - units);
    };
    if (!isLasting(resource)) {
      timer = setTimeout(() => {
        giveBack();
        serve();
      }, resource.heldFor);
    }
    return giveBack;
  };

  return {
    take(deadline, uses) {
      let held: readonly (() => void)[] | undefined;
      let served: (() => void) | undefined;
      const place: Place = {
        deadline,
        uses,
        claims: new Set(),
        grant() {
          held = uses.map(hold);
          served?.();
        },
      };
      const after = waiting.findIndex((other) => other.deadline > deadline);
      waiting.splice(after < 0 ? waiting.length : after, 0, place);
      serve();
      const granted =
        held === undefined
          ? new Promise<void>((resolve) => {
              served = resolve;
            })
          : undefined;
      let isOver = false;
      return {
        granted,
        end() {
          if (isOver) return;
          isOver = true;
          if (held === undefined) waiting.splice(waiting.indexOf(place), 1);
          for (const giveBack of held ?? []) giveBack();
          served?.();
          serve();
        },
      };
    },
  };
}
