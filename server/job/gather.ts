/**
 * Changes of many tasks at the same moment, as one transaction: the disk is
 * waited for once. Whoever asked goes on when everything is on disk; a change
 * that throws is undone alone.
 */

export type Gather = <T>(work: () => T) => Promise<T>;

/** @param together - makes what it is given one change; nested, a part of one */
export function createGather(together: <T>(work: () => T) => T): Gather {
  let waiting: (() => () => void)[] = [];

  const flush = (): void => {
    const batch = waiting;
    waiting = [];
    // The outcomes are told only once the transaction is on disk.
    const outcomes = together(() => batch.map((one) => one()));
    for (const tell of outcomes) tell();
  };

  return <T>(work: () => T) =>
    new Promise<T>((resolve, reject) => {
      waiting.push(() => {
        try {
          const value = together(work);
          return () => resolve(value);
        } catch (error) {
          return () => reject(error);
        }
      });
      if (waiting.length > 1) return;
      // After what else came with the same reading of a socket.
      Promise.resolve()
        .then(() => undefined)
        .then(flush)
        .catch(reject);
    });
}
