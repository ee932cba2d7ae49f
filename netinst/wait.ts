/** Waiting and backing off. */

/** Resolves after `durationMs`, or at once when `signal` aborts. Never rejects. */
export function sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Tests pass one of their own. */
export interface Time {
  /** Milliseconds that never jump. */
  now(): number;
  readonly sleep: typeof sleep;
}

export const machineTime: Time = { now: () => performance.now(), sleep };

/**
 * Delay before try number `attempt` (from 0): doubles from `firstMs` up to `mostMs`, of which the
 * second half is random, so that a rack that was cut off together does not come back together.
 */
export function backOff(attempt: number, firstMs: number, mostMs: number): number {
  const whole = Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 20));
  return whole / 2 + (Math.random() * whole) / 2;
}

/** What `work` comes to; undefined when that takes longer than `ms`. The work itself goes on. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const over = new AbortController();
  const late = sleep(ms, over.signal).then(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}
