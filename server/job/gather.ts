/**
 * Changes of many tasks at the same moment, as one transaction: the disk is
 * waited for once. Whoever asked goes on when everything is on disk. A change
 * that throws is undone alone: when it has written, the others are made again
 * without it, so a change must do nothing that is not in the journal.
 */

export type Gather = <T>(work: () => T) => Promise<T>;

interface Asked {
  /** Makes the change; what it gives tells the asker how it went, once that is on disk. */
  readonly attempt: () => () => void;
  /** The same as a change of its own. */
  readonly alone: () => void;
}

/** @param together - makes what it is given one change: where a part failed that had written, all fail */
export function createGather(together: <T>(work: () => T) => T): Gather {
  let waiting: Asked[] = [];

  const flush = (): void => {
    const batch = waiting;
    waiting = [];
    let outcomes: readonly (() => void)[];
    try {
      outcomes = together(() => batch.map(({ attempt }) => attempt()));
    } catch {
      // The disk refused, or one failed that had written: each for itself is told why.
      for (const { alone } of batch) alone();
      return;
    }
    for (const tell of outcomes) tell();
  };

  return <T>(work: () => T) =>
    new Promise<T>((resolve, reject) => {
      const attempt = () => {
        try {
          const value = together(work);
          return () => resolve(value);
        } catch (error) {
          return () => reject(error);
        }
      };
      const alone = () => {
        try {
          resolve(together(work));
        } catch (error) {
          reject(error);
        }
      };
      waiting.push({ attempt, alone });
      // After everything else of this turn of the event loop.
      if (waiting.length === 1) setImmediate(flush);
    });
}
