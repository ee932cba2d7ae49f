/** The only file that reads the time or sets a timer. Tests pass a clock of their own. */

import { type Instant, instant, type Milliseconds } from "#protocol/brand.ts";

export interface Clock {
  /** Wall clock: for records people read. */
  now(): Instant;
  /** Milliseconds that never jump: for durations. */
  monotonic(): Milliseconds;
  /** Resolves after `duration`, or at once when `signal` aborts. Never rejects. */
  sleep(duration: Milliseconds, signal?: AbortSignal): Promise<void>;
  /** Calls `work` every `period`; the returned function ends that. Does not keep the process alive. */
  every(period: Milliseconds, work: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => instant(Date.now()),
  monotonic: () => performance.now() as Milliseconds,
  sleep: (duration, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, duration);
      signal?.addEventListener("abort", done, { once: true });
    }),
  every: (period, work) => {
    const timer = setInterval(() => {
      try {
        work();
      } catch (error) {
        // A full disk must not end the server; the next period tries again.
        process.emitWarning(error instanceof Error ? error : String(error));
      }
    }, period);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/**
 * A clock that begins at the time of day and then only counts: whoever sets the machine's clock
 * meanwhile, as its first answer of a time server does where there is no RTC, ends nothing early.
 */
export function steadyClock(clock: Clock): Clock {
  const ahead = clock.now() - clock.monotonic();
  return { ...clock, now: () => instant(Math.round(ahead + clock.monotonic())) };
}
