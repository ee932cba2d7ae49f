/** A clock that moves only when a test says so. */

import { type Instant, type Milliseconds, milliseconds } from "#protocol/brand.ts";
import type { Clock } from "../../server/clock.ts";

export interface ManualClock extends Clock {
  /** Moves time on, waking sleepers in order and letting what they started run. */
  advance(duration: number): Promise<void>;
}

/** Lets everything that waits for a promise run on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) {
    await Promise.resolve();
    if (turn % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Sleeper {
  readonly at: number;
  wake(): void;
}

export function manualClock(start = 1_800_000_000_000): ManualClock {
  let time = 0;
  const sleepers = new Set<Sleeper>();
  const add = (at: number, wake: () => void): Sleeper => {
    const sleeper = { at, wake };
    sleepers.add(sleeper);
    return sleeper;
  };
  return {
    now: () => (start + time) as Instant,
    monotonic: () => time as Milliseconds,
    sleep: (duration, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper = add(time + duration, () => {
          sleepers.delete(sleeper);
          resolve();
        });
        signal?.addEventListener("abort", () => sleeper.wake(), { once: true });
      }),
    every(period, work) {
      let sleeper: Sleeper;
      const next = () => {
        sleepers.delete(sleeper);
        sleeper = add(time + period, next);
        work();
      };
      sleeper = add(time + period, next);
      return () => void sleepers.delete(sleeper);
    },
    async advance(duration) {
      const end = time + milliseconds(duration);
      await settle();
      for (;;) {
        const [first] = [...sleepers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (!first) break;
        time = Math.max(time, first.at);
        first.wake();
        await settle();
      }
      time = end;
    },
  };
}
