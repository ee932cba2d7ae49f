/** Room for so many at the same time; whoever comes later waits until one leaves, in order. */

export interface Places {
  enter(): Promise<void>;
  /** Once after each {@link enter}. */
  leave(): void;
}

export function createPlaces(count: number): Places {
  let free = count;
  const waiting: (() => void)[] = [];
  return {
    enter() {
      if (free === 0) return new Promise((resolve) => waiting.push(resolve));
      free -= 1;
      return Promise.resolve();
    },
    leave() {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
  };
}
