/** A counting semaphore, first come first served: busy guests share the cores. */

export interface Permits {
  /** Runs `work` once `wanted` permits (at most all there are) are free; gives them back afterwards. */
  holding<T>(wanted: number, work: () => Promise<T>): Promise<T>;
}

export function createPermits(total: number): Permits {
  let free = total;
  const queue: { readonly wanted: number; readonly enter: () => void }[] = [];
  const admit = () => {
    for (let first = queue[0]; first && first.wanted <= free; first = queue[0]) {
      queue.shift();
      free -= first.wanted;
      first.enter();
    }
  };
  return {
    async holding(wanted, work) {
      const taken = Math.min(wanted, total);
      await new Promise<void>((enter) => {
        queue.push({ wanted: taken, enter });
        admit();
      });
      try {
        return await work();
      } finally {
        free += taken;
        admit();
      }
    },
  };
}
