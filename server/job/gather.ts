/**
 * Changes of many tasks at the same moment, as one transaction: the disk is
 * waited for once. Whoever asked goes on when everything is on disk; a change
 * that throws is undone alone.
 */

export type Gather = <T>(work: () => T) => Promise<T>;

interface Asked {
  /** Makes the change; what it gives tells the asker how it went, once that is on disk. */
  readonly attempt: () => () => void;
  readonly reject: (error: unknown) => void;
}

/** @param together - makes what it is given one change; nested, a part of one */
export function createGather(together: <T>(work: () => T) => T): Gather {
  let waiting: Asked[] = [];

  const flush = (): void => {
    const batch = waiting;
    waiting = [];
    try {
      const outcomes = together(() => batch.map(({ attempt }) => attempt()));
      for (const tell of outcomes) tell();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
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
      waiting.push({ attempt, reject });
      // After everything else of this turn of the event loop.
      if (waiting.length === 1) setImmediate(flush);
    });
}
