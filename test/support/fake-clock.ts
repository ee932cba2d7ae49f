/** A clock that stands still until the test moves it. */

import { type Instant, instant, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../../server/clock.ts";

export interface FakeClock extends Clock {
  advance(duration: number): void;
  /** Somebody sets the wall clock; monotonic time goes on as before. */
  jump(duration: number): void;
}

export function createFakeClock(start = 1_700_000_000_000): FakeClock {
  let elapsed = 0;
  let jumped = 0;
  return {
    now: (): Instant => instant(start + elapsed + jumped),
    monotonic: (): Milliseconds => milliseconds(elapsed),
    sleep: (_duration, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) resolve();
        signal?.addEventListener("abort", () => resolve(), { once: true });
      }),
    every: () => () => undefined,
    advance: (duration) => {
      elapsed += duration;
    },
    jump: (duration) => {
      jumped += duration;
    },
  };
}
